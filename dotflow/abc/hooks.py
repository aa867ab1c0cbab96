"""Which methods of a provider do anything: what does not need not be called."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from dotflow.abc.log import Log
from dotflow.abc.metrics import Metrics
from dotflow.abc.notify import Notify
from dotflow.abc.provider import Provider
from dotflow.abc.server import Server
from dotflow.abc.storage import Storage
from dotflow.abc.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["does_nothing", "overridden"]

_P = TypeVar("_P", bound=type)
_idle: set[Callable[..., Any]] = set()


def does_nothing(provider: _P) -> _P:
    """A class decorator: the methods that this very class defines need never be called."""
    _idle.update(function for function in vars(provider).values() if isinstance(function, FunctionType))
    return provider


def overridden(provider: object, method: str) -> bool:
    """True if calling this method of a provider does anything."""
    return getattr(getattr(provider, method), "__func__", None) not in _idle


for _contract in (Provider, Tracer, Metrics, Log, Notify, Server, Storage):
    does_nothing(_contract)
