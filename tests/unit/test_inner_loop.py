"""What the tests themselves promise: nothing is left behind, nothing is made in silence, what is skipped is added up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import missing

TESTS = Path(__file__).parents[1]


def pytest_of(folder: Path, text: str, *options: str) -> str:
    """What pytest writes, standard error after the rest, with these tests and the conftest of all the others."""
    folder, cache = folder / "project", folder / "cache"
    folder.mkdir()
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text(encoding="utf-8"))
    (folder / "test_it.py").write_text(textwrap.dedent(text))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  built\n  contained\n  shares\n")
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "XDG_CACHE_HOME": str(cache), "TMPDIR": str(folder.parent)}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


def test_a_test_that_leaves_something_fails_and_the_one_after_it_does_not(tmp_path):
    out = pytest_of(
        tmp_path,
        """
        import socket, subprocess, sys, tempfile, threading
        from support import leftovers

        gate, kept = threading.Event(), []
        leftovers._SECONDS = 0.2

        def test_a_thread():
            threading.Thread(target=gate.wait, name="mine").start()

        def test_a_process():
            kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

        def test_a_zombie():
            kept.append(subprocess.Popen(["true"]))

        def test_a_socket():
            kept.append(socket.create_server(("127.0.0.1", 0)))

        def test_a_temporary_file():
            tempfile.mkdtemp(prefix="mine")

        def test_a_file_where_it_runs():
            open("mine.txt", "w").close()

        def test_nothing():
            pass

        def teardown_module():
            gate.set()
            for each in kept:
                if isinstance(each, subprocess.Popen):
                    each.kill()
                    each.communicate()
                else:
                    each.close()
        """,
    )
    assert "7 passed, 6 errors" in out, out
    told = dict(line.split(" leaves behind: ") for line in out.splitlines() if line.startswith("test_it.py::"))
    for culprit, what in {
        "thread": r"the thread 'mine' \(threading\.Event\.wait\)",
        "process": r"the process \d+ \(.*python.* -c input\(\)\)",
        "zombie": r"the process \d+ \(.*\)",
        "socket": r"the socket 127\.0\.0\.1:\d+ \(descriptor \d+\)",
        "temporary_file": r"the file .*/mine\w+",
        "file_where_it_runs": r"the file .*/mine\.txt",
    }.items():
        assert re.fullmatch(what, told[f"test_it.py::test_a_{culprit}"])


def test_what_ends_by_itself_and_what_a_wider_fixture_brings_is_not_left_behind(tmp_path):
    out = pytest_of(
        tmp_path,
        """
        import socket, threading, time
        import pytest

        @pytest.fixture(scope="module")
        def server():
            with socket.create_server(("127.0.0.1", 0)) as listening:
                thread = threading.Thread(target=listening.accept)
                thread.start()
                yield listening
                socket.create_connection(listening.getsockname()).close()
                thread.join()

        def test_with_a_server(request):
            request.getfixturevalue("server")

        def test_beside_it():
            pass

        def test_ends_by_itself():
            threading.Thread(target=time.sleep, args=(0.2,)).start()

        def test_a_circle():
            circle = [socket.socket()]
            circle.append(circle)
        """,
        "-W",
        "ignore",
    )
    assert "4 passed" in out, out
    assert "error" not in out


_BUILDS = """
    import pathlib, pytest
    from support import cached

    def make(program):
        print("swallowed")
        program.write_text("")

    def ask():
        program = cached.folder() / "thing"
        assert cached.made_once(program, "a thing 1.0", "a moment", lambda: make(program)) == program

    @pytest.mark.built
    @pytest.mark.parametrize("number", range(4))
    def test_that_needs_it(number):
        ask()

    def test_without_the_mark():
        with pytest.raises(AssertionError, match="mark it `built`"):
            ask()
"""


@pytest.mark.parametrize("options", [(), ("--numprocesses=2",)], ids=["one process", "workers"])
def test_what_is_made_is_told_at_the_terminal_and_made_once(tmp_path, options):
    pytest.importorskip("xdist")
    out = pytest_of(tmp_path, _BUILDS, *options)
    assert "5 passed" in out, out
    assert out.count(f"making a thing 1.0, once, in {tmp_path}/cache/dotflow: a moment\n") == 1
    assert out.count("a thing 1.0 is there after 0 s\n") == 1
    assert "swallowed" not in out


def test_what_was_skipped_for_want_of_a_program_is_added_up_in_one_line(tmp_path):
    out = pytest_of(
        tmp_path,
        """
        import pytest
        from support import missing

        @pytest.mark.parametrize("number", range(3))
        def test_redis(number):
            missing.skip("redis-server", "redis-server", "storage on Redis")

        @pytest.mark.skipif(True, reason=missing.reason("promtool", "prometheus", "the text format"))
        def test_promtool():
            pass

        def test_jaeger():
            missing.skip_unbuilt("jaeger", "what Jaeger makes of a run")

        def test_other():
            pytest.skip("not on this system")
        """,
        "--numprocesses=2",
    )
    assert (
        "not tested, for want of a program: storage on Redis (3 tests); the text format (1 test); what Jaeger makes of a "
        "run (1 test). What brings it: apt-get install prometheus redis-server and a Go toolchain of 1.21 or newer\n"
    ) in out


def test_where_nothing_is_missing_nothing_is_said():
    assert missing.summary(["Skipped: not on this system"]) == ""


@pytest.mark.tree
def test_every_test_is_part_of_one_of_the_two_commands():
    """`make test` and `make test-rest` choose by the same marks, once with `not`."""
    text = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
    assert '$(PYTEST) -m "not (long or built)"' in text
    assert '$(PYTEST) -m "long or built"' in text
