"""A value that counts how often it is pickled in this process; it means something else to no one."""

from __future__ import annotations

from typing import Any

pickled = 0


class Counted:
    """One of these in a value: the counter goes up each time that the value is pickled here."""

    def __reduce__(self) -> tuple[Any, ...]:
        global pickled  # noqa: PLW0603 - one counter a process is what is wanted
        pickled += 1
        return Counted, ()
