"""What runs in another process: it takes a payload, runs the attempt in it, and makes a report of how that went.

A payload is self-contained, so anything that can call a function with some bytes can run attempts. That may turn out to be
the very process that sent it, for instance the thread of an executor that wraps another: then the providers themselves
attend to the attempt, for their halves for workers would set up a second telemetry beside them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import threading
import time
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dotflow.errors import NotPicklable
from dotflow.executors.attempt import Attempt, Sides, blank_outcome, run_attempt
from dotflow.executors.inner import inner_runs_of
from dotflow.executors.inputs import is_copied
from dotflow.executors.relay import LISTENER, Relay
from dotflow.model.action import named_part
from dotflow.model.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dotflow.abc.provider import Dropped
    from dotflow.abc.worker import WorkerSide
    from dotflow.executors.inner import Surroundings
    from dotflow.executors.relay import RelayedCall
    from dotflow.model.context import Context
    from dotflow.model.outcome import Outcome
    from dotflow.model.run import Run
    from dotflow.model.step import Step

__all__ = [
    "HOME",
    "PROVIDERS",
    "RELAYED",
    "STORAGE",
    "Inner",
    "Payload",
    "ProviderFailure",
    "Report",
    "Shared",
    "brought_along",
    "digest_of",
    "flush_sides",
    "run_and_flush",
    "run_payload",
    "surroundings_there",
]

_STEPS_KEPT = 256
_CLOCK = SystemClock()
_FLUSH_SECONDS = 1.0  # of an attempt in a process that is not ours to end in order
_LARGEST_CAUSE = 1_000_000  # bytes of an exception; one with a whole table in it is told as text only
_PATIENCE_SECONDS = 30.0  # before another flush is waited for, after one that failed


class ProviderFailure(RuntimeError):
    """An exception of a provider's in another process, as text: `name` is its type's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")


class Payload(NamedTuple):
    """An attempt on its way. `sides` are the providers' pickled `WorkerSide`s, `step` is known by `step_key` once it came.

    `body` are the contexts, ids and headers; `tells_begin` says that somebody watches the time; `sender` is what `HOME` of
    the process that sent it knows it by, if that may be where it is run.
    """

    sides: bytes
    step_key: bytes
    step: bytes
    body: bytes
    name: str
    tells_begin: bool
    sender: str = ""


RELAYED: Final = "relayed"
STORAGE: Final = "storage"
PROVIDERS: Final = ("tracer", "metrics", "log", "notify", "server")


class Inner(NamedTuple):
    """What another process is to know for the runs that steps start there: which methods of the providers do anything."""

    methods: Mapping[str, Sequence[str]]
    drain_timeout: float = 5.0


class Shared(NamedTuple):
    """A context as bytes, which several attempts are sent."""

    data: bytes


class Report(NamedTuple):
    """An outcome on its way back. `value` is pickled apart, so that the rest arrives even if it cannot be read.

    So is `inner`: the records of the runs that the step has started, and what they have told providers; and `cause`, the exception
    of an attempt that no other follows, if it can be pickled.
    """

    outcome: Outcome
    value: bytes
    failures: tuple[tuple[str, str, str, str], ...]
    dropped: tuple[tuple[str, Dropped], ...]
    is_buffering: bool
    inner: bytes = b""
    cause: bytes = b""


def run_payload(payload: bytes, on_begin: Callable[[], None] | None = None) -> bytes:
    """Run the attempt in a payload, here and now, and pack its report. Never raises an `Exception`."""
    sent = Payload(*pickle.loads(payload))  # noqa: S301 - what the coordinator made
    sides = _sides_for(sent)
    records: list[Run] = []
    try:
        step = _step_of(sent)  # which may import half the world: that is not the attempt's time
        _brought.names = _globals_of(step)
        if on_begin is not None and sent.tells_begin:
            on_begin()
        attempt = _attempt(step, *pickle.loads(sent.body))  # noqa: S301 - the user's values, which may take any time
    except BaseException as error:  # noqa: BLE001 - what the user's classes raise when they are made again
        outcome = blank_outcome(_CLOCK).fail(
            NotPicklable(f"step {sent.name!r} or its context", "loaded in the worker", error)
        )
        outcome.final = True
    else:
        attempt.surroundings = sides.surroundings
        outcome = run_attempt(attempt, _CLOCK, sides.entered()).contained()
        records = inner_runs_of(attempt).records
    return _pack(outcome, sides, sent.name, records)


