"""Ctrl-C while a run goes on in the background and the main thread is somewhere else."""

from __future__ import annotations

import signal
import sys

import pytest

from support.programs import LIMIT, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")

_WORKFLOW = """
    def say(*words):  # in one piece: two threads have something to say
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    @action
    def step():
        while not is_main_there():
            pass
        block()

    def done(tasks):
        say(tasks[0].result, calls.names().count("tracer.end_task"))

    workflow = workflow_of(step, good)
    run = workflow.start(mode="background", on_failure=done)
"""


def interrupted(text: str) -> tuple[str, str, int]:
    """What a program prints, and how it ends, when it is interrupted once it is ready."""
    with program(text) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
        return out, err, process.returncode


def test_in_the_program_s_own_work_it_is_raised_there_and_the_run_is_ended():
    there = """
        main_is_waiting = threading.Event()

        def is_main_there():
            return main_is_waiting.is_set()
    """
    own_work = """
        try:
            main_is_waiting.set()
            while True:
                pass
        except KeyboardInterrupt:
            say("interrupted")
            run.wait()
            say(run.status, run.result)
    """
    out, err, code = interrupted("\n".join(map(_dedent, (there, _WORKFLOW, own_work))))
    assert sorted(out.splitlines()) == ["Failed cancellation", "cancellation 1", "interrupted"]
    assert (err, code) == ("", 0)


def test_at_the_end_of_the_program_the_run_is_ended_in_order():
    there = """
        def is_main_there():
            return not threading.main_thread().is_alive()
    """
    out, err, code = interrupted("\n".join(map(_dedent, (there, _WORKFLOW))))
    assert out == "cancellation 1\n"
    assert "Traceback" not in err
    assert code == 0


def test_when_no_run_goes_on_any_more_it_means_what_it_always_meant():
    text = """
        workflow_of(good).start(mode="background").wait()
        try:
            block()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    out, _, code = interrupted(text)
    assert (out, code) == ("interrupted\n", 0)


def _dedent(text: str) -> str:
    import textwrap

    return textwrap.dedent(text)
