"""Which failures get another attempt, and when it comes: `retry_on`, `give_up_on`, `RetryAfter`, `GiveUp`, `max_delay`, `jitter`."""

from __future__ import annotations

import builtins
import gc
import os
import random
import signal
import sys

import pytest

from dotflow import Config, DotFlow, GiveUp, RetryAfter, action
from dotflow.errors import AttemptTimeout, WorkerDied
from dotflow.testing import Calls, FakeClock, RecordingLog, RecordingMetrics

EXECUTORS = ["inline", "thread", "process"]
Group = getattr(builtins, "ExceptionGroup", None)  # from Python 3.11
needs_groups = pytest.mark.skipif(Group is None, reason="SKIPPED: exception groups are of Python 3.11 and newer")


class Stays(Exception):
    """An exception that does not pickle, as those that hold a connection or a response."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status

    def __reduce__(self):
        raise TypeError("stays here")


class WrongPassword(PermissionError):
    """A subclass counts as what it is derived from."""


class Panic(BaseException):
    """As of native code."""


def raising(make, **options):
    @action(name="step", **{"retry": 3, **options})
    def step():
        raise make()

    return step


def run_of(step, executor="inline", **config):
    """The one task of a run, with a clock that jumps over every delay, and how long these were."""
    clock = FakeClock()
    with DotFlow(Config(clock=clock, **config)) as workflow:
        workflow.task.add(step)
        run = workflow.start(executor=executor)
    return run.tasks[0], clock.waits


def is_busy(error):
    return isinstance(error, Stays) and error.status == 503


# --- which


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("options", "make", "attempts"),
    [
        pytest.param({}, ValueError, 3, id="no policy"),
        pytest.param({"retry_on": OSError}, ConnectionError, 3, id="a subclass"),
        pytest.param({"retry_on": OSError}, ValueError, 1, id="another type"),
        pytest.param({"retry_on": (KeyError, ValueError)}, ValueError, 3, id="of a tuple"),
        pytest.param({"retry_on": (KeyError, OSError)}, ValueError, 1, id="not of a tuple"),
        pytest.param({"retry_on": is_busy}, lambda: Stays(503), 3, id="a function says yes"),
        pytest.param({"retry_on": is_busy}, lambda: Stays(401), 1, id="a function says no"),
        pytest.param({"retry_on": Stays}, lambda: Stays(503), 3, id="a type that does not pickle"),
        pytest.param({"retry_on": Panic}, Panic, 3, id="of another base class"),
        pytest.param({"give_up_on": PermissionError}, WrongPassword, 1, id="given up"),
        pytest.param({"give_up_on": PermissionError}, ConnectionError, 3, id="not given up"),
        pytest.param({"give_up_on": ()}, ConnectionError, 3, id="nothing is given up"),
        pytest.param({"give_up_on": lambda error: not is_busy(error)}, lambda: Stays(503), 3, id="function: go on"),
        pytest.param({"give_up_on": lambda error: error.status == 401}, lambda: Stays(401), 1, id="function: give up"),
        pytest.param({"retry_on": OSError, "give_up_on": (PermissionError,)}, ConnectionError, 3, id="both: go on"),
        pytest.param({"retry_on": OSError, "give_up_on": (PermissionError,)}, WrongPassword, 1, id="both: give up"),
        pytest.param({"retry_on": WrongPassword, "give_up_on": OSError}, WrongPassword, 1, id="both name it"),
    ],
)
def test_which_failures_get_another_attempt(options, make, attempts, executor):
    task, _ = run_of(raising(make, **options), executor)
    assert (task.status, task.attempt, len(task.errors), task.retry_count) == (
        "Failed",
        attempts,
        attempts,
        attempts - 1,
    )
    assert {error.exception for error in task.errors} == {type(make()).__name__}


def test_a_policy_of_a_task_that_gets_better():
    errors = [ConnectionError("1"), ConnectionError("2")]

    @action(retry=5, retry_on=ConnectionError, give_up_on=PermissionError)
    def step():
        if errors:
            raise errors.pop(0)
        return "done"

    task, _ = run_of(step)
    assert (task.status, task.attempt, task.current_context.storage) == ("Completed", 3, "done")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_function_is_asked_where_the_exception_is(executor):
    class Here(Exception):
        def __init__(self):
            super().__init__("here")
            self.pid = os.getpid()

    task, _ = run_of(raising(Here, retry_on=lambda error: error.pid == os.getpid()), executor)
    assert task.attempt == 3


def test_the_function_is_asked_once_for_each_failed_attempt_with_the_exception_itself():
    raised, asked = [], []

    def make():
        raised.append(ValueError(len(raised)))
        return raised[-1]

    task, _ = run_of(raising(make, retry_on=lambda error: asked.append(error) or len(asked) < 2))
    assert (task.attempt, len(asked)) == (2, 2)
    assert all(one is other for one, other in zip(asked, raised, strict=True))


def test_a_step_without_a_retry_asks_nobody():
    asked = []
    task, _ = run_of(raising(ValueError, retry=1, retry_on=asked.append, give_up_on=asked.append))
    assert (task.attempt, asked) == (1, [])


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("field", ["retry_on", "give_up_on"])
def test_a_function_that_fails_itself_ends_the_task_and_hides_nothing(field, executor):
    task, _ = run_of(raising(lambda: ValueError("row 17"), **{field: lambda error: error.status > 1}), executor)
    assert (task.status, task.attempt, task.error.exception) == ("Failed", 1, "ValueError")
    assert task.error.message.startswith(f"row 17 (not tried again: {field} raised AttributeError: ")
    assert "raise make()" in task.error.traceback
    assert "error.status > 1" in task.error.traceback


def test_a_function_that_ends_the_program_ends_it():
    with pytest.raises(SystemExit):
        run_of(raising(ValueError, retry_on=lambda error: sys.exit(3)))


def test_a_class_and_a_mapped_task_have_their_policy_too():
    @action(retry=3, retry_on=ConnectionError)
    class Load:
        @action
        def rows(self):
            raise PermissionError

    task, _ = run_of(Load)
    assert task.attempt == 1

    @action(retry=3, retry_on=is_busy)
    def item(files):
        raise Stays(files)

    workflow = DotFlow(Config(clock=FakeClock()))
    workflow.task.add(action(name="files")(lambda: [503, 401])).add(item, after="files", each=True)
    run = workflow.start(keep_going=True)
    assert [each.attempt for each in run.tasks[1].items] == [3, 1]


@needs_groups
@pytest.mark.parametrize(
    ("members", "attempts"),
    [
        ([ConnectionError(), TimeoutError()], 3),
        ([ConnectionError(), ValueError()], 1),
        ([ConnectionError(), PermissionError()], 1),
    ],
)
def test_a_group_is_retried_if_all_in_it_are_and_given_up_if_any_is(members, attempts):
    def make():
        return Group("outer", [members[0], Group("inner", members[1:])])

    task, _ = run_of(raising(make, retry_on=OSError, give_up_on=PermissionError))
    assert task.attempt == attempts


# --- failures that no step raises


def out_of_time(**options):
    @action(name="slow", retry=2, timeout=0.02, **options)
    async def slow():
        import asyncio

        await asyncio.sleep(60)

    return slow


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("options", "attempts"),
    [({}, 2), ({"retry_on": TimeoutError}, 2), ({"retry_on": ConnectionError}, 1), ({"give_up_on": AttemptTimeout}, 1)],
)
def test_a_timeout_is_judged_like_any_error(options, attempts, executor):
    task, _ = run_of(out_of_time(**options), executor)
    assert (task.result, task.attempt) == ("timeout", attempts)


@pytest.mark.parametrize(("options", "attempts"), [({}, 2), ({"retry_on": WorkerDied}, 2), ({"retry_on": OSError}, 1)])
def test_a_worker_that_dies_is_judged_like_any_error(options, attempts):
    @action(retry=2, **options)
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    task, _ = run_of(killed, "process")
    assert (task.error.exception, task.attempt) == ("WorkerDied", attempts)


# --- what the step says


@pytest.mark.parametrize("executor", EXECUTORS)
def test_give_up_ends_the_task_at_once_and_tells_why(executor):
    @action(retry=5, retry_on=GiveUp)
    def step():
        try:
            raise Stays(410)
        except Stays as error:
            raise GiveUp("the table is gone") from error

    task, _ = run_of(step, executor)
    assert (task.status, task.result, task.attempt, task.error.exception) == ("Failed", "failure", 1, "GiveUp")
    assert task.error.message == "the table is gone"
    assert "Stays: 410" in task.error.traceback


@pytest.mark.parametrize("executor", EXECUTORS)
def test_retry_after_waits_that_long_counts_as_an_attempt_and_fails_with_its_cause(executor):
    @action(retry=3, retry_delay=1, backoff=True, max_delay=5, retry_on=KeyError, give_up_on=RetryAfter)
    def step():
        try:
            raise Stays(429)
        except Stays as error:
            raise RetryAfter(30) from error

    log, metrics = RecordingLog(Calls()), RecordingMetrics(Calls())
    task, waits = run_of(step, executor, log=log, metrics=metrics)
    assert waits == [30, 30]
    assert (task.status, task.attempt, task.retry_count) == ("Failed", 3, 2)
    assert [(error.attempt, error.exception, error.message) for error in task.errors] == [
        (number, "Stays", "429") for number in (1, 2, 3)
    ]
    assert task.error.traceback.rstrip().endswith("Stays: 429")
    assert "raise Stays(429)" in task.error.traceback


def test_retry_after_tells_the_log_how_long():
    seen = []

    class Log(RecordingLog):
        def warning(self, **fields):
            seen.append((fields["event"], fields["task"].retry_in, fields["task"].error.exception))

    def step():
        raise RetryAfter(7.5) from ConnectionError("busy")

    run_of(action(retry=2, name="step")(step), log=Log(Calls()))
    assert seen == [("task.retrying", 7.5, "ConnectionError")]


def implicit():
    try:
        raise ConnectionError("busy")
    except ConnectionError:
        raise RetryAfter(1)  # noqa: B904 - many forget the `from`


def suppressed():
    try:
        raise ConnectionError("busy")
    except ConnectionError:
        raise RetryAfter(1) from None


def made():
    raise RetryAfter(1) from ConnectionError("busy")


def alone():
    raise RetryAfter(1)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (implicit, ("ConnectionError", "busy")),
        (made, ("ConnectionError", "busy")),
        (suppressed, ("RetryAfter", "try again after 1 s")),
        (alone, ("RetryAfter", "try again after 1 s")),
    ],
)
def test_the_cause_is_what_was_raised_on_the_way(function, expected):
    task, waits = run_of(action(retry=1)(function))
    assert (task.error.exception, task.error.message) == expected
    assert function.__name__ in task.error.traceback
    assert waits == []


def test_retry_after_no_time_is_at_once_and_takes_the_place_of_the_delay():
    task, waits = run_of(raising(lambda: RetryAfter(0), retry_delay=60))
    assert (task.attempt, waits) == (3, [])


@needs_groups
def test_of_several_in_a_group_the_longest_counts_and_one_that_gives_up_ends_it():
    task, waits = run_of(raising(lambda: Group("g", [RetryAfter(3), RetryAfter(8), ValueError()]), retry=2))
    assert (task.attempt, waits, task.error.exception) == (2, [8], "ExceptionGroup")
    task, _ = run_of(raising(lambda: Group("g", [RetryAfter(3), GiveUp("no")])))
    assert task.attempt == 1


@pytest.mark.parametrize("seconds", [-1, "30", None, float("nan"), float("inf"), True, 1e300])
def test_retry_after_takes_seconds(seconds):
    with pytest.raises(ValueError, match=r"RetryAfter\(.*\): seconds, a finite number not below 0"):
        RetryAfter(seconds)


def test_what_a_step_raises_pickles():
    import pickle

    again = pickle.loads(pickle.dumps(RetryAfter(2.5)))
    assert (again.seconds, str(again)) == (2.5, "try again after 2.5 s")
    assert str(pickle.loads(pickle.dumps(GiveUp("no")))) == "no"


# --- when


def test_the_ceiling():
    task, waits = run_of(raising(ValueError, retry=7, retry_delay=1, backoff=True, max_delay=10))
    assert waits == [1, 2, 4, 8, 10, 10]
    _, waits = run_of(raising(ValueError, retry=3, retry_delay=10, max_delay=4))
    assert waits == [4, 4]
    assert task.attempt == 7


@pytest.mark.parametrize("executor", EXECUTORS)
def test_jitter_spreads_each_delay_by_its_share_and_never_beyond_the_ceiling(executor):
    options = {"retry": 6, "retry_delay": 10, "backoff": True, "max_delay": 50, "jitter": 0.5}
    _, waits = run_of(raising(ValueError, **options), executor, rng=random.Random(7))
    _, again = run_of(raising(ValueError, **options), executor, rng=random.Random(7))
    _, others = run_of(raising(ValueError, **options), executor)
    assert waits == again != others
    for delays in (waits, others):
        for delay, (shortest, longest) in zip(delays, [(5, 15), (10, 30), (20, 50), (25, 50), (25, 50)], strict=True):
            assert shortest <= delay <= longest


def test_jitter_leaves_the_module_random_alone():
    random.seed(1)
    before = random.getstate()
    run_of(raising(ValueError, retry=20, retry_delay=1, jitter=1))
    assert random.getstate() == before


def test_two_runs_of_a_step_that_seeds_random_come_back_at_different_times():
    @action(retry=4, retry_delay=1, jitter=1)
    def step():
        random.seed(42)
        raise ValueError

    assert run_of(step)[1] != run_of(step)[1]


class NoDice:
    def random(self):
        raise AssertionError("asked for randomness without need")


def test_without_jitter_or_without_a_delay_there_is_nothing_to_spread():
    assert run_of(raising(ValueError, retry_delay=3), rng=NoDice())[1] == [3, 3]
    assert run_of(raising(ValueError, jitter=1), rng=NoDice())[1] == []


def come_back(count, make, **options):
    """When the second attempts begin of so many tasks that have failed at the same time (s after that)."""
    clock, begun = FakeClock(), {}

    @action(retry=2, **options)
    def step(initial_context):
        begun.setdefault(initial_context.storage, []).append(clock.monotonic_ns() / 1e9)
        if len(begun[initial_context.storage]) == 1:
            raise make()

    workflow = DotFlow(Config(clock=clock, rng=random.Random(5)))
    for number in range(count):
        workflow.task.add(step, initial_context=number)
    assert workflow.start("parallel", executor="inline").status == "Completed"
    assert {first for first, _ in begun.values()} == {0}
    return [second for _, second in begun.values()]


@pytest.mark.parametrize(
    ("make", "options", "shortest", "longest"),
    [
        pytest.param(ValueError, {"retry_delay": 10, "jitter": 0.5}, 5, 15, id="half"),
        pytest.param(ValueError, {"retry_delay": 10, "jitter": 1}, 0, 20, id="all"),
        pytest.param(ValueError, {"retry_delay": 60, "jitter": 0.5, "max_delay": 60}, 30, 60, id="at the ceiling"),
        pytest.param(ValueError, {"retry_delay": 90, "jitter": 0.5, "max_delay": 60}, 30, 60, id="above the ceiling"),
        pytest.param(lambda: RetryAfter(30), {"jitter": 0.5}, 30, 45, id="never before what was asked for"),
    ],
)
def test_a_thousand_tasks_that_fail_together_come_back_spread_evenly(make, options, shortest, longest):
    times = come_back(1000, make, **options)
    assert shortest <= min(times) < max(times) <= longest
    assert len(set(times)) == 1000
    width = (longest - shortest) / 10
    tenths = [0] * 10
    for time in times:
        tenths[min(9, int((time - shortest) / width))] += 1
    # Of 1,000 in ten equal parts 100 are expected in each, with a standard deviation of 9.5; the dice are always the same.
    assert all(70 <= tenth <= 130 for tenth in tenths), tenths


def test_without_jitter_they_all_come_back_together():
    assert set(come_back(50, ValueError, retry_delay=10)) == {10}


# --- what it costs


def calls_of(**options):
    """The calls that a run of a step with these options makes, in order."""

    @action(retry=3, retry_delay=1, backoff=True, **options)
    def step():
        return 1

    workflow, found = DotFlow(), []
    workflow.task.add(step)

    def note(frame, event, _):
        if event == "call":
            found.append((frame.f_code.co_filename, frame.f_code.co_name))

    gc.disable()  # what it finds calls back
    sys.setprofile(note)
    try:
        run = workflow.start()
    finally:
        sys.setprofile(None)
        gc.enable()
    assert run.status == "Completed"
    return found


def test_a_task_with_a_policy_and_no_failure_does_the_same_as_one_without():
    policy = {"max_delay": 60, "jitter": 0.5, "retry_on": (ConnectionError,), "give_up_on": is_busy}
    calls_of(**policy)  # what is made once a process
    with_policy, without = calls_of(**policy), calls_of()
    assert with_policy == without
    assert any(name == "run_attempt" for _, name in without)
