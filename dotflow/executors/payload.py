"""Attempts as bytes: how they are packed for another process, and how what comes back is read."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import sys
import threading
from contextlib import contextmanager, suppress
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from dotflow.errors import NotPicklable
from dotflow.executors.inputs import given
from dotflow.executors.remote import Payload, ProviderFailure, Report, Shared
from dotflow.model.action import named_part
from dotflow.model.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    from dotflow.executors.attempt import Attempt
    from dotflow.executors.inner import Surroundings
    from dotflow.executors.inputs import Source
    from dotflow.model.step import Step

__all__ = ["Packer", "pickle_sides", "read_report"]

_by_value_lock = threading.RLock()  # what is being pickled may start a workflow itself


class Packer:
    """Packs the attempts of one run. A step is pickled once a run, as it is at its first attempt.

    `sender` is of `remote.HOME`, if the attempts may be run in this process. The config of `surroundings`, which a step may
    hold, is replaced by what stands for it there.
    """

    def __init__(self, sides: bytes, sender: str = "", surroundings: Surroundings | None = None) -> None:
        self._sides = sides
        self._sender = sender
        self._dumps = functools.partial(_dumps, stand_in=_StandIn.of(surroundings, sender, sides))
        self._steps: dict[int, tuple[bytes, bytes]] = {}
        self._by_value: dict[str, ModuleType | None] = {}

    def pack(self, attempt: Attempt) -> bytes:
        """The attempt as bytes, for `run_payload`.

        Raises:
            NotPicklable: naming the step or the context that cannot travel, and why.
        """
        step = attempt.step
        module = self._module_by_value(step)
        with _by_value(module):
            key, pickled = self._step(step)
            by = module.__name__ if module is not None else ""
            carried = (attempt.task_id, attempt.workflow_id, dict(attempt.carrier), dict(attempt.ids))
            facts = (attempt.facts, attempt.number)
            try:
                body = self._dumps((*(_sent(source, by) for source in _sources(attempt)), *carried, *facts))
            except Exception as error:
                raise _culprit(attempt, error) from error
        name = attempt.task_id or step.name
        payload = Payload(self._sides, key, pickled, body, name, attempt.timeout > 0, self._sender)
        return pickle.dumps(tuple(payload), pickle.HIGHEST_PROTOCOL)

    def _step(self, step: Step) -> tuple[bytes, bytes]:
        found = self._steps.get(id(step))
        if found is None:
            try:
                pickled = self._dumps(step)
            except Exception as error:
                raise NotPicklable(f"step {step.name!r}", "sent to a worker", error) from error
            found = self._steps[id(step)] = (hashlib.blake2b(pickled, digest_size=16).digest(), pickled)
        return found

    def _module_by_value(self, step: Step) -> ModuleType | None:
        """The step's module, if a worker could not import it by its name: loaded from a path, by a test runner and so on."""
        name = getattr(named_part(step.source), "__module__", None) or "__main__"
        if name not in self._by_value:
            self._by_value[name] = _not_importable(name)
        return self._by_value[name]


def pickle_sides(sides: Mapping[str, object]) -> bytes:
    """The providers' halves, and what inner runs need beside them.

    Each is pickled apart, so that one which cannot be read does not harm the others.

    Raises:
        NotPicklable: naming the provider.
    """
    pickled = []
    for provider, side in sides.items():
        try:
            with _by_value(_not_importable(type(side).__module__)):
                pickled.append((provider, cloudpickle.dumps(side)))
        except Exception as error:
            raise NotPicklable(f"what Config({provider}=...) sends to workers", "pickled", error) from error
    return pickle.dumps(pickled)


def read_report(packed: bytes, name: str) -> Report:
    """What came back from a worker, with the outcome complete. `name` is the task's, for the error if the value is none."""
    report = Report(*pickle.loads(packed))  # noqa: S301 - what our own worker made
    outcome = report.outcome
    outcome.provider_errors = tuple(
        (provider, method, ProviderFailure(kind, message)) for provider, method, kind, message in report.failures
    )
    try:
        outcome.value = _Reader(io.BytesIO(report.value)).load()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        # What the user's class raises when it is made again.
        outcome.fail(NotPicklable(f"the result of step {name!r}", "read where the run was started", error)).final = True
    _read_inner(report, name)
    _read_cause(report)
    return report


def _read_cause(report: Report) -> None:
    if not report.cause or report.outcome.error is None:
        return
    try:
        found = _Reader(io.BytesIO(report.cause)).load()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return  # of a class that this process does not know, or that is not made again: it is told as text
    if type(found).__name__ == report.outcome.error.exception and isinstance(found, BaseException):
        report.outcome.cause = found


def _read_inner(report: Report, name: str) -> None:
    if not report.inner:
        return
    outcome = report.outcome
    try:
        outcome.inner = pickle.loads(report.inner)  # noqa: S301 - what our own worker made
    except Exception as error:  # noqa: BLE001 - of a class that this process does not know
        lost = ProviderFailure(
            type(error).__name__, f"what the runs inside {name!r} had to tell cannot be read: {error}"
        )
        outcome.provider_errors += (("metrics", "relay", lost),)