def _attempt(step: Step, initial: Any, previous: Any, arguments: Any, *carried: Any) -> Attempt:
    """What came as one pickle may be one thing in several places; each gets its own, as where nothing has to travel."""
    together: list[Context] = []
    inputs = [_read(source, together) for source in (initial, previous, arguments or None)]
    attempt = Attempt(step, *inputs, *carried)
    attempt.owns_inputs = sum(is_copied(context.storage) for context in together) <= 1
    return attempt


def _read(source: Any, together: list[Context]) -> Any:
    """A source as it has arrived, read."""
    kind = type(source)
    if kind is list:
        return [_read(each, together) for each in source]
    if kind is dict:
        return {name: _read(each, together) for name, each in source.items()}
    if kind is Shared:
        return pickle.loads(source.data)  # noqa: S301 - what the coordinator made
    if source is not None:
        together.append(source)
    return source


def run_and_flush(payload: bytes) -> bytes:
    """As `run_payload`, where nobody will tell when the process ends: what the step has buffered is sent at once."""
    report = run_payload(payload)
    sides = _sides_for(Payload(*pickle.loads(payload)))  # noqa: S301
    if sides.is_buffering and time.monotonic() >= _sides.flush_again_at:
        failures, dropped = flush_sides(_FLUSH_SECONDS)
        if failures or dropped:
            _sides.flush_again_at = time.monotonic() + _PATIENCE_SECONDS
            found = Report(*pickle.loads(report))  # noqa: S301
            found = found._replace(failures=(*found.failures, *failures), dropped=(*found.dropped, *dropped))
            report = pickle.dumps(tuple(found), pickle.HIGHEST_PROTOCOL)
    return report


def flush_sides(timeout: float) -> tuple[tuple[tuple[str, str, str, str], ...], tuple[tuple[str, Dropped], ...]]:
    """Flush all `WorkerSide`s of this process, side by side, within `timeout` seconds; what failed and what was lost."""
    failures: list[tuple[str, str, str, str]] = []
    flushing = [
        threading.Thread(target=flush, args=(timeout, failures), name="dotflow-flush", daemon=True)
        for sides in _sides
        if sides.is_buffering
        for flush in sides.flushes()
    ]
    deadline = time.monotonic() + timeout
    for thread in flushing:
        thread.start()
    for thread in flushing:
        thread.join(max(0.0, deadline - time.monotonic()))
    return tuple(failures), tuple(lost for sides in _sides for lost in sides.take_dropped(failures))


class _Local:
    """The providers of a run that was started in this process: there is nothing to load, to flush, or to tell."""

    def __init__(self, sides: Sides, surroundings: Surroundings | None) -> None:
        self._sides = sides
        self.surroundings = surroundings
        self.failures: list[tuple[str, str, str, str]] = []
        self.is_buffering = False

    def entered(self) -> Sides:
        return self._sides

    def take_dropped(self, failures: list[tuple[str, str, str, str]]) -> Iterator[tuple[str, Dropped]]:
        del failures
        return iter(())

    def take_relayed(self) -> list[RelayedCall]:
        return []


class _Home:
    """The runs that have sent payloads from this process. In a process that was forked from it there are none."""

    def __init__(self) -> None:
        self._moved_in()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._moved_in)

    def _moved_in(self) -> None:
        self._name = os.urandom(16).hex()
        self._runs: dict[str, _Local] = {}

    def enter(self, sides: Sides, surroundings: Surroundings | None) -> str:
        """What a run's payloads are to have as their `sender`; `sides` are its providers' own."""
        sender = f"{self._name}-{os.urandom(16).hex()}"
        self._runs[sender] = _Local(sides, surroundings)
        return sender

    def leave(self, sender: str) -> None:
        """The run is over."""
        self._runs.pop(sender, None)

    def find(self, sender: str) -> _Local | None:
        """What attends to the attempts of a run that was started here; None if it was started elsewhere."""
        if not sender.startswith(self._name):
            return None
        return self._runs.get(sender) or _Local(_NO_SIDES, None)  # an attempt that nobody waits for any more


