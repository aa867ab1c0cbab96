"""Log: one line for everything that happens."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotflow.abc.worker import WorkerSide

__all__ = ["Log"]


class Log(Provider):
    """Writes one line for everything that happens in a run.

    Called in line, so it must not block. Each method gets `event=` (a name of `dotflow.names.logs`) and `task=` or
    `run=`: the live object, to be read at once.
    """

    @abstractmethod
    def info(self, **kwargs: Any) -> None:
        """Something happened as it should."""

    @abstractmethod
    def error(self, **kwargs: Any) -> None:
        """A task or a run failed."""

    @abstractmethod
    def warning(self, **kwargs: Any) -> None:
        """An attempt failed and will be retried."""

    @abstractmethod
    def debug(self, **kwargs: Any) -> None:
        """Detail for the developer."""

    def for_worker(self) -> WorkerSide | None:
        """What worker processes need so that the lines which steps write there carry the ids, and end up somewhere.

        Asked once a run that has any. None: nothing, so `attach` has no effect there.
        """
        return None

    def attach(self, ids: Mapping[str, str | int]) -> AbstractContextManager[None]:
        """Put the ids (fields of `dotflow.names.logs`) on the lines that the step writes itself.

        Entered around each attempt, in the thread that runs it and in a `contextvars` context of its own. The default
        does nothing.
        """
        del ids
        return nullcontext()
