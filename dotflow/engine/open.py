"""Which providers the open workflows of this process use: to close one of them ends what no other needs."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Use", "open_workflows"]


class _OpenWorkflows:
    """Counts, for each provider, the workflows that use it and have neither been closed nor become garbage."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: Counter[int] = Counter()
        self._gone: deque[tuple[Any, ...]] = deque()

    def enter(self, workflow: object, providers: Iterable[Any]) -> Use:
        """A workflow is made, and uses these providers."""
        kept = tuple(providers)
        with self._lock:
            self._users.update(id(provider) for provider in kept)
        return Use(self, weakref.finalize(workflow, self._gone.append, kept))

    def in_use(self) -> frozenset[int]:
        """The providers that are used, by their `id`."""
        with self._lock:
            # The garbage collector lets workflows go in the middle of anything, so it must not take the lock.
            while self._gone:
                self._users.subtract(id(provider) for provider in self._gone.popleft())
            self._users = +self._users
            return frozenset(self._users)


class Use:
    """What a workflow uses, until it is closed."""

    def __init__(self, workflows: _OpenWorkflows, finalizer: weakref.finalize[..., Any]) -> None:
        self._workflows = workflows
        self._finalizer = finalizer
        finalizer.atexit = False

    def end(self) -> frozenset[int]:
        """The workflow is closed, perhaps not for the first time: what others still use, by their `id`."""
        self._finalizer()
        return self._workflows.in_use()


open_workflows = _OpenWorkflows()
