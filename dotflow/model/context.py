"""The value that travels from task to task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, overload

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["Context", "Pickled", "Provenance", "at_ns", "from_ns"]


def at_ns(time_ns: int) -> datetime:
    """An aware UTC datetime (microseconds) from nanoseconds since the epoch."""
    from datetime import datetime, timezone

    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)


def from_ns(time_ns: int | None) -> datetime | None:
    """An aware UTC datetime (microseconds) from nanoseconds since the epoch; None stays None."""
    return None if time_ns is None else at_ns(time_ns)


class Pickled:
    """The bytes of a context that several attempts are sent, by how they were made, while `consumers` still want it."""

    __slots__ = ("consumers", "data")

    def __init__(self, consumers: int) -> None:
        self.consumers = consumers
        self.data: dict[str, bytes] = {}

    def release(self) -> None:
        """One of the consumers is done; after the last one the bytes are let go."""
        self.consumers -= 1
        if self.consumers <= 0:
            self.data.clear()


class Provenance(NamedTuple):
    """Which run made a result, and what it was made from: equal exactly if all that went into it was the same."""

    run_id: str
    basis: str


class Context(Generic[T]):
    """A value (`storage`) and where it came from. `Context[int]` holds an int, a plain `Context` a value of any type.

    `task_id` and `workflow_id` name the task that made it, `time` (aware) says when; all three are None for
    a value that no task made. `origin` says to which run it belongs: the id of the run that made it or, where that run
    continued another, of the first of them; a resumed run takes only what is of its own. `provenance` says which run made it
    and from what. None: not known. Neither counts when contexts are compared. Wrapping a Context takes its value over, it never nests.
    """

    __slots__ = ("_pickled", "_time", "origin", "provenance", "storage", "task_id", "workflow_id")

    @overload
    def __init__(
        self: Context[Any],
        storage: None = None,
        *,
        task_id: str | None = None,
        workflow_id: str | None = None,
        time: datetime | int | None = None,
        origin: str | None = None,
        provenance: Provenance | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        storage: T | Context[T],
        *,
        task_id: str | None = None,
        workflow_id: str | None = None,
        time: datetime | int | None = None,
        origin: str | None = None,
        provenance: Provenance | None = None,
    ) -> None: ...

    def __init__(
        self,
        storage: Any = None,
        *,
        task_id: str | None = None,
        workflow_id: str | None = None,
        time: datetime | int | None = None,
        origin: str | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        """`time` is an aware datetime, or nanoseconds since the epoch."""
        self.storage: T = storage.storage if isinstance(storage, Context) else storage
        self.task_id = task_id
        self.workflow_id = workflow_id
        self.origin = origin
        self.provenance = provenance
        self._time = time
        self._pickled: Pickled | None = None

    @property
    def time(self) -> datetime | None:
        """When the value was made, as an aware datetime, or None."""
        if isinstance(self._time, int):
            self._time = from_ns(self._time)
        return self._time

    @property
    def is_empty(self) -> bool:
        """True for a context that holds nothing and that no task made: what a storage gives for an unknown key."""
        return self.storage is None and self.task_id is None and self._time is None

    def copy(self) -> Context[T]:
        """Another context with the same value (shared, not copied) and the same origin."""
        made = Context.__new__(Context)  # without `__init__`: it is done twice a task, and nothing is to be looked at
        made.storage = self.storage
        made.task_id = self.task_id
        made.workflow_id = self.workflow_id
        made.origin = self.origin
        made.provenance = self.provenance
        made._time = self._time  # noqa: SLF001 - its own
        made._pickled = None  # noqa: SLF001
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Context):
            return NotImplemented
        return (self.storage, self.task_id, self.workflow_id, self.time) == (
            other.storage,
            other.task_id,
            other.workflow_id,
            other.time,
        )

    __hash__ = None  # type: ignore[assignment]  # equal by a value that may change

    def __repr__(self) -> str:
        maker = f", task_id={self.task_id!r}" if self.task_id else ""
        return f"Context({self.storage!r}{maker})"

    def __getstate__(self) -> tuple[Any, ...]:
        return self.storage, self.task_id, self.workflow_id, self.time, self.origin, self.provenance

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.storage, self.task_id, self.workflow_id, self._time, self.origin, *rest = state
        self.provenance = rest[0] if rest else None  # an older version kept none
        self._pickled = None
