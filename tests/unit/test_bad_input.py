"""Every row of the contract's table of bad input: the error, its bases, and that it says what to do."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys

import pytest

from dotflow import Config, DotFlow, DotflowError, action, errors
from dotflow.abc import Notify
from dotflow.errors import InvalidOption
from dotflow.providers import LogStructlog, SchedulerCron, SchedulerInterval, StorageFile
from dotflow.testing import RecordingScheduler, RecordingStorage, RecordingTracer
from support.raising import raises


@action(name="good")
def good():
    return 1


def test_all_errors_have_one_base_and_a_built_in_beside_it():
    own = [getattr(errors, name) for name in errors.__all__ if name not in ("DotflowError", "Skip")]
    assert own
    for error in own:
        assert issubclass(error, DotflowError)
        others = [base for base in error.__bases__ if base is not DotflowError]
        assert others or error is errors.AttemptCancelled, f"{error.__name__} has no built-in beside DotflowError"
        assert error.__doc__


# --- a provider that is not of its ABC

PROVIDERS = ("storage", "notify", "log", "server", "scheduler", "tracer", "metrics")


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("wrong", [object(), "text", 0, print, type("Duck", (), {"post": print})()])
def test_a_provider_that_is_not_of_its_contract(name, wrong):
    contract = f"dotflow.abc.{name}.{name.capitalize()}"
    with raises(errors.NotCallableObject, TypeError, f"Config({name}=...)", f"an instance of {contract}"):
        Config(**{name: wrong})


def test_a_provider_of_another_contract_or_its_class_is_refused():
    with raises(errors.NotCallableObject, TypeError, "Config(tracer=...)", "RecordingStorage"):
        Config(tracer=RecordingStorage())
    with raises(errors.NotCallableObject, TypeError, "the class RecordingTracer; did you mean RecordingTracer()?"):
        Config(tracer=RecordingTracer)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"listeners": print}, "write listeners=[f]"),
        ({"listeners": [print, 5]}, "listeners=[..., 5]"),
        ({"drain_timeout": -1}, "drain_timeout=-1"),
        ({"drain_timeout": "5"}, "drain_timeout='5'"),
        ({"rng": 7}, "rng=7: it has no random"),
        ({"drain_timeout": float("nan")}, "drain_timeout=nan"),
    ],
)
def test_other_options_of_config(option, text):
    with raises(errors.InvalidOption, ValueError, text):
        Config(**option)


# --- an unknown word


@pytest.mark.parametrize("mode", ["paralel", "", None, 1, "SEQUENTIAL", ["sequential"]])
def test_an_unknown_mode(workflow, mode):
    for call in (workflow.start, workflow.schedule):
        with raises(errors.InvalidChoice, ValueError, f"mode={mode!r} is not known", "'sequential'", "'background'"):
            call(mode=mode)


@pytest.mark.parametrize("executor", ["threads", "", 5, object])
def test_an_unknown_executor(workflow, executor):
    for call in (workflow.start, workflow.schedule):
        with raises(errors.InvalidChoice, ValueError, f"executor={executor!r}", "'inline'"):
            call(executor=executor)


@pytest.mark.parametrize(
    "make", [lambda word: SchedulerInterval(1, overlap=word), lambda word: SchedulerCron("* * * * *", overlap=word)]
)
def test_an_unknown_overlap(make):
    with raises(errors.InvalidChoice, ValueError, "overlap='never'", "'skip'", "'queue'", "'parallel'"):
        make("never")


@pytest.mark.parametrize("name", ["on_success", "on_failure"])
def test_a_callback_that_cannot_be_called(workflow, name):
    for call in (workflow.start, workflow.schedule):
        with raises(errors.InvalidOption, ValueError, f"{name}='text'", f"{name}(tasks=...)"):
            call(**{name: "text"})
    with raises(errors.InvalidOption, ValueError, "callback='text'", "callback(task=...)"):
        workflow.task.add(step=good, callback="text")


def test_a_keyword_that_is_not_known_is_refused_at_the_call_and_not_at_the_tick():
    scheduler = RecordingScheduler()
    workflow = DotFlow(Config(scheduler=scheduler), name="w")
    for call in (workflow.start, workflow.schedule):
        with pytest.raises(TypeError, match="modee"):
            call(modee="sequential")
    assert scheduler.calls == []


def test_a_graph_that_does_not_fit_together_is_refused_before_the_first_tick_whatever_gives_the_params():
    scheduler = RecordingScheduler()
    workflow = DotFlow(Config(scheduler=scheduler), name="w")
    workflow.task.add(good).add(good, name="named", after="good").add(good, name="lost")
    with raises(errors.StepSignatureError, TypeError, "'lost' does not say what it comes after"):
        workflow.schedule(params=lambda _: {})
    assert scheduler.calls == []
    assert not any(task.parents for task in workflow.task)


# --- numbers


@pytest.mark.parametrize("retry", [0, -1, 1.5, "3", None, True])
def test_a_retry_below_one_or_no_number(retry):
    with raises(errors.InvalidOption, ValueError, f"retry={retry!r}", "whole number, at least 1"):
        action(retry=retry)


@pytest.mark.parametrize("field", ["retry_delay", "timeout", "max_delay"])
@pytest.mark.parametrize("value", [-1, -0.001, "2", None, True, float("inf"), float("nan"), 10**400, 1j])
def test_a_time_that_is_none(field, value):
    with raises(errors.InvalidOption, ValueError, f"{field}=", "seconds"):
        action(**{field: value})


@pytest.mark.parametrize(
    ("option", "text"), [({"backoff": 2}, "backoff=2"), ({"name": ""}, "name=''"), ({"name": 5}, "name=5")]
)
def test_other_options_of_action(option, text):
    with raises(errors.InvalidOption, ValueError, text):
        action(**option)


@pytest.mark.parametrize("value", [-0.1, 1.1, 2, "0.5", None, True, float("nan"), float("inf"), 1j])
def test_a_jitter_that_is_no_share(value):
    with raises(errors.InvalidOption, ValueError, f"jitter={value!r}", "from 0 to 1"):
        action(jitter=value)


async def asks():
    return True


class Asks:
    async def __call__(self, error):
        return True


@pytest.mark.parametrize("field", ["retry_on", "give_up_on"])
@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (
            "ConnectionError",
            ["='ConnectionError'", "an exception type, a tuple of them, or a function of the exception"],
        ),
        (5, ["=5", "an exception type"]),
        (ConnectionError("one"), ["=ConnectionError('one')", "an exception type"]),
        (int, ["=int", "a class that is no exception"]),
        ((ConnectionError, int), ["<class 'int'> in it is no exception type"]),
        ((ConnectionError, (OSError,)), ["in it is no exception type"]),
        ((ConnectionError, "OSError"), ["'OSError' in it"]),
        ([ConnectionError, OSError], ["write a tuple, (ConnectionError, OSError,), in place of a list"]),
        ({OSError}, ["write a tuple, (OSError,), in place of a set"]),
        (asks, ["`async def`"]),
        (Asks(), ["`async def`"]),
        (lambda: True, ["it is called with the exception alone", "too many positional arguments"]),
        (lambda error, attempt: True, ["missing a required argument: 'attempt'"]),
    ],
)
def test_errors_that_are_none(field, value, texts):
    with raises(errors.InvalidOption, ValueError, field, *texts):
        action(**{field: value})


def test_errors_to_retry_of_which_there_are_none():
    with raises(errors.InvalidOption, ValueError, "retry_on=(): no error would ever be retried"):
        action(retry_on=())


def test_functions_of_an_exception_that_can_be_called():
    wanted = functools.partial(isinstance, ValueError())  # of a builtin that does not tell what it takes
    for function in (lambda error, attempt=1: True, lambda *errors: True, wanted, callable):
        action(retry_on=function, give_up_on=function)


@pytest.mark.parametrize("field", ["name", "group_name"])
@pytest.mark.parametrize("value", ["", "  ", 5, b"x"])
def test_a_name_that_is_no_text(workflow, field, value):
    with raises(errors.InvalidOption, ValueError, f"{field}={value!r}"):
        workflow.task.add(step=good, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("name", 5), ("workflow_id", " "), ("workflow_id", 5), ("config", {})]
)
def test_a_workflow_with_arguments_that_make_no_sense(field, value):
    with raises(errors.InvalidOption, ValueError, f"{field}={value!r}"):
        DotFlow(**{field: value})


# --- cron, zones and files


@pytest.mark.parametrize("cron", ["", "* * * *", "61 * * * *", "every day", "0 0 31 2 *", None, 5])
def test_a_malformed_cron_expression(cron):
    with raises(errors.InvalidOption, ValueError, f"cron={cron!r}"):
        SchedulerCron(cron)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", 5])
def test_a_malformed_time_zone(zone):
    with raises(errors.InvalidOption, ValueError, f"timezone={zone!r}", "Europe/Berlin"):
        SchedulerCron("* * * * *", timezone=zone)


def test_words_of_the_other_providers(tmp_path):
    with raises(errors.InvalidChoice, ValueError, "serializer='yaml'", "'json'", "'pickle'"):
        StorageFile(tmp_path, serializer="yaml")
    with raises(errors.InvalidChoice, ValueError, "level='LOUD'", "'INFO'"):
        LogStructlog(level="loud")


class Unknown:
    """A type that no storage knows."""


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (Unknown(), ["$:", "Unknown"]),
        ({"rows": [1, Unknown()]}, ["$.rows[1]:", "Unknown"]),
        (open, ["$:", "builtin_function_or_method"]),
        (range(3), ["$:", "range"]),
    ],
)
def test_a_result_that_the_storage_cannot_represent_fails_the_task_and_says_so(tmp_path, value, texts):
    made = []

    @action(retry=3)
    def step():
        made.append(1)
        return value

    storage = StorageFile(tmp_path / "kept")
    workflow = DotFlow(Config(storage=storage), name="w", workflow_id="w-1")
    workflow.task.add(step=[step, good])
    run = workflow.start()
    (error,) = run.tasks[0].errors
    assert [str(task.status) for task in run.tasks] == ["Failed", "Not started"]
    assert (error.exception, made) == ("SerializationError", [1])
    assert all(text in error.message for text in texts), error.message
    assert workflow.result_storage() == [None, None]
    assert storage.list_keys("w-1:") == []


# --- a missing extra

BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from dotflow import DotflowError
try:
    from dotflow.providers import PROVIDER
except ImportError as error:
    assert isinstance(error, DotflowError)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    print(error)
"""


