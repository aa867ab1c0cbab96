"""What inner runs in other processes have told providers that are in this one: the calls are made here."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from dotflow.abc.hooks import overridden
from dotflow.engine.dispatch import Handler, name_of, wants_run
from dotflow.executors.relay import LISTENER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dotflow.config import Config
    from dotflow.engine.dispatch import Dispatch
    from dotflow.executors.relay import RelayedCall

__all__ = ["replay"]

_NETWORK = ("notify", "server")


def replay(
    calls: Iterable[RelayedCall], config: Config, dispatch: Dispatch, carrier: Mapping[str, Any]
) -> list[Handler]:
    """The calls to be made, in the order they were made there. `carrier` names the span of the attempt around the runs."""
    return [handler for call in calls for handler in _handlers(call, config, dispatch, carrier)]


def _handlers(call: RelayedCall, config: Config, dispatch: Dispatch, carrier: Mapping[str, Any]) -> Iterator[Handler]:
    if call.provider == LISTENER:
        for listener in config.listeners:
            yield Handler(LISTENER, name_of(listener), _calling(listener, call, {}))
        return
    provider = getattr(config, call.provider)
    if not overridden(provider, call.method):
        return
    method = getattr(provider, call.method)
    made = _calling(method, call, wants_run(method)(call.run) if call.run is not None else {})
    if call.provider in _NETWORK:
        yield Handler(call.provider, call.method, _posting(dispatch, call, made))
    elif call.provider == "tracer" and overridden(config.tracer, "attach"):
        yield Handler(call.provider, call.method, _below(config, carrier, made))
    else:
        yield Handler(call.provider, call.method, made)


def _calling(method: Callable[..., Any], call: RelayedCall, extra: Mapping[str, Any]) -> Callable[[Any], object]:
    return lambda _: method(*call.args, **call.kwargs, **extra)


def _posting(dispatch: Dispatch, call: RelayedCall, made: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda subject: dispatch.post(call.provider, call.method, lambda: made(subject))


def _below(config: Config, carrier: Mapping[str, Any], made: Callable[[Any], object]) -> Callable[[Any], object]:
    """Where the attempt's span is the current one, as it was for the step."""

    def attached(subject: Any) -> None:
        with config.tracer.attach(carrier):
            made(subject)

    return lambda subject: contextvars.copy_context().run(attached, subject)
