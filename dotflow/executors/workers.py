"""Worker processes, seen from the coordinator: how one is started, talked to, and brought to its end."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dotflow.errors import WorkerDied
from dotflow.executors import protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Worker", "WorkerStock"]

_GRACE_SECONDS = 2.0  # for workers to end in order
# What an import of dotflow warns of, the coordinator's import has said: once is enough.
_PROGRAM = """
import sys, warnings
sys.path[:] = {path!r}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dotflow.executors.worker import main
main({descriptor}, {lifeline})
"""


class _Surroundings(NamedTuple):
    """What a worker takes over when it starts; one that was started under others is not used again."""

    environment: dict[str, str]
    directory: str
    path: list[str]
    arguments: list[str]

    @classmethod
    def now(cls) -> _Surroundings:
        try:
            directory = str(Path.cwd())
        except OSError:  # it was removed, which keeps no process from running in it
            directory = ""
        return cls(dict(os.environ), directory, [entry for entry in sys.path if isinstance(entry, str)], list(sys.argv))


class Worker:
    """A worker process and the line to it.

    It is a fresh interpreter, in a session of its own: it inherits no thread, lock or socket, a Ctrl-C at the terminal
    does not reach it, and it can be killed together with the processes that its steps have started.

    Raises:
        OSError: the system lets no further process start.
    """

    def __init__(self, surroundings: _Surroundings) -> None:
        self.surroundings = surroundings
        self.is_buffering = False
        ours, its = socket.socketpair()
        self._lifeline, its_life = socket.socketpair()
        _lines.update((ours, its, self._lifeline, its_life))
        with its, its_life:
            try:
                self._process = self._start(its.fileno(), its_life.fileno())
            except BaseException:
                ours.close()
                self._lifeline.close()
                raise
        self.pid = self._process.pid
        self.mailbox = protocol.Mailbox(ours)
        self._owner = os.getpid()
        main_file = getattr(sys.modules.get("__main__"), "__file__", None)
        self.mailbox.send(protocol.SETUP, pickle.dumps({"argv": surroundings.arguments, "main_file": main_file}))

    def _start(self, descriptor: int, lifeline: int) -> subprocess.Popen[bytes]:
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - as multiprocessing does
        path = [entry or self.surroundings.directory for entry in self.surroundings.path]
        program = _PROGRAM.format(path=path, descriptor=descriptor, lifeline=lifeline)
        return subprocess.Popen(  # noqa: S603
            [sys.executable, *flags, "-c", program],
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor, lifeline],
            start_new_session=True,
        )

    @property
    def is_ours(self) -> bool:
        """Whether this process has started it. A forked child must leave those of its parent alone."""
        return self._owner == os.getpid()

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        """Let it end in order, once it has nothing to do."""
        self.mailbox.send(protocol.STOP)

    def stop(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic seconds), then kill it, and what its steps have left running."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> int:
        """End it at once, with the processes that its steps have started and that have not left its group.

        It may be dead already. Returns how it ended, as `Popen.returncode`.
        """
        if self.is_ours:
            with suppress(OSError):  # there is nobody left
                os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        self.mailbox.sock.close()
        self._lifeline.close()
        return code

    def epitaph(self) -> WorkerDied:
        """How it ended, for the attempt that it had. To be called when its line has gone silent."""
        code = self.kill()  # it may only have closed its line
        if self.mailbox.is_garbled:
            return WorkerDied(
                f"what came from worker process {self.pid} is no report: did the step write to its socket?"
            )
        if code < 0:
            return WorkerDied(f"the worker process {self.pid} was killed by {_signal_name(-code)} during the attempt")
        return WorkerDied(f"the worker process {self.pid} exited with status {code} during the attempt")


class WorkerStock:
    """Workers that wait for the next run of a workflow. Runs at the same time take from it and give back to it."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._finalizer = weakref.finalize(self, _stop_all, self._idle)

    def take(self) -> Worker:
        """An idle worker, or a new one.

        Raises:
            OSError: the system lets no further process start.
        """
        now = _Surroundings.now()
        while self._idle:
            try:
                worker = self._idle.pop()
            except IndexError:  # another run was faster
                break
            if worker.is_alive and worker.surroundings == now:
                return worker
            worker.kill()
        return Worker(now)

    def give_back(self, worker: Worker) -> None:
        """Keep it for later, unless the workflow has been closed in the meantime."""
        if self._finalizer.alive:
            self._idle.append(worker)
        else:
            _stop_all([worker])

    def clear(self) -> None:
        """End the idle workers, in order; those in use stay."""
        _stop_all(self._idle)

    def close(self) -> None:
        """End the idle workers, now and whenever one is given back."""
        self._finalizer()


def _stop_all(idle: list[Worker]) -> None:
    workers = []
    with suppress(IndexError):
        while True:
            workers.append(idle.pop())
    workers = [worker for worker in workers if worker.is_ours]
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + _GRACE_SECONDS
    for worker in workers:
        worker.stop(deadline)


_lines: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _close_lines(lines: Iterable[socket.socket]) -> None:
    """In a forked child of the coordinator: a line that it kept open would keep workers alive when the coordinator dies."""
    for line in list(lines):
        line.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _close_lines(_lines))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
