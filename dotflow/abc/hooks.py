"""Which methods of a provider do anything: what does not need not be called."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from dotflow.abc.log import Log
from dotflow.abc.metrics import Metrics
from dotflow.abc.notify import Notify
from dotflow.abc.provider import Provider
from dotflow.abc.server import Server
from dotflow.abc.storage import Storage
from dotflow.abc.tracer import Tracer

__all__ = ["condition_of", "does_nothing", "only_if", "overridden"]

_P = TypeVar("_P", bound=type)
_F = TypeVar("_F", bound="Callable[..., Any]")
_Condition = Callable[[], bool]
_idle: set[Callable[..., Any]] = set()
_conditions: dict[object, Callable[[Any], _Condition]] = {}


def does_nothing(provider: _P) -> _P:
    """A class decorator: the methods that this very class defines need never be called."""
    _idle.update(function for function in vars(provider).values() if isinstance(function, FunctionType))
    return provider


def overridden(provider: object, method: str) -> bool:
    """True if calling this method of a provider does anything."""
    return getattr(getattr(provider, method), "__func__", None) not in _idle


def only_if(make: Callable[[Any], _Condition]) -> Callable[[_F], _F]:
    """Decorate a method that need not be called while a condition is false. `make` makes the condition for a provider."""

    def mark(function: _F) -> _F:
        _conditions[function] = make
        return function

    return mark


def condition_of(method: Callable[..., Any]) -> _Condition | None:
    """What tells, each time that it is asked, whether calling a provider's method does anything; None: it always does."""
    make = _conditions.get(getattr(method, "__func__", None))
    return make(method.__self__) if make is not None else None  # type: ignore[attr-defined]


for _contract in (Provider, Tracer, Metrics, Log, Notify, Server, Storage):
    does_nothing(_contract)
