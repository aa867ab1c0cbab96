"""What a test may leave behind, and must not: threads, child processes, sockets and files.

All of them are looked at before and after each test. What a fixture of a wider scope brings with it stays as long as that
fixture does, and is looked for when the whole session is over.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# What something is told apart by, and how it is described to a person.
Found: TypeAlias = "dict[tuple[str, object], str]"

_SECONDS = 20.0  # that something which is about to end may take for it, on a machine with much else to do
# Once in a process, by the libraries themselves, for as long as the process lives.
_THREADS = {
    "fsspecIO": "fsspec's loop",
    "IO loop": "distributed's loop",
    "Profile": "distributed's profiler",
    "Dask-Offload": "distributed's pool for what takes long",
    "asyncio_": "resolver threads of fsspec's loop",
}
_PROGRAMS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
_CACHES = ("__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache", ".import_linter_cache")
_OF_LIBRARIES = ("pymp-", "dask-scratch-space")  # multiprocessing's, with the fork server in it, and distributed's

_of_fixtures: dict[tuple[str, object], str] = {}


def look() -> Found:
    """What there is now."""
    return {**_threads(), **_children(), **_sockets(), **_files()}


def left_since(before: Found) -> list[str]:
    """What is there that was not there before, and is not about to end, described."""
    deadline = time.monotonic() + _SECONDS
    gc_done = False
    while left := {key: text for key, text in look().items() if key not in before and key not in _of_fixtures}:
        if not gc_done:  # what is only waiting to be collected has been let go
            gc.collect()
            gc_done = True
        elif time.monotonic() > deadline:
            break
        else:
            time.sleep(0.01)  # polled until it has ended, or the deadline
    return sorted(left.values())


def _threads() -> Found:
    return {
        ("thread", thread): f"the thread {thread.name!r} ({_target(thread)})"
        for thread in threading.enumerate()
        if not any(thread.name.startswith(name) for name in _THREADS)
    }


def _target(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None) or type(thread)
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', target)}"


def _children() -> Found:
    """Also those that have ended and that nobody has waited for."""
    found: Found = {}
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in children.read_text().split():
                found["child", pid] = f"the process {pid} ({_command(pid)})"
    return {key: text for key, text in found.items() if not any(program in text for program in _PROGRAMS)}


def _command(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120].strip()
    except OSError:
        return ""


def _sockets() -> Found:
    found: Found = {}
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - at each test, and this is the quickest
            with suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
                if target.startswith("socket:") and (ends := _ends(int(name))):
                    found["socket", target] = f"the socket {ends} (descriptor {name})"
    return found


def _ends(descriptor: int) -> str:
    """The two ends; nothing for a pair without names, in which every event loop has its own alarm clock."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as one:
        ends = [one.getsockname()]
        with suppress(OSError):
            ends.append(one.getpeername())
        return (
            ""
            if ends == ["", ""]
            else " to ".join(f"{end[0]}:{end[1]}" if isinstance(end, tuple) else repr(end) for end in ends)
        )
    return "that is closed by now"


def _files() -> Found:
    """Those at the top of where the tests run, and those in the directory for temporary files, which is theirs."""
    found: Found = {}
    for folder in {os.getcwd(), tempfile.gettempdir()}:  # noqa: PTH109
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith((*_CACHES, *_OF_LIBRARIES)):
                    found["file", entry.path] = f"the file {entry.path}"
    return found


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
    """What a fixture of a module or of the session starts belongs to it."""
    if fixturedef.scope == "function":
        return (yield)
    before = look()
    try:
        return (yield)
    finally:
        for key, text in look().items():
            if key not in before:
                _of_fixtures.setdefault(key, f"{text}, of the fixture {fixturedef.argname}")


@pytest.fixture(autouse=True, scope="session")
def _a_session_leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The directory for temporary files is the session's own: whatever is in it comes from a test."""
    tmp_path_factory.getbasetemp()  # is not in it
    folder = tempfile.mkdtemp(prefix="dotflow-tests-")
    found, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), folder
    tempfile.tempdir = folder
    yield
    tempfile.tempdir = None
    del os.environ["TMPDIR"]
    if found is not None:
        os.environ["TMPDIR"] = found
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _a_test_leaves_nothing(_a_session_leaves_nothing: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """A test fails that leaves something behind."""
    if request.node.get_closest_marker("shares"):
        yield
        return
    before = look()
    yield
    left = left_since(before)
    if left:
        pytest.fail(f"{request.node.nodeid} leaves behind: {'; '.join(left)}", pytrace=False)
