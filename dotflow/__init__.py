"""dotflow: a workflow SDK in which every run explains itself.

Here: the public names, and beside this file only what a user holds: the workflow and its builder, options, config,
`observability`, errors, events, the version. Not here: anything that only the engine, an executor or a provider needs; each of
these has a folder of its own.
"""

from typing import TYPE_CHECKING

from dotflow.config import Config
from dotflow.errors import DotflowError
from dotflow.model.action import action
from dotflow.model.context import Context
from dotflow.model.current import carrier
from dotflow.model.measurements import record
from dotflow.model.run import Run
from dotflow.model.status import TypeStatus
from dotflow.model.task import Task
from dotflow.observe import observability
from dotflow.version import warn_of_the_other
from dotflow.workflow import DotFlow

__all__ = [
    "Config",
    "Context",
    "DotFlow",
    "DotflowError",
    "Run",
    "Task",
    "TypeStatus",
    "action",
    "carrier",
    "observability",
    "record",
]

warn_of_the_other(__path__)
del warn_of_the_other

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":
            from dotflow.version import version

            return version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
