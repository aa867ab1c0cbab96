"""Ports of the loopback for servers that must be told one.

A port that the system gives to whoever binds to 0 is free only until it is closed: then the tests beside this one may get it.
These are ports that the system gives to nobody, and each process has its own hundred to begin with.
"""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _LAST = 10_000, 32_000  # below what Linux and the others give to those who bind to 0
_HUNDRED = 100

_numbers = itertools.count(os.getpid() * _HUNDRED)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody listens on, and that is not given out again soon. `kind`: of the socket."""
    for number in _numbers:
        port = _FIRST + number % (_LAST - _FIRST)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the numbers do not end")


def free_ports(count: int) -> list[int]:
    """Several, that differ from each other."""
    return [free_port() for _ in range(count)]
