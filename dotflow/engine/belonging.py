"""What a workflow has of the step in which it is made, and how its runs belong to the attempt in which they start."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dotflow.config import Config
from dotflow.errors import AttemptCancelled
from dotflow.executors.inner import attempt_around, inner_runs_of
from dotflow.model.record import record_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dotflow.executors.inner import InnerRuns, Surroundings
    from dotflow.model.current import Facts
    from dotflow.model.run import Run

__all__ = ["Around", "Belonging", "OwnSurroundings"]


class OwnSurroundings:
    """What the runs of steps take over that run in the process of the coordinator: its very config."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def providers(self) -> Mapping[str, Any]:
        """Nothing: the config is made."""
        return {}

    def stand_in(self, sender: str, sides: bytes) -> tuple[Any, ...]:
        """In another process the config that inner runs have there; in this one, the config itself."""
        from dotflow.executors.remote import digest_of

        return config_there, (sender, digest_of(sides))


def config_there(sender: str, digest: str) -> Config:
    """What a step that travelled has in place of the config of its run."""
    from dotflow.executors.remote import surroundings_there

    return _config_of(surroundings_there(sender, digest))


def _config_of(surroundings: Surroundings) -> Config:
    if surroundings.config is None:
        surroundings.config = Config(**surroundings.providers())
    config: Config = surroundings.config
    return config


class Around:
    """The run around a workflow that a step makes; around one that is made outside of steps there is nothing."""

    def __init__(self) -> None:
        self._attempt = attempt_around()

    @property
    def config(self) -> Config | None:
        """The config of that run."""
        surroundings = self._attempt.surroundings if self._attempt is not None else None
        return _config_of(surroundings) if surroundings is not None else None

    def workflow_id(self, name: str) -> str | None:
        """What identifies a workflow of this name: the same whenever the same step makes it."""
        attempt = self._attempt
        if attempt is None:
            return None
        return f"{attempt.workflow_id}/{attempt.task_id}/{inner_runs_of(attempt).numbered(name)}"

    @property
    def resumes(self) -> bool:
        """Whether that run takes over what an earlier one has finished."""
        facts = self._attempt.facts if self._attempt is not None else None
        return facts is not None and facts.resumes


class Belonging:
    """A run on its way from start to end, and the attempt whose step has started it, if one has."""

    def __init__(self, run: Run) -> None:
        attempt = attempt_around()
        self._run = run
        self._inner: InnerRuns | None = inner_runs_of(attempt) if attempt is not None else None
        self._facts: Facts | None = attempt.facts if attempt is not None else None

    def execute(self, execute: Callable[[Callable[[Run], None]], None], on_end: Callable[[Run], None]) -> None:
        """Drive the run; it belongs to the attempt until `on_end` has been called."""
        inner = self._inner
        if inner is None:
            execute(on_end)
            return

        def ends(run: Run) -> None:
            try:
                on_end(run)
            finally:
                self._remove(inner)

        try:
            execute(ends)
        finally:
            self._remove(inner)
            inner.leave(self._run)

    def check(self) -> None:
        """To be called when the run has ended, where the step waited for it.

        Raises:
            AttemptCancelled: the attempt was given up, and the run with it; the step must not go on.
        """
        if self._inner is not None and self._inner.is_given_up:
            raise _given_up(self._run)

    def begin(self) -> None:
        """The run is about to start.

        Raises:
            AttemptCancelled: nobody waits for the attempt any more.
        """
        if self._inner is None:
            return
        if not self._inner.add(self._run):
            if self._inner.is_over:
                self._inner = None
                return
            raise _given_up(self._run)
        if self._facts is not None:
            self._facts.note(self._run)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Around what leads to `execute`: if that raises, the run has not started after all."""
        try:
            yield
        except BaseException:
            if self._inner is not None:
                self._inner.remove(self._run, None)
                self._inner.leave(self._run)
            raise

    def _remove(self, inner: InnerRuns) -> None:
        if not inner.has(self._run):
            return
        record = record_of_run(self._run)
        inner.remove(self._run, record)
        if self._facts is not None:
            self._facts.note(record)


def _given_up(run: Run) -> AttemptCancelled:
    return AttemptCancelled(
        f"the attempt that started run {run.run_id} of {run.workflow_name!r} was given up, and the run with it"
    )