@pytest.mark.parametrize(("provider", "extra"), [("TracerOpenTelemetry", "otel"), ("MetricsPrometheus", "prometheus")])
def test_a_missing_extra_names_what_brings_it(provider, extra):
    command = [sys.executable, "-c", BLOCKED.replace("PROVIDER", provider)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f'{provider} needs an extra: pip install "dotflow-sdk[{extra}]"\n'


def test_a_misspelt_provider_names_those_there_are():
    with pytest.raises(ImportError, match="TracerOpenTelemtry"):
        from dotflow.providers import TracerOpenTelemtry  # noqa: F401


@pytest.mark.parametrize(
    "make",
    [
        lambda: DotFlow(name="caf\udce9"),
        lambda: DotFlow(workflow_id="caf\udce9"),
        lambda: action(name="caf\udce9")(lambda: None),
        lambda: DotFlow().task.add(action(lambda: None), name="caf\udce9"),
        lambda: DotFlow().task.add(action(lambda: None), group_name="caf\udce9"),
    ],
)
def test_a_name_that_no_backend_could_take_is_refused_where_it_is_written(make):
    with pytest.raises(InvalidOption, match=r"='caf\\udce9': .*non-empty text that UTF-8 can hold"):
        make()


def test_an_error_that_no_backend_could_take_is_told_with_escapes():
    @action
    def step():
        raise FileNotFoundError("caf\udce9 is missing")

    workflow = DotFlow()
    workflow.task.add(step)
    error = workflow.start().tasks[0].error
    assert error.message == r"caf\udce9 is missing"
    assert error.traceback.endswith("FileNotFoundError: caf\\udce9 is missing\n")
    error.traceback.encode()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Config(clock=5), "clock=5: it has no time_ns, monotonic_ns, wait"),
        (lambda: Config(ids=5), "ids=5: it has no run_id"),
        (lambda: Config(listeners=5), "listeners=...: a list of callables"),
        (lambda: Config(notify=AsyncNotify()), "notify=AsyncNotify(...): hook_status_task is `async def`"),
        (lambda: Config(listeners=[AsyncNotify().hook_status_task]), "it is `async def`, and nobody would await it"),
        (lambda: StorageFile(None), "StorageFile(path=None): the path of a directory"),
        (lambda: StorageFile(b"x"), "StorageFile(path=b'x'): the path of a directory"),
        (
            lambda: DotFlow().schedule(nonsense=1),
            "schedule() does not know nonsense: it takes mode, background, params, keep_going",
        ),
    ],
)
def test_what_cannot_work_is_named_before_anything_runs(make, said):
    with pytest.raises(DotflowError) as raised:
        make()
    assert said in str(raised.value)


class AsyncNotify(Notify):
    async def hook_status_task(self, task):
        """Nobody would await it."""


async def _start_with(**keywords):
    await DotFlow().start_async(**keywords)


def test_a_keyword_that_start_does_not_take_is_a_type_error_elsewhere_too():
    with pytest.raises(TypeError, match="start_async\\(\\) does not know color: it takes mode"):
        asyncio.run(_start_with(color="red"))
