"""SIGTERM, which ends a program on the spot: a run that goes on is ended in order first. Real programs, real signals."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from support.otlp import OtlpEndpoint
from support.programs import Ended, interrupted, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGTERM")

EXECUTORS = {
    "inline": "",
    "thread": "executor='thread'",
    "process": "executor='process'",
    "parallel": "mode='parallel', max_workers=2",
}


def terminated(text: str, *others: str) -> Ended:
    return interrupted(text, signal.SIGTERM, *others)


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)
def test_a_run_is_ended_in_order_and_the_program_with_the_usual_status(executor):
    found = terminated(f"""
        @action
        def step(): block()
        run_and_report(workflow_of(step), {executor})
    """)
    found.check_balance()
    assert found.run == ["Failed", "cancellation"]
    assert [task[1] for task in found.tasks] == ["Failed"]
    assert found.status == 128 + signal.SIGTERM, found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_run_that_is_awaited_too(executor):
    """The signal comes when the loop is waiting: earlier it may hit the call that begins the run, which then ends it nowhere."""
    text = f"""
        @action
        def step(): block()
        workflow = workflow_of(step)
        async def main():
            asyncio.get_running_loop().call_soon(os.write, 1, b"the loop goes round\\n")
            try:
                await workflow.start_async(executor={executor!r})
            finally:
                report(workflow.task.latest)
        asyncio.run(main())
    """
    found = terminated(text, "the loop goes round\n")
    found.check_balance()
    assert found.run == ["Failed", "cancellation"]
    assert found.status == 128 + signal.SIGTERM, found.err


def test_a_run_in_the_background_too():
    found = terminated("""
        main_is_waiting = threading.Event()
        @action
        def step():
            main_is_waiting.wait()  # the signal must not come before the `try`
            block()
        workflow = workflow_of(step)
        run = workflow.start(mode="background")
        try:
            main_is_waiting.set()
            run.wait()
        except SystemExit:
            run.wait()
            report(run)
            raise
    """)
    assert found.run == ["Failed", "cancellation"]
    assert found.status == 128 + signal.SIGTERM, found.err


def test_the_span_of_an_attempt_in_a_worker_names_the_worker():
    with OtlpEndpoint() as endpoint:
        found = terminated(f"""
            import os
            from dotflow.providers import TracerOpenTelemetry
            @action
            def step(): block()
            workflow = DotFlow(Config(tracer=TracerOpenTelemetry(endpoint={endpoint.url!r})), name="w")
            workflow.task.add(step)
            run_and_report(workflow, executor="process")
        """)
    span = endpoint.one("task step")
    assert span.attributes["dotflow.result"] == "cancellation"
    assert span.attributes["process.pid"] not in (found.pid, os.getpid())


def test_the_spans_of_such_a_run_arrive():
    with OtlpEndpoint() as endpoint:
        terminated(f"""
            from dotflow.providers import TracerOpenTelemetry
            @action
            def step(): block()
            workflow = DotFlow(Config(tracer=TracerOpenTelemetry(endpoint={endpoint.url!r})), name="w")
            workflow.task.add([good, step])
            run_and_report(workflow)
        """)
        assert [span.name for span in endpoint.spans] == ["task good", "task step", "workflow w"]
        assert endpoint.one("task step").attributes["dotflow.result"] == "cancellation"


@pytest.mark.parametrize(
    "when",
    [
        "",
        "workflow_of(good).start()",
        "workflow_of(good).start(mode='background').wait()",
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
    ],
)
def test_without_a_run_it_ends_the_program_as_ever(when):
    with program(f"import signal\n{when}\nprint('ready', flush=True)\nblock()") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_a_handler_of_the_applications_is_left_alone():
    with program("""
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        @action
        def step(): block()
        run_and_report(workflow_of(step))
    """) as process:
        for line in process.stdout:
            if line == "ready\n":
                break
        process.send_signal(signal.SIGTERM)
        found = Ended(process)
    assert found.status == 7
    assert found.run == ["Failed", "cancellation"]


def test_a_child_that_a_step_has_forked_ends_as_ever():
    found = terminated("""
        import os, signal
        @action
        def step():
            there, here = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(here, b"!")  # a signal that comes before this is dropped by Python itself, at the fork
                threading.Event().wait(60)
                os._exit(1)
            os.read(there, 1)
            os.kill(child, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
            block()
        run_and_report(workflow_of(step))
    """)
    assert [task[3] for task in found.tasks] == [["SystemExit"]]
