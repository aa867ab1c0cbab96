"""dotflow: a workflow SDK in which every run explains itself.

Here: the public names, and beside this file only what a user holds: the workflow and its builder, options, config,
`observability`, errors, events, the version. Not here: anything that only the engine, an executor or a provider needs; each of
these has a folder of its own.
"""

from typing import TYPE_CHECKING

from dotflow.version import warn_of_the_other

__all__ = [
    "Config",
    "Context",
    "DotFlow",
    "DotflowError",
    "GiveUp",
    "RetryAfter",
    "Run",
    "Skip",
    "Task",
    "TypeStatus",
    "action",
    "carrier",
    "current",
    "observability",
    "record",
]

warn_of_the_other(__path__)
del warn_of_the_other

# A module that only defines steps, which every worker imports, must not bring the engine along.
_DOOR = {
    "Config": "config",
    "Context": "model.context",
    "DotFlow": "workflow",
    "DotflowError": "errors",
    "GiveUp": "errors",
    "RetryAfter": "errors",
    "Run": "model.run",
    "Skip": "errors",
    "Task": "model.task",
    "TypeStatus": "model.status",
    "action": "model.action",
    "carrier": "model.current",
    "current": "model.current",
    "observability": "observe",
    "record": "model.measurements",
}
# What `import dotflow` alone makes reachable, as in `dotflow.events.TaskEnded`.
_MODULES = ("abc", "config", "errors", "events", "model", "options", "providers", "toolkit", "version", "workflow")

if TYPE_CHECKING:
    from dotflow.config import Config
    from dotflow.errors import DotflowError, GiveUp, RetryAfter, Skip
    from dotflow.model.action import action
    from dotflow.model.context import Context
    from dotflow.model.current import carrier, current
    from dotflow.model.measurements import record
    from dotflow.model.run import Run
    from dotflow.model.status import TypeStatus
    from dotflow.model.task import Task
    from dotflow.observe import observability
    from dotflow.workflow import DotFlow

    __version__: str
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name == "__version__":
            return import_module("dotflow.version").version()
        if name in _DOOR:
            found = globals()[name] = getattr(import_module(f"dotflow.{_DOOR[name]}"), name)
            return found
        if name in _MODULES:
            return import_module(f"dotflow.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__"})
