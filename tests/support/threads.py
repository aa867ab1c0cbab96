"""Functions called in threads: within a time, or at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 20  # seconds after which a call that hangs fails; none takes that long to pass
_LIMIT_AT_ONCE = 60  # the same, for several beside each other

_Found = TypeVar("_Found")


def in_time(function: Callable[[], _Found]) -> _Found:
    """What it returns. Fails if it does not come back, or raises."""
    found: list[_Found] = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), "it hangs"
    assert found, "it has raised"
    return found[0]


def at_once(*functions: Callable[[], object]) -> None:
    """Call each in a thread of its own, all at the same time, and wait for them. Fails if one does not come back."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LIMIT_AT_ONCE)
    assert not [thread for thread in threads if thread.is_alive()], "it hangs"