class _Reader(pickle.Unpickler):
    """Reads values in which classes of the script's travel as a whole, as cloudpickle writes them.

    One that this process knows stays as it is. cloudpickle would find it too, but set all of its attributes to what they
    were in the worker, and its methods to copies with other globals.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._known: dict[str, Any] = getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
        self._new: set[type] = set()

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle asks for by name."""
        found = super().find_class(module, name)
        if module != cloudpickle.cloudpickle.__name__:
            return found
        if name in ("_make_skeleton_class", "_make_skeleton_enum"):
            return functools.partial(self._make, found)
        return functools.partial(self._fill, found) if name == "_class_setstate" else found

    def _make(self, make: Callable[..., type], *described: Any) -> type:
        is_known = described[-2] in self._known  # by the id that cloudpickle gives to a class, wherever it goes
        cls = make(*described)
        if not is_known:
            self._new.add(cls)
        return cls

    def _fill(self, fill: Callable[..., type], cls: type, state: Any) -> type:
        return fill(cls, state) if cls in self._new else cls


def _sources(attempt: Attempt) -> tuple[Source, Source, dict[str, Source] | None]:
    """What the step is given."""
    return attempt.initial, attempt.previous, dict(attempt.arguments) if attempt.arguments else None


def _sent(source: Source, by: str) -> Any:
    """A source as it travels: what several attempts are sent is pickled once, in the way that `by` names."""
    kind = type(source)
    if kind is list:
        return [_sent(each, by) for each in source]
    if kind is dict:
        return {name: _sent(each, by) for name, each in source.items()}
    pickled = source._pickled if kind is Context else None  # noqa: SLF001 - kept there for us
    if pickled is None or pickled.consumers <= 0:
        return source
    data = pickled.data.get(by)
    if data is None:
        data = pickled.data[by] = _dumps(source)
    return Shared(data)


def _culprit(attempt: Attempt, error: Exception) -> NotPicklable:
    arguments = attempt.arguments or {}
    named: Sequence[tuple[str, Source]] = (
        ("initial context", attempt.initial),
        ("previous context", attempt.previous),
        *((f"parameter {name!r}", source) for name, source in arguments.items()),
    )
    for name, source in named:
        value = given(source, None)
        try:
            cloudpickle.dumps(value)
        except Exception as found:  # noqa: BLE001
            what = f"the {name} of {attempt.task_id!r} (of type {type(value).__qualname__})"
            return NotPicklable(what, "sent to a worker", found)
    return NotPicklable(f"the context of {attempt.task_id!r}", "sent to a worker", error)


_reduce_code = cloudpickle.Pickler.dispatch_table.get(CodeType)
_NO_FILE = "<dynamic-code>"


def _reduce_code_with_file(code: CodeType) -> Any:
    make, parts = _reduce_code(code)
    return make, tuple(code.co_filename if part == _NO_FILE else part for part in parts)


class _StandIn(NamedTuple):
    """What one object is replaced by when it travels, in the form of `__reduce__`."""

    replaced: object
    reduced: tuple[Any, ...]

    @classmethod
    def of(cls, surroundings: Surroundings | None, sender: str, sides: bytes) -> _StandIn | None:
        if surroundings is None or surroundings.config is None:
            return None
        reduced = surroundings.stand_in(sender, sides)
        return cls(surroundings.config, reduced) if reduced is not None else None


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Keeps the file name of code that travels by value, which cloudpickle leaves out, so that a traceback can show it."""

    stand_in: _StandIn | None = None

    def reducer_override(self, obj: Any) -> Any:
        """As cloudpickle does, but for the one object that something else stands for."""
        if self.stand_in is not None and obj is self.stand_in.replaced:
            return self.stand_in.reduced
        return super().reducer_override(obj)

    if _reduce_code is not None:
        dispatch_table = cloudpickle.Pickler.dispatch_table.new_child({CodeType: _reduce_code_with_file})


def _dumps(value: Any, stand_in: _StandIn | None = None) -> bytes:
    with io.BytesIO() as file:
        pickler = _Pickler(file)
        pickler.stand_in = stand_in
        pickler.dump(value)
        return file.getvalue()


@contextmanager
def _by_value(module: ModuleType | None) -> Iterator[None]:
    if module is None:
        yield
        return
    with _by_value_lock:
        if module.__name__ in cloudpickle.list_registry_pickle_by_value():
            yield
            return
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)


def _not_importable(name: str) -> ModuleType | None:
    """The module of this name, if a worker could not import it; None if it could."""
    module = sys.modules.get(name)
    return None if module is None or _is_importable(name, module) else module


def _is_importable(name: str, module: ModuleType) -> bool:
    """Whether importing `name` anew would find this very module. That of the script itself travels by value anyway."""
    file = getattr(module, "__file__", None)
    if name == "__main__" or file is None:
        return True
    path: Any = None
    spec = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:end]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin == file


def _find(name: str, path: Any) -> Any:
    for finder in sys.meta_path:
        with suppress(Exception):  # a finder of somebody else's
            spec = finder.find_spec(name, path, None)
            if spec is not None:
                return spec
    return None
