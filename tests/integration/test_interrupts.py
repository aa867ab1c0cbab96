"""Ctrl-C, `sys.exit` and what becomes of a run that is ended: real programs, real signals."""

from __future__ import annotations

import signal
import sys

import pytest

from support.programs import LIMIT, Report, ended, interrupted, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")


def check_interrupted(found):
    """The run failed as cancelled, everything was ended and flushed, and KeyboardInterrupt came out of it."""
    found.check_balance()
    assert found.run == ["Failed", "cancellation"]
    assert found.status == -signal.SIGINT, found.err
    assert found.err.rstrip().endswith("KeyboardInterrupt")


# --- Ctrl-C

STEPS = {
    "plain": "@action\ndef step(): block()",
    "retried": "@action(retry=3)\ndef step(): block()",
    "with a timeout": "@action(timeout=60)\ndef step(): block()",
    "async": "@action\nasync def step():\n    ready()\n    await asyncio.sleep(60)",
    "async with a timeout": "@action(timeout=60)\nasync def step():\n    ready()\n    await asyncio.sleep(60)",
    "class": "@action\nclass step:\n    @action\n    def method(self): block()",
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("keep_going", [True, False])
def test_in_the_middle_of_a_step(step, keep_going):
    found = interrupted(f"{step}\nrun_and_report(workflow_of(good, step, good), keep_going={keep_going})")
    check_interrupted(found)
    assert found.tasks == [
        ["good", "Completed", "success", []],
        ["step", "Failed", "cancellation", ["KeyboardInterrupt"]],
        ["good-2", "Not started", None, []],
    ]


def test_during_the_wait_for_a_retry():
    found = interrupted("""
        @action(retry=3, retry_delay=3600)
        def step():
            raise ConnectionError

        def listen(event):
            if isinstance(event, events.TaskRetrying):
                ready()

        run_and_report(workflow_of(good, step, good, listeners=[listen]))
    """)
    check_interrupted(found)
    assert [task[:3] for task in found.tasks[1:]] == [
        ["step", "Failed", "cancellation"],
        ["good-2", "Not started", None],
    ]
    assert found.tasks[1][3][0] == "ConnectionError"


def test_after_a_step_was_given_up():
    found = interrupted("""
        @action(timeout=0.05)
        def stuck():
            threading.Event().wait()

        @action
        def step():
            block()

        run_and_report(workflow_of(stuck, step), keep_going=True)
    """)
    check_interrupted(found)
    assert [task[3] for task in found.tasks] == [["AttemptTimeout"], ["KeyboardInterrupt"]]


def test_while_main_waits_for_a_run_in_the_background():
    found = interrupted("""
        def is_main_waiting():
            frame, names = sys._current_frames()[threading.main_thread().ident], []
            while frame is not None:
                names.append(frame.f_globals["__name__"])
                frame = frame.f_back
            return names[0] == "threading" and "dotflow.model.run" in names

        @action
        def step():
            while not is_main_waiting():
                pass
            block()

        workflow = workflow_of(step, good)
        run = workflow.start(mode="background")
        try:
            run.wait()
        finally:
            report(run)  # it has ended, and is flushed
    """)
    check_interrupted(found)
    assert [task[1] for task in found.tasks] == ["Failed", "Not started"]


def test_inside_a_callback():
    found = interrupted("""
        workflow = workflow_of()
        workflow.task.add(step=[good, good], callback=lambda task: block())
        run_and_report(workflow)
    """)
    check_interrupted(found)
    assert [task[1] for task in found.tasks] == ["Completed", "Not started"]


def test_inside_on_success_the_run_has_ended_well_and_stays_so():
    found = interrupted("run_and_report(workflow_of(good), on_success=lambda tasks: block())")
    found.check_balance()
    assert found.run == ["Completed", "success"]
    assert found.status == -signal.SIGINT


def test_a_step_that_catches_it_goes_on():
    found = interrupted("""
        @action
        def step():
            try:
                block()
            except KeyboardInterrupt:
                return "cleaned up"

        run_and_report(workflow_of(step, good))
    """)
    assert (found.status, found.run) == (0, ["Completed", "success"])


SIGNALS = """
class Signals(Flushing):
    def {method}(self, *args, **kwargs):
        super().{method}(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)
        print("held back", flush=True)
"""


@pytest.mark.parametrize("method", ["start_workflow", "start_task", "end_task", "end_workflow"])
def test_in_the_middle_of_the_bookkeeping_it_is_held_back_until_the_books_are_in_order(method):
    found = ended(f"""{SIGNALS.format(method=method)}
step = action(name="step")(lambda: print("ran", flush=True))
run_and_report(workflow_of(step, good, tracer=Signals))
""")
    found.check_balance()
    assert found.status == -signal.SIGINT
    assert "held back" in found.lines
    assert ("ran" in found.lines) == (method.startswith("end"))
    completed = method == "end_workflow"
    assert found.run == (["Completed", "success"] if completed else ["Failed", "cancellation"])


def test_in_the_middle_of_the_bookkeeping_of_a_workflow_inside_a_step():
    found = ended(f"""{SIGNALS.format(method="start_task")}
inner = DotFlow(Config(tracer=Signals()), name="inner")
inner.task.add(step=good)

@action
def outer():
    try:
        inner.start()
    finally:
        print(inner.config.tracer.calls.names(), inner.task.latest.status, flush=True)

run_and_report(workflow_of(outer))
""")
    check_interrupted(found)
    assert "held back" in found.lines
    names = ["start_workflow", "start_task", "end_task", "end_workflow", "flush"]
    assert f"{[f'tracer.{name}' for name in names]} Failed" in found.lines


def test_a_later_one_ends_bookkeeping_that_hangs():
    hung = """
        class Hung(RecordingTracer):
            def start_task(self, task):
                while True:
                    threading.Event().wait(0.05)
                    ready()

        workflow_of(good, tracer=Hung).start()
    """
    with program(hung) as process:
        for line in process.stdout:
            assert line == "ready\n"
            process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == -signal.SIGINT


# Another thread sends it right after an event: wherever the main thread is by then.
RANDOM = """
    chance = random.Random(2026)

    @action
    def fast(previous_context):
        return 1

    @action(retry=2, retry_delay=0.001)
    def flaky():
        if chance.random() < 0.5:
            raise ConnectionError

    class Trigger:
        def __init__(self, at):
            self.left, self.event = at, threading.Event()
            self.thread = threading.Thread(target=self.send)
            self.thread.start()

        def listen(self, event):
            self.left -= 1
            if self.left == 0:
                self.event.set()

        def send(self):
            self.event.wait(60)
            for _ in range(chance.randrange(5_000)):
                pass
            os.kill(os.getpid(), signal.SIGINT)

    for _ in range(30):
        calls.clear()
        trigger = Trigger(at=chance.randrange(1, 700))
        workflow = workflow_of(*[fast, flaky, fast] * 50, listeners=[trigger.listen])
        try:
            workflow.start(keep_going=True)
            trigger.thread.join(60)
            threading.Event().wait(60)
        except KeyboardInterrupt:
            report(workflow.task.latest)
"""


@pytest.mark.long
def test_at_random_moments_of_runs_of_many_tasks():
    with program(RANDOM) as process:
        out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    reports = [Report(line) for line in out.splitlines()]
    assert len(reports) == 30
    for found in reports:
        found.check_balance()
    # A few may come when the run has just ended.
    assert [found.run for found in reports].count(["Failed", "cancellation"]) >= 20


# --- sys.exit


@pytest.mark.parametrize("options", ["", "retry=3", "timeout=60"])
def test_an_exit_inside_a_step_ends_the_run_and_keeps_its_code(options):
    found = ended(f"""
        @action({options})
        def step():
            sys.exit(7)

        run_and_report(workflow_of(good, step, good), keep_going=True)
    """)
    found.check_balance()
    assert (found.status, found.run) == (7, ["Failed", "cancellation"])
    assert [task[1] for task in found.tasks] == ["Completed", "Failed", "Not started"]
    assert found.tasks[1][3] == ["SystemExit"]


def test_an_exit_in_on_failure_keeps_its_code_and_everything_is_flushed():
    found = ended("""
        @action
        def step():
            raise ValueError

        run_and_report(workflow_of(step, good), on_failure=lambda tasks: sys.exit(3))
    """)
    found.check_balance()
    assert (found.status, found.run) == (3, ["Failed", "failure"])


def test_an_exit_in_a_listener_keeps_its_code_and_leaves_nothing_open():
    found = ended("""
        def listen(event):
            if isinstance(event, events.TaskStarted):
                sys.exit(4)

        run_and_report(workflow_of(good, good, listeners=[listen]))
    """)
    found.check_balance()
    assert (found.status, found.run) == (4, ["Failed", "cancellation"])
    assert [task[1] for task in found.tasks] == ["Failed", "Not started"]


@pytest.mark.parametrize("leave", ["sys.exit(7)", "raise KeyboardInterrupt"])
def test_in_the_background_they_end_the_run_and_not_the_program(leave):
    found = ended(f"""
        @action
        def step():
            {leave}

        run = workflow_of(step, good).start(mode="background").wait(60)
        report(run)
    """)
    found.check_balance()
    assert (found.status, found.run) == (0, ["Failed", "cancellation"])
    assert found.err == ""
