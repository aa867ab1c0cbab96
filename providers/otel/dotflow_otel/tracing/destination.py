"""Where the spans of workers go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow_otel.export.target import Target

__all__ = ["Destination"]


class Destination(NamedTuple):
    """Where the spans go that steps open in a worker.

    `resource` are the attributes of the coordinator's. `set_up` is called once in the worker, before anything else;
    `auto_instrumented` says that `opentelemetry-instrument` has set the coordinator up, and is to do so there; `cicd` is
    for the spans of runs that steps start.
    """

    resource: dict[str, Any]
    target: Target | None = None
    file: str | None = None
    seconds: float = 2.0
    set_up: Callable[[], object] | None = None
    auto_instrumented: bool = False
    cicd: bool = False
