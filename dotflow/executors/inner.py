"""The runs that a step starts: they belong to its attempt, and end with it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from dotflow.model.running import RunningAttempt, running_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dotflow.model.run import Run

__all__ = [
    "NONE",
    "PATIENCE_SECONDS",
    "InnerRuns",
    "OuterAttempt",
    "Surroundings",
    "attempt_around",
    "inner_runs_of",
]

PATIENCE_SECONDS: Final = 10.0
"""How long the inner runs of an attempt that was given up are waited for. Longer takes only what hangs in their callbacks."""

_GOING, _GIVEN_UP, _OVER = "going", "given up", "over"


class Surroundings(Protocol):
    """What an inner run takes over of the run around it: one for all attempts of a run in a process.

    `config` is the `Config` of that run, None where it has yet to be made of `providers`.
    """

    config: Any

    def providers(self) -> Mapping[str, Any]:
        """What `Config` is to be made of."""

    def stand_in(self, sender: str, sides: bytes) -> tuple[Any, ...] | None:
        """How the config travels, which a step may hold: as what stands for it there, in the form of `__reduce__`."""


class InnerRuns:
    """The runs that the step of one attempt has started.

    They go on for as long as the attempt does. `given_up`: nobody waits for the attempt any more, so they are cancelled, and
    no further ones may start.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state = _GOING
        self._going: set[Run] = set()
        self._unfinished: set[Run] = set()
        self._names: dict[str, int] = {}
        self._on_end: Callable[[], None] | None = None
        self.records: list[Run] = []
        """Of those that have ended."""

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for the attempt any more."""
        return self._state == _GIVEN_UP

    @property
    def is_over(self) -> bool:
        """Whether the attempt has ended, with all of its runs."""
        return self._state == _OVER

    @property
    def are_going(self) -> bool:
        """Whether a run has not ended yet."""
        return bool(self._going)

    def numbered(self, name: str) -> str:
        """The name of a workflow, with `-2`, `-3` and so on for those of one name, in the order they were made."""
        with self._changed:
            number = self._names[name] = self._names.get(name, 0) + 1
        return name if number == 1 else f"{name}-{number}"

    def add(self, run: Run) -> bool:
        """A run is about to start; False if it must not."""
        with self._changed:
            if self._state != _GOING:
                return False
            self._going.add(run)
            self._unfinished.add(run)
            return True

    def has(self, run: Run) -> bool:
        """Whether a run goes on."""
        return run in self._going

    def remove(self, run: Run, record: Run | None) -> None:
        """No step of it goes on any more, and everybody has been told; what is buffered may still be sent."""
        with self._changed:
            self._going.discard(run)
            if record is not None:
                self.records.append(record)
            self._changed.notify_all()
            tell = None if self._going else self._on_end
        if tell is not None:
            tell()

    def leave(self, run: Run) -> None:
        """It has come to its very end."""
        with self._changed:
            self._unfinished.discard(run)

    def cancel(self) -> None:
        """Cancel those that go on."""
        with self._changed:
            going = list(self._going)
        for run in going:
            run.cancel()

    def give_up(self, on_end: Callable[[], None] | None = None) -> None:
        """Cancel them, and start no more; `on_end` is called, from any thread, when the last of them has ended."""
        with self._changed:
            if self._state == _OVER:
                return
            self._state, self._on_end = _GIVEN_UP, on_end
        self.cancel()

    def settle(self, deadline: float) -> None:
        """Wait until they have ended, at most until `deadline` (monotonic seconds)."""
        with self._changed:
            self._changed.wait_for(lambda: not self._going, max(0.0, deadline - time.monotonic()))

    def finish(self) -> None:
        """The step has come to its end: wait for the runs that it has left behind.

        Raises:
            KeyboardInterrupt: Ctrl-C, while it waited.
        """
        while True:
            with self._changed:
                unfinished = list(self._unfinished)
                if not unfinished:
                    if self._state == _GOING:
                        self._state = _OVER
                    return
            for run in unfinished:
                run.wait()
                self.leave(run)


class OuterAttempt(RunningAttempt, Protocol):
    """What is to be known of the attempt whose step starts a run: see `Attempt`."""

    workflow_id: str
    task_id: str
    surroundings: Surroundings | None
    inner: InnerRuns | None
    in_thread: bool


_lock = threading.Lock()
NONE: Final = InnerRuns()
"""Of the attempts that have ended without any, so they can have none any more."""
NONE.finish()


def inner_runs_of(attempt: OuterAttempt) -> InnerRuns:
    """The inner runs of an attempt; made when they are first asked for, as most have none."""
    with _lock:
        if attempt.inner is None:
            attempt.inner = InnerRuns()
        return attempt.inner


def attempt_around() -> OuterAttempt | None:
    """The attempt whose step runs here; None outside of a step, and in what a step has left behind."""
    attempt = cast("OuterAttempt | None", running_attempt.get())
    return None if attempt is None or inner_runs_of(attempt).is_over else attempt
