"""The program of a worker process: it runs the attempts that it is sent, one after another, until it is told to end."""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import signal
import socket
import sys
import threading
import types
from contextlib import suppress
from typing import Any

from dotflow.executors import protocol
from dotflow.executors.remote import brought_along, flush_sides, run_payload

__all__ = ["main"]

_F_SETSIG = 10  # of Linux; the module `fcntl` has no name for it before Python 3.13


def main(descriptor: int, lifeline: int) -> None:
    """Serve the coordinator at the other end of this socket. Nothing is ever sent over `lifeline`, another socket."""
    sock, life = socket.socket(fileno=descriptor), socket.socket(fileno=lifeline)
    # Neither a program that a step starts nor a child that it forks must keep the line open when this worker is gone.
    for each in (sock, life):
        each.set_inheritable(False)
        os.register_at_fork(after_in_child=each.close)
    _be_killed_with_the_coordinator(lifeline)
    threading.Thread(target=_end_with_the_coordinator, args=(descriptor,), name="dotflow-watch", daemon=True).start()
    while (message := protocol.receive(sock)) is not None:
        kind, payload = message
        if kind == protocol.RUN:
            report = run_payload(payload, lambda: protocol.send(sock, protocol.BEGUN))
            del payload, message
            _flush_output()
            protocol.send(sock, protocol.DONE, report)
            del report
        elif kind == protocol.FLUSH:
            protocol.send(sock, protocol.FLUSHED, pickle.dumps(flush_sides(pickle.loads(payload))))  # noqa: S301
        elif kind == protocol.SETUP:
            _settle_in(**pickle.loads(payload))  # noqa: S301
        else:
            return


def _settle_in(argv: list[str], main_file: str | None) -> None:
    """Look like the program, whose functions know themselves as those of `__main__`; its code is not run again."""
    with suppress(AttributeError):  # no stdout, or an odd one
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so a killed step has said what it said
    sys.argv[:] = argv
    sys.modules["dotflow.__worker__"] = sys.modules["__main__"]
    program = _Program("__main__")
    if main_file is not None:
        program.__file__ = main_file
    sys.modules["__main__"] = program


class _Program(types.ModuleType):
    """Stands for the script: has the functions and classes of it that the step which runs has brought along.

    So what the step pickles of them, for a pool of its own, into a file or as its result, goes by its name, as it would
    in the script itself.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return brought_along()[name]
        except KeyError:
            raise AttributeError(f"the step has not brought {name!r} along from the script") from None


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the step may have closed it, or put something of its own in its place
            stream.flush()


def _be_killed_with_the_coordinator(lifeline: int) -> None:
    """Have the kernel kill this process and its group when the other side hangs up.

    No thread of ours could while a step never lets go of the interpreter's lock. Only Linux can (`F_SETSIG`, fcntl(2)). Elsewhere, and for a hang-up before this call, there is the thread below.
    """
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _end_with_the_coordinator(descriptor: int) -> None:
    """Kill this process, and those that its steps have started, when the coordinator is gone: nobody waits for them.

    Asks for no event, so only the hang-up of the other side wakes it.
    """
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()
    with suppress(OSError):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
