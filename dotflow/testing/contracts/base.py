"""What all suites share: how a provider is made and ended, and how a broken promise is told."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from dotflow.abc.provider import Dropped, Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["GUARD_SECONDS", "ProviderContract", "check", "fail", "same", "together"]

P = TypeVar("P", bound=Provider)
T = TypeVar("T")

GUARD_SECONDS = 60.0
"""How long a test waits for what hangs before it fails; none waits that long to pass."""

_END_SECONDS = 5.0


class ProviderContract(Generic[P]):
    """Base of the suites. `make_provider` is yours to write."""

    def make_provider(self) -> P:
        """A provider that is ready for use, with a backend that works. Called at least once a test; closed by the suite."""
        raise NotImplementedError(f"{type(self).__name__}.make_provider() has to return the provider to test")

    @contextmanager
    def provider(self) -> Iterator[P]:
        """A provider, closed at the end of the block."""
        made = self.make_provider()
        try:
            yield made
        finally:
            made.close(_END_SECONDS)

    def test_flush_and_close_may_be_repeated(self) -> None:
        """Also on a provider that was never used."""
        with self.provider() as provider:
            for _ in range(2):
                provider.flush(_END_SECONDS)
            for _ in range(2):
                provider.close(_END_SECONDS)
            provider.flush(_END_SECONDS)

    def test_what_was_dropped_is_told_once(self) -> None:
        """`take_dropped` gives items with a signal, a count and a reason, and none of them twice."""
        with self.provider() as provider:
            for item in provider.take_dropped():
                check(isinstance(item, Dropped), f"take_dropped() gave {item!r}, which is no Dropped")
            same(list(provider.take_dropped()), [], "take_dropped() asked again with nothing lost in between")


def fail(message: str) -> NoReturn:
    """Raise AssertionError; under `python -O` too."""
    raise AssertionError(message)


def check(condition: object, message: str) -> None:
    """Raise AssertionError with `message` unless `condition` is true."""
    if not condition:
        fail(message)


def same(found: object, expected: object, what: str) -> None:
    """Raise AssertionError unless both are equal."""
    check(found == expected, f"{what}: expected {_short(expected)}, found {_short(found)}")


def together(calls: list[Callable[[], T]]) -> list[T]:
    """What the calls return, each made in a thread of its own, all from one moment on; raises what the first of them raised."""
    barrier, errors = threading.Barrier(len(calls)), list[BaseException]()
    results: dict[int, T] = {}

    def run(number: int, call: Callable[[], T]) -> None:
        barrier.wait(GUARD_SECONDS)
        try:
            results[number] = call()
        except BaseException as error:  # noqa: BLE001 - raised again below, where the test is
            errors.append(error)

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD_SECONDS)
        check(not thread.is_alive(), f"a call hangs: it has not come back in {GUARD_SECONDS:g} s")
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(calls))]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:250]} ... {text[-250:]}"  # noqa: PLR2004
