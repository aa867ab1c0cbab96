"""Every error that dotflow raises itself: one base, and beside it the built-in that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dotflow.version import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AttemptCancelled",
    "AttemptTimeout",
    "DotflowError",
    "GiveUp",
    "ImportModuleError",
    "InputChanged",
    "InvalidChoice",
    "InvalidOption",
    "ItemsError",
    "MissingActionDecorator",
    "MissingExtra",
    "NotCallableObject",
    "NotPicklable",
    "ProgramImportedAgain",
    "RetryAfter",
    "RunFailed",
    "RunTimeout",
    "SerializationError",
    "Skip",
    "StepSignatureError",
    "StorageError",
    "StorageNotPersistent",
    "StorageUnavailable",
    "UnknownKeyword",
    "WorkerDied",
    "WorkflowClosed",
]

_TOO_LONG = 1e300  # no number from here on, infinity and NaN included, is a time


class DotflowError(Exception):
    """Base of all of dotflow's own errors."""


class MissingActionDecorator(DotflowError, TypeError):
    """A step that `@action` did not mark."""

    def __init__(self, step: object) -> None:
        if not callable(step):
            super().__init__(
                f"a step of type {type(step).__name__}: pass the function itself, not what it has returned"
            )
            return
        name = getattr(step, "__qualname__", None) or repr(step)
        super().__init__(f"step {name!r} is not marked: put @action above its definition, or pass action({name})")


class StepSignatureError(DotflowError, TypeError):
    """A step that asks for parameters which dotflow does not supply."""


class ItemsError(DotflowError, TypeError):
    """What a mapped task was to run over has no items, or its items have no proper keys; none of them has run."""


class NotCallableObject(DotflowError, TypeError):
    """A provider that is not an instance of the contract it stands for."""

    def __init__(self, name: str, provider: object, contract: type) -> None:
        hint = f"; did you mean {provider.__name__}()?" if isinstance(provider, type) else ""
        super().__init__(
            f"Config({name}=...) wants an instance of {contract.__module__}.{contract.__name__}, "
            f"got {_describe(provider)}{hint}"
        )


class InvalidChoice(DotflowError, ValueError):
    """A word that is none of the allowed ones."""

    def __init__(self, name: str, given: object, allowed: Iterable[str]) -> None:
        words = ", ".join(repr(word) for word in allowed)
        super().__init__(f"{name}={given!r} is not known: use one of {words}")


class UnknownKeyword(DotflowError, TypeError):
    """A keyword that a call does not take."""

    def __init__(self, call: str, given: Iterable[str], allowed: Iterable[str]) -> None:
        super().__init__(f"{call} does not know {', '.join(sorted(given))}: it takes {', '.join(allowed)}")


class InvalidOption(DotflowError, ValueError):
    """An option whose value makes no sense."""


class ImportModuleError(DotflowError, ImportError):
    """A dotted path that does not lead to a step. The real cause is chained (`__cause__`)."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot import step {path!r}: {why}")


class MissingExtra(DotflowError, ImportError):
    """A provider whose libraries are not installed."""

    def __init__(self, provider: str, extra: str) -> None:
        super().__init__(f'{provider} needs an extra: pip install "{DISTRIBUTION}[{extra}]"')


class AttemptTimeout(DotflowError, TimeoutError):
    """An attempt that ran longer than its step's `timeout`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the attempt was given up after its timeout of {seconds:g} s")


class AttemptCancelled(DotflowError, RuntimeError):
    """An attempt that ended because its run was cancelled."""


class Skip(DotflowError):
    """Raised by a step that has nothing to do: `raise Skip("no new data")`.

    Its task ends well, with the result `skip` and no value; what depends on it is skipped too.
    """


class RetryAfter(DotflowError, RuntimeError):
    """Raised by a step that knows when it may be tried again: `raise RetryAfter(30) from error`.

    The next attempt begins not before that many seconds have passed, if the step's `retry` has one left; else its task fails
    with the cause.

    Raises:
        InvalidOption: (a `ValueError`) `seconds` that are no finite number, or below 0.
    """

    def __init__(self, seconds: float) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < _TOO_LONG:
            raise InvalidOption(f"RetryAfter({seconds!r}): seconds, a finite number not below 0")
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"try again after {self.seconds:g} s"


class GiveUp(DotflowError, RuntimeError):
    """Raised by a step that no further attempt can help: `raise GiveUp("the table is gone")`. Its task fails at once."""


class WorkerDied(DotflowError, RuntimeError):
    """An attempt whose worker ended under it: killed, out of memory, `os._exit`."""


class NotPicklable(DotflowError, TypeError):
    """A step or a value that cannot travel between this process and a worker."""

    def __init__(self, what: str, direction: str, cause: BaseException) -> None:
        super().__init__(
            f"{what} cannot be {direction}: {type(cause).__name__}: {cause}. "
            "What crosses processes must be picklable: make it inside the step, or use executor='thread' or 'inline'"
        )


class RunFailed(DotflowError, RuntimeError):
    """What `Run.raise_for_status` raises for a run that failed. `run` is the `Run`; `__cause__` is of the first task that failed."""

    def __init__(self, message: str, run: Any = None) -> None:
        super().__init__(message)
        self.run = run


class RunTimeout(DotflowError, TimeoutError):
    """What `Run.wait` raises when the run is still going after `timeout` seconds."""


class WorkflowClosed(DotflowError, RuntimeError):
    """A start after `DotFlow.close()`, when the providers are gone."""


class ProgramImportedAgain(DotflowError, RuntimeError):
    """A child process of `multiprocessing` that is about to work imports the program, which starts a workflow unguarded."""


class StorageError(DotflowError, OSError):
    """A storage that could not read or write; the task that needed it fails."""


class StorageUnavailable(StorageError):
    """A storage that does not answer, so nobody knows what it holds: what a task left there may be whole."""


class StorageNotPersistent(DotflowError, ValueError):
    """A resume from a storage that forgets everything when the process ends."""


class SerializationError(DotflowError, TypeError):
    """A value that a storage cannot represent exactly."""


class InputChanged(DotflowError, ValueError):
    """A resumed run whose initial contexts differ from those of the run it continues."""


def _describe(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"an object of type {type(value).__module__}.{type(value).__qualname__}"