_NO_SIDES = Sides()
HOME = _Home()


class _Loaded:
    """The `WorkerSide`s of a run in this process."""

    def __init__(self, pickled: bytes) -> None:
        self.failures: list[tuple[str, str, str, str]] = []
        self._sides: dict[str, WorkerSide] = {}
        self._inner: dict[str, bytes] = {}
        self._relay = Relay()
        self.digest = digest_of(pickled)
        self.config: Any = None
        for provider, blob in pickle.loads(pickled):  # noqa: S301
            if provider in (RELAYED, STORAGE):
                self._inner[provider] = blob  # read when a step starts a run, which most never do
                continue
            try:
                self._sides[provider] = pickle.loads(blob)  # noqa: S301
            except Exception as error:  # noqa: BLE001
                self.failures.append(_failure(provider, "for_worker", error))

    def entered(self) -> Sides:
        return Sides(**{provider: side.attach for provider, side in self._sides.items()})

    @property
    def surroundings(self) -> Surroundings:
        """What inner runs take over here, which is this."""
        return self

    def providers(self) -> Mapping[str, Any]:
        """Those that write here themselves, and for the others what their calls are noted by."""
        inner: Inner = pickle.loads(self._inner[RELAYED]) if RELAYED in self._inner else Inner({})  # noqa: S301
        found: dict[str, Any] = {}
        for name in PROVIDERS:
            provider = self._own_provider(name)
            found[name] = provider or self._relay.provider(name, inner.methods.get(name, ()))
        if inner.methods.get(LISTENER):
            found["listeners"] = (self._relay.listen,)
        if STORAGE in self._inner:
            found[STORAGE] = pickle.loads(self._inner[STORAGE])()  # noqa: S301
        return {**found, "drain_timeout": inner.drain_timeout}

    def stand_in(self, sender: str, sides: bytes) -> None:
        """A config of here is sent as any other object."""
        del sender, sides

    def take_relayed(self) -> list[RelayedCall]:
        return self._relay.take()

    def _own_provider(self, name: str) -> Any:
        side = self._sides.get(name)
        try:
            return side.provider() if side is not None else None
        except Exception as error:  # noqa: BLE001
            self.failures.append(_failure(name, "provider", error))
            return None

    @property
    def is_buffering(self) -> bool:
        return any(self._ask(side) for side in self._sides.values())

    def flushes(self) -> Iterator[Callable[[float, list[tuple[str, str, str, str]]], None]]:
        """A call for each provider, so that a collector that does not answer one of them is waited for once."""
        for provider, side in self._sides.items():
            yield functools.partial(self._flush, provider, side)

    @staticmethod
    def _flush(provider: str, side: WorkerSide, timeout: float, failures: list[tuple[str, str, str, str]]) -> None:
        try:
            side.flush(timeout)
        except BaseException as error:  # noqa: BLE001 - in a thread of our own: nothing may leave
            failures.append(_failure(provider, "flush", error))

    def take_dropped(self, failures: list[tuple[str, str, str, str]]) -> Iterator[tuple[str, Dropped]]:
        for provider, side in self._sides.items():
            try:
                lost = list(side.take_dropped())
            except Exception as error:  # noqa: BLE001
                failures.append(_failure(provider, "take_dropped", error))
            else:
                yield from ((provider, each) for each in lost)

    @staticmethod
    def _ask(side: WorkerSide) -> bool:
        try:
            return bool(side.is_buffering)
        except Exception:  # noqa: BLE001 - then a flush will tell
            return True


class _AllSides:
    """The sides that this process has had, so that they are made once and flushed at the end."""

    def __init__(self) -> None:
        self.flush_again_at = 0.0
        self._lock = threading.Lock()
        self._loaded: dict[bytes, _Loaded] = {}

    def find(self, digest: str) -> _Loaded | None:
        return next((loaded for loaded in self if loaded.digest == digest), None)

    def __iter__(self) -> Iterator[_Loaded]:
        return iter(list(self._loaded.values()))

    def of(self, pickled: bytes) -> _Loaded:
        with self._lock:
            found = self._loaded.get(pickled)
            if found is None:
                found = self._loaded[pickled] = _Loaded(pickled)
            return found


_sides = _AllSides()


def _sides_for(sent: Payload) -> _Loaded | _Local:
    return HOME.find(sent.sender) or _sides.of(sent.sides)


_steps: OrderedDict[bytes, Step] = OrderedDict()


class _Brought:
    """What the step that runs, or that has run last, has brought along."""

    names: Mapping[str, Any] = MappingProxyType({})


_brought = _Brought()


def brought_along() -> Mapping[str, Any]:
    """The functions, classes and other globals of the script that the step which runs has brought along, by name."""
    return _brought.names


def _globals_of(step: Step) -> Mapping[str, Any]:
    """The globals of a step of the script, which travelled with it; nothing if it is of a module that was imported."""
    from inspect import unwrap

    for call in (step.call, *(method for _, method in step.methods)):
        function: Any = unwrap(named_part(call.target))
        names: dict[str, Any] = getattr(getattr(function, "__func__", function), "__globals__", {})
        if names.get("__name__") == "__main__":
            return names
    return {}


def _step_of(sent: Payload) -> Step:
    step = _steps.get(sent.step_key)
    if step is None:
        step = _steps[sent.step_key] = pickle.loads(sent.step)  # noqa: S301
        if len(_steps) > _STEPS_KEPT:
            _steps.popitem(last=False)
    return step


def _pack(outcome: Outcome, sides: _Loaded | _Local, name: str, records: list[Run]) -> bytes:
    try:
        value = _dump(outcome.value)
    except BaseException as error:  # noqa: BLE001 - what the user's value raises when it is taken apart
        what = f"the result of step {name!r} (of type {type(outcome.value).__qualname__})"
        outcome.fail(NotPicklable(what, "sent back", error)).final = True
        value = _dump(None)
    failures = [_failure(provider, method, error) for provider, method, error in outcome.provider_errors]
    failures += sides.failures
    sides.failures = []
    inner = _pack_inner(records, sides.take_relayed(), failures)
    dropped = tuple(sides.take_dropped(failures))
    cause = _pack_cause(outcome.cause)
    outcome.value, outcome.provider_errors, outcome.cause = None, (), None
    report = Report(outcome, value, tuple(failures), dropped, sides.is_buffering, inner, cause)
    return _dump(tuple(report))  # the text of an error may be of a class of the script's


def _pack_cause(cause: BaseException | None) -> bytes:
    """The exception as bytes; nothing if it does not travel: it is told as text in any case."""
    if cause is None:
        return b""
    try:
        packed = _dump(cause)
    except BaseException:  # noqa: BLE001 - of the user's own
        return b""
    return packed if len(packed) <= _LARGEST_CAUSE else b""


def _pack_inner(records: list[Run], relayed: list[RelayedCall], failures: list[tuple[str, str, str, str]]) -> bytes:
    if not records and not relayed:
        return b""
    try:
        return _dump((records, relayed))
    except Exception as error:  # noqa: BLE001 - of a class that does not travel: what the runs have done is done all the same
        failures.append(_failure("metrics", "relay", error))
        return b""


def digest_of(sides: bytes) -> str:
    """What the `WorkerSide`s of a run are known by."""
    return hashlib.blake2b(sides, digest_size=16).hexdigest()


def surroundings_there(sender: str, digest: str) -> Surroundings:
    """What the inner runs of a step that has come here take over."""
    local = HOME.find(sender)
    found = local.surroundings if local is not None else _sides.find(digest)
    if found is None:
        raise LookupError("the run that this step belongs to has ended, and its config with it")
    return found


def _dump(value: Any) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - a class or a function of the script itself, which travels by value
        import cloudpickle

        pickled: bytes = cloudpickle.dumps(value)
        return pickled


def _failure(provider: str, method: str, error: BaseException) -> tuple[str, str, str, str]:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001
        message = "<no message>"
    return provider, method, type(error).__name__, message
