"""LogOpenTelemetry against a real endpoint that decodes the protobuf."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from opentelemetry import _logs as api
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider

from dotflow import Config, DotFlow, action
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.names import logs
from dotflow.providers import LogStructlog, TracerOpenTelemetry
from dotflow_otel.logs.attributes import plain
from dotflow_otel.logs.provider import LogOpenTelemetry
from support.otlp import OtlpEndpoint
from support.otlp_logs import InMemory, Kept, LogsEndpoint, in_memory, logging_with, mine, quiet, run, talk

HERE = Path(__file__)
pytestmark = pytest.mark.usefixtures("no_otel_variables")


@pytest.fixture
def endpoint():
    with LogsEndpoint() as listening:
        yield listening


@action(retry=2, name="fails")
def fails():
    secret = "hunter" + "2"
    raise ValueError(f"bad row {len(secret)}")


# --- the engine's records


@pytest.fixture(scope="module")
def told():
    """A run of two tasks, one of which fails twice: the run, its records and its spans."""
    with LogsEndpoint() as listening, OtlpEndpoint() as spans:
        log = LogOpenTelemetry("nightly", endpoint=listening.url)
        tracer = TracerOpenTelemetry("nightly", endpoint=spans.url)
        done = run(log, quiet, fails, tracer=tracer)
        assert done.dropped == {}
        yield done, listening, spans


def test_every_event_is_a_record_with_its_severity_in_order(told):
    _, received, _ = told
    assert [(r.event, r.body, r.severity, r.severity_text) for r in received.records] == [
        (logs.WORKFLOW_STARTED, logs.WORKFLOW_STARTED, 9, "INFO"),
        (logs.TASK_STARTED, logs.TASK_STARTED, 9, "INFO"),
        (logs.TASK_COMPLETED, logs.TASK_COMPLETED, 9, "INFO"),
        (logs.TASK_STARTED, logs.TASK_STARTED, 9, "INFO"),
        (logs.TASK_RETRYING, logs.TASK_RETRYING, 13, "WARN"),
        (logs.TASK_FAILED, logs.TASK_FAILED, 17, "ERROR"),
        (logs.WORKFLOW_FAILED, logs.WORKFLOW_FAILED, 17, "ERROR"),
    ]
    assert {r.scope for r in received.records} == {"dotflow"}
    assert {r.resource["service.name"] for r in received.records} == {"nightly"}


def test_the_attributes_of_a_run_and_of_a_task_that_ended_well(told):
    done, received, _ = told
    identity = {"dotflow.workflow.name": "etl", "dotflow.workflow.id": "w", "dotflow.run.id": done.run_id}
    task = {**identity, "dotflow.task.name": "quiet", "dotflow.task.id": "quiet", "dotflow.attempt": 1}
    assert received.of(logs.WORKFLOW_STARTED).attributes == {**identity, "dotflow.run.status": "In progress"}
    ended = received.of(logs.WORKFLOW_FAILED).attributes
    assert ended == {
        **identity,
        "dotflow.run.status": "Failed",
        "dotflow.duration": pytest.approx(done.duration, abs=1e-6),
    }
    assert received.records[1].attributes == {**task, "dotflow.task.status": "In progress"}
    assert received.of(logs.TASK_COMPLETED).attributes == {
        **task,
        "dotflow.task.status": "Completed",
        "dotflow.duration": pytest.approx(done.tasks[0].duration, abs=1e-6),
    }


def test_a_failure_carries_its_exception(told):
    done, received, _ = told
    task = done.tasks[1]
    common = {
        "dotflow.workflow.name": "etl",
        "dotflow.workflow.id": "w",
        "dotflow.run.id": done.run_id,
        "dotflow.task.name": "fails",
        "dotflow.task.id": "fails",
        "error.type": "ValueError",
        "exception.type": "ValueError",
        "exception.message": "bad row 7",
    }
    assert received.of(logs.TASK_RETRYING).attributes == {
        **common,
        "dotflow.attempt": 1,
        "dotflow.task.status": "Retry",
        "dotflow.retry_in": 0.0,
        "exception.stacktrace": task.errors[0].traceback,
    }
    assert received.of(logs.TASK_FAILED).attributes == {
        **common,
        "dotflow.attempt": 2,
        "dotflow.task.status": "Failed",
        "dotflow.duration": pytest.approx(task.duration, abs=1e-6),
        "exception.stacktrace": task.errors[1].traceback,
    }
    assert 'raise ValueError(f"bad row' in task.errors[1].traceback
    assert "hunter2" not in str(received.records)


def test_the_ids_are_those_of_the_spans(told):
    done, received, spans = told
    root, (first, second) = spans.one("workflow etl"), spans.named("attempt")
    ended = {span.span_id: span for span in (spans.one("task quiet"), spans.one("task fails"), root)}
    span_ids = [r.span_id for r in received.records]
    quiet_id, fails_id = spans.one("task quiet").span_id, spans.one("task fails").span_id
    first = min(first, second, key=lambda span: span.start_ns)
    assert span_ids == [root.span_id, quiet_id, quiet_id, fails_id, first.span_id, fails_id, root.span_id]
    assert {r.trace_id for r in received.records} == {root.trace_id} == {done.run_id}
    assert {r.flags for r in received.records} == {1}
    for record in (received.of(logs.TASK_COMPLETED), received.of(logs.TASK_FAILED), received.of(logs.WORKFLOW_FAILED)):
        assert record.time_ns == ended[record.span_id].end_ns


def test_the_times_are_those_of_the_events(told):
    done, received, _ = told
    quiet_, failed = done.tasks
    assert [r.time_ns for r in received.records if r.event != logs.TASK_RETRYING] == [
        *(done.started_ns, quiet_.started_ns, quiet_.finished_ns),
        *(failed.started_ns, failed.finished_ns, done.finished_ns),
    ]
    times = [r.time_ns for r in received.records]
    assert times == sorted(times)
    assert all(abs(r.observed_ns - r.time_ns) < 60e9 for r in received.records)


def test_without_a_tracer_the_trace_id_is_the_run_id(endpoint):
    done = run(LogOpenTelemetry(endpoint=endpoint.url), talk)
    assert {(r.trace_id, r.span_id, r.flags) for r in endpoint.records} == {(done.run_id, "", 0)}
    assert len(endpoint.lines) == 1


def test_a_restored_task(endpoint):
    log = LogOpenTelemetry(endpoint=endpoint.url)
    with logging_with(), DotFlow(Config(log=log), name="etl", workflow_id="w") as flow:
        flow.task.add(quiet)
        flow.start()
        done = flow.start(resume=True)
    record = endpoint.of(logs.TASK_RESTORED)
    assert record.time_ns == done.tasks[0].finished_ns
    assert record.attributes["dotflow.task.status"] == "Completed"


def test_levels_filter_and_bad_ones_are_refused(endpoint):
    run(LogOpenTelemetry(endpoint=endpoint.url, level="warning"), talk, fails)
    assert endpoint.events == [logs.TASK_RETRYING, logs.TASK_FAILED, logs.WORKFLOW_FAILED]
    assert endpoint.lines == []
    with pytest.raises(InvalidChoice, match=r"level='LOUD'.*'DEBUG', 'INFO'"):
        LogOpenTelemetry(level="loud")


def test_debug_is_recorded_where_it_is_asked_for(endpoint):
    log, silent = LogOpenTelemetry(endpoint=endpoint.url, level="DEBUG"), LogOpenTelemetry(endpoint=endpoint.url)
    done = run(log, quiet)
    before = time.time_ns()
    for each in (log, silent):
        each.debug(event="cache.hit", task=done.tasks[0])
    log.flush(2)
    assert endpoint.events == [logs.WORKFLOW_STARTED, logs.TASK_STARTED, logs.TASK_COMPLETED, logs.WORKFLOW_COMPLETED]
    assert [(lost.signal, lost.items, lost.why) for lost in log.take_dropped()] == [("logs", 1, "made after the end")]

    log = LogOpenTelemetry(endpoint=endpoint.url, level="DEBUG")
    log.debug(event="cache.hit", task=done.tasks[0])
    log.close(2)
    hit = endpoint.of("cache.hit")
    assert (hit.severity, hit.severity_text, hit.attributes["dotflow.task.id"]) == (5, "DEBUG", "quiet")
    assert hit.time_ns >= before


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_lines_of_steps_obey_the_level(endpoint, level):
    @action
    def speak():
        for number in (5, 10, 15, 20, 23, 29, 30, 40, 50, 60):
            mine.log(number, "at %d", number)

    mine.setLevel(1)
    try:
        run(LogOpenTelemetry(endpoint=endpoint.url, level=level), speak)
    finally:
        mine.setLevel(logging.NOTSET)
    debug = [("at 10", 5, "DEBUG"), ("at 15", 8, "Level 15")] if level == "DEBUG" else []
    assert [(r.body, r.severity, r.severity_text) for r in endpoint.lines] == [
        *debug,
        *[("at 20", 9, "INFO"), ("at 23", 12, "Level 23"), ("at 29", 12, "Level 29"), ("at 30", 13, "WARN")],
        *[("at 40", 17, "ERROR"), ("at 50", 21, "FATAL"), ("at 60", 24, "Level 60")],
    ]


# --- the lines of steps


@action(name="spans")
def speaks_in_spans():
    mine.info("outer", extra={"current": f"{trace.get_current_span().get_span_context().span_id:016x}"})
    with trace.get_tracer("the step's").start_as_current_span("own") as own:
        mine.warning("inner", extra={"current": f"{own.get_span_context().span_id:016x}"})


LINE_OF_INNER = next(n for n, text in enumerate(HERE.read_text().splitlines(), 1) if 'mine.warning("inner"' in text)
EXECUTORS = [
    pytest.param({}, id="inline"),
    pytest.param({"executor": "thread"}, id="threads"),
    pytest.param({"mode": "parallel"}, id="processes"),
]


@pytest.mark.parametrize("start", EXECUTORS)
def test_lines_belong_to_the_attempt_and_to_the_span_that_is_current(endpoint, start, monkeypatch):
    with OtlpEndpoint() as spans:
        tracer = TracerOpenTelemetry(endpoint=spans.url)
        monkeypatch.setattr(trace, "get_tracer", tracer.provider.get_tracer)  # not the global one, in this process
        log = LogOpenTelemetry("nightly", endpoint=endpoint.url)
        done = run(log, speaks_in_spans, speaks_in_spans, tracer=tracer, start=start).raise_for_status()
    assert done.dropped == {}
    assert len(endpoint.lines) == 4
    for task in done.tasks:
        outer, inner = (r for r in endpoint.lines if r.attributes["dotflow.task.id"] == task.task_id)
        assert (outer.body, outer.severity, inner.body, inner.severity) == ("outer", 9, "inner", 13)
        assert outer.span_id == outer.attributes.pop("current") == task.span.span_id
        assert inner.span_id == inner.attributes.pop("current") != outer.span_id
        (own,) = [span for span in spans.named("own") if span.parent_id == task.span.span_id]
        assert inner.span_id == own.span_id
        assert own.start_ns - 1000 <= inner.time_ns <= own.end_ns + 1000
        assert inner.attributes == {
            "dotflow.workflow.name": "etl",
            "dotflow.workflow.id": "w",
            "dotflow.run.id": done.run_id,
            "dotflow.task.name": "spans",
            "dotflow.task.id": task.task_id,
            "dotflow.attempt": 1,
            "code.file.path": inner.attributes["code.file.path"],
            "code.function.name": "speaks_in_spans",
            "code.line.number": LINE_OF_INNER,
        }
        # Code that travels by value, as it does where a worker cannot import this module, has no file any more.
        assert Path(inner.attributes["code.file.path"]).name in (HERE.name, "<dynamic-code>")
    assert {(r.trace_id, r.flags & 1, r.scope) for r in endpoint.lines} == {(done.run_id, 1, "mine")}
    assert {str(r.resource) for r in endpoint.records} == {str(endpoint.lines[0].resource)}


def test_a_coroutine_and_what_it_starts(endpoint):
    @action(name="async")
    async def speak():
        async def child():
            mine.info("child")

        mine.info("parent")
        await asyncio.gather(child(), asyncio.to_thread(mine.info, "thread"))

    run(LogOpenTelemetry(endpoint=endpoint.url), speak)
    assert sorted(r.body for r in endpoint.lines) == ["child", "parent", "thread"]
    assert {r.attributes["dotflow.task.id"] for r in endpoint.lines} == {"async"}


def test_a_line_with_an_exception_and_a_stack(endpoint):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no")

    @action
    def speak():
        password = "hunter" + "2"
        try:
            raise KeyError(len(password))
        except KeyError:
            mine.exception("caught")
        mine.info("where", stack_info=True)
        mine.error("mute", exc_info=Mute())
        mine.error("none", exc_info=True)

    done = run(LogOpenTelemetry(endpoint=endpoint.url), speak).raise_for_status()
    caught = endpoint.line("caught").attributes
    assert (caught["exception.type"], caught["exception.message"]) == ("KeyError", "7")
    assert caught["exception.stacktrace"].startswith("Traceback (most recent call last):")
    assert caught["exception.stacktrace"].endswith("KeyError: 7\n")
    assert "hunter2" not in str(endpoint.records)
    assert "in speak" in endpoint.line("where").attributes["code.stacktrace"]
    assert endpoint.line("mute").attributes["exception.type"] == "Mute"
    assert "exception.type" not in endpoint.line("none").attributes
    assert done.dropped == {}


def test_values_that_otlp_cannot_hold_become_text_and_lose_nothing(endpoint):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no")

    class Bare:
        def __init__(self):
            self.__class__.__str__ = None

    cycle: dict = {"a": 1}
    cycle["self"] = cycle
    extra = {
        "big": 2**80,
        "surrogate": "a\ud800é",
        "hostile": Hostile(),
        "bare": Bare(),
        "keys": {1: {2}, "": b"\xff"},
        "cycle": cycle,
        "items": [1, 2.5, None, "x", True, (2**63,)],
        "alike": (1, 2),
        "path": Path("a"),
        "none": None,
        "dotflow.task.id": "not yours",
        "": 1,
        7: "seven",
    }

    @action
    def speak():
        mine.info("odd \udcff", extra=extra)
        mine.info("%d rows", "three")
        mine.info(Hostile())
        logging.getLogger("n\udcff").info("named")
        raise ValueError("\udcff.csv")

    raises, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        done = run(LogOpenTelemetry(endpoint=endpoint.url), speak)
    finally:
        logging.raiseExceptions = raises
    assert done.dropped == {}
    assert done.provider_errors == {}
    odd = endpoint.line("odd \\udcff").attributes
    assert odd["big"] == str(2**80)
    assert odd["surrogate"] == "a\\ud800é"
    assert odd["hostile"] == "<Hostile>"
    assert odd["bare"] == "<Bare>"
    assert odd["keys"] == {"1": "{2}", '""': b"\xff"}
    assert odd["cycle"]["a"] == 1
    assert odd["items"] == ["1", "2.5", None, "x", "True", f"({2**63},)"]
    assert odd["alike"] == [1, 2]
    assert (odd["path"], odd["none"], odd["7"], odd["dotflow.task.id"]) == ("a", None, "seven", "speak")
    assert "" not in odd
    assert endpoint.line("%d rows")
    assert endpoint.line("<Hostile>")
    assert endpoint.line("named").scope == "n\\udcff"
    assert endpoint.of(logs.TASK_FAILED).attributes["exception.message"] == "\\udcff.csv"


def test_a_value_that_raises_when_it_is_looked_at():
    class Dict(dict):
        def __str__(self):
            raise RuntimeError("no")

    class Text(str):
        __slots__ = ()

        def isascii(self):
            raise RuntimeError("no")

    assert plain(Dict()) == "<Dict>"
    assert plain(Text("x")) == "<Text>"
    assert plain(10**5000) == "<int>"


@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_too_many_attributes_leave_the_ids(endpoint):
    @action
    def speak():
        mine.info("much", extra={f"field{number}": number for number in range(200)})

    run(LogOpenTelemetry(endpoint=endpoint.url), speak)
    (line,) = endpoint.lines
    assert line.attributes["dotflow.task.id"] == "speak"
    assert len(line.attributes) == 128
    assert line.dropped_attributes == 200 + 9 - 128


def test_only_lines_of_steps_and_only_of_ones_own(endpoint):
    with LogsEndpoint() as others, logging_with():
        flows = []
        for name, where in (("one", endpoint), ("two", others)):
            flow = DotFlow(Config(log=LogOpenTelemetry(endpoint=where.url)), name=name)
            flow.task.add(talk)
            flows.append(flow)
            flow.start()
        mine.warning("outside")
        for flow in flows:
            flow.start()
        for flow in flows:
            flow.close()
        assert [r.body for r in others.lines] == ["read 300 rows"] * 2
    assert [r.body for r in endpoint.lines] == ["read 300 rows"] * 2
    assert {r.attributes["dotflow.workflow.name"] for r in endpoint.lines} == {"one"}


def test_capture_false_leaves_logging_alone(endpoint):
    @action
    def looks():
        return len(logging.getLogger().handlers), logging.getLogger().level

    log = LogOpenTelemetry(endpoint=endpoint.url, capture=False)
    with logging_with(), DotFlow(Config(log=log), name="etl") as flow:
        flow.task.add([talk, looks])
        flow.start()
        assert flow.result_storage()[-1] == (0, logging.WARNING)
    assert len(endpoint.events) == 6
    assert endpoint.lines == []
    assert log.for_worker() is None


# --- the application's `logging`


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_logging_that_is_configured_keeps_its_handlers_and_its_levels(endpoint, level):
    handler = Kept()

    @action
    def speak():
        mine.info("info")
        mine.warning("warning")

    run(LogOpenTelemetry(endpoint=endpoint.url), speak, handlers=[handler], level=level)
    expected = ["info", "warning"] if level == logging.INFO else ["warning"]
    assert [r.getMessage() for r in handler.records if r.name == "mine"] == expected
    assert [r.body for r in endpoint.lines] == expected


def test_warnings_still_reach_standard_error_where_logging_is_not_configured(endpoint, capsys):
    deaf = logging.getLogger("deaf")
    handler = Kept()

    @action
    def speak():
        mine.info("just so")
        mine.warning("told to people")
        deaf.warning("told to a handler")

    deaf.addHandler(handler)
    try:
        run(LogOpenTelemetry(endpoint=endpoint.url), speak)
    finally:
        deaf.removeHandler(handler)
    assert capsys.readouterr().err == "told to people\n"
    assert [r.body for r in endpoint.lines] == ["just so", "told to people", "told to a handler"]


def test_an_application_that_configures_logging_between_runs(endpoint):
    with logging_with() as root, DotFlow(Config(log=LogOpenTelemetry(endpoint=endpoint.url)), name="etl") as flow:
        flow.task.add(talk)
        flow.start()
        handler = Kept()
        root.handlers[:] = [handler]
        flow.start()
        assert [r.body for r in endpoint.lines] == ["read 300 rows"] * 2
        assert len(handler.records) == 1
        root.removeHandler(handler)


def test_the_fields_that_structlogs_filter_adds_are_not_repeated(endpoint, tmp_path):
    with logging_with(Kept()) as root:
        structured = LogStructlog(format="json", output=tmp_path / "log")
        structured.look_at_logging()
        with DotFlow(Config(log=LogOpenTelemetry(endpoint=endpoint.url)), name="etl") as flow:
            flow.task.add(talk)
            flow.start()
        structured.close(1)
        assert len(root.handlers) == 1
    (line,) = endpoint.lines
    assert not set(line.attributes) & {"run_id", "task", "trace_id", "span_id"}
    assert line.attributes["rows"] == 300


# --- which provider


def test_a_provider_of_the_applications_is_used_flushed_and_left_alone(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    provider, exporter = in_memory()
    log = LogOpenTelemetry(logger_provider=provider)
    done = run(log, talk)
    assert [record.event_name for record, scope in exporter.records if scope == "dotflow"] == [
        *(logs.WORKFLOW_STARTED, logs.TASK_STARTED, logs.TASK_COMPLETED, logs.WORKFLOW_COMPLETED)
    ]
    assert {f"{record.trace_id:032x}" for record, _ in exporter.records} == {done.run_id}
    assert [record.body for record, scope in exporter.records if scope == "mine"] == ["read 300 rows"]
    assert log.provider is provider
    assert not exporter.is_shut_down
    assert endpoint.requests == 0
    provider.shutdown()


def test_the_global_provider_is_used_unless_an_endpoint_is_given(endpoint, monkeypatch):
    provider, exporter = in_memory()
    monkeypatch.setattr(api._internal, "_LOGGER_PROVIDER", provider)
    assert LogOpenTelemetry().provider is provider
    run(LogOpenTelemetry(), quiet)
    assert len(exporter.records) == 4
    run(LogOpenTelemetry(endpoint=endpoint.url), quiet)
    assert len(exporter.records) == len(endpoint.records) == 4
    assert api.get_logger_provider() is provider
    provider.shutdown()


@pytest.mark.filterwarnings("ignore:`LoggingHandler` in:DeprecationWarning")
def test_lines_are_left_to_opentelemetrys_own_handler_where_there_is_one():
    from opentelemetry.sdk._logs import LoggingHandler

    provider, exporter = in_memory()
    run(LogOpenTelemetry(logger_provider=provider), talk, handlers=[LoggingHandler(logger_provider=provider)])
    provider.force_flush()
    assert [record.body for record, scope in exporter.records if scope == "mine"] == ["read 300 rows"]
    provider.shutdown()


@pytest.mark.contained
def test_a_provider_that_raises_harms_nothing_and_is_counted(contained):
    class Broken(InMemory):
        def on_emit(self, log_record):
            raise OSError("no")

        def enabled(self, **_):
            return True

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Broken())
    done = run(LogOpenTelemetry(logger_provider=provider), talk, talk)
    assert done.status == "Completed"
    assert done.provider_errors == {("log", "info"): 6}
    assert done.dropped == {"logs": 2}
    assert "recording them raised OSError" in contained[1]
    assert len(contained) == 2


def test_a_bad_choice_of_provider_or_endpoint():
    with pytest.raises(InvalidOption, match="leave out endpoint"):
        LogOpenTelemetry(logger_provider=LoggerProvider(shutdown_on_exit=False), endpoint="http://x")
    with pytest.raises(InvalidOption, match="a base URL such as"):
        LogOpenTelemetry(endpoint="localhost:4318")
    with pytest.raises(InvalidChoice, match="protocol='thrift'"):
        LogOpenTelemetry(protocol="thrift")
    with pytest.raises(InvalidOption, match="worker_provider=3"):
        LogOpenTelemetry(worker_provider=3)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, 4),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "{url}/v1/logs"}, 4),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_LOGS_EXPORTER": "none"}, 0),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_SDK_DISABLED": "true"}, 0),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_BLRP_MAX_QUEUE_SIZE": "x", "OTEL_BLRP_SCHEDULE_DELAY": "0"}, 4),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_BLRP_MAX_QUEUE_SIZE": "100"}, 4),
    ],
)
def test_the_environment(endpoint, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(url=endpoint.url))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "by the environment")
    log = LogOpenTelemetry()
    run(log, quiet)
    assert len(endpoint.records) == expected
    assert {r.resource["service.name"] for r in endpoint.records} <= {"by the environment"}
    assert (log.for_worker() is None) == (expected == 0)


def test_batches_are_as_large_as_the_environment_says(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "2")
    run(LogOpenTelemetry(endpoint=endpoint.url), quiet)
    assert (endpoint.requests, len(endpoint.records)) == (2, 4)


def test_without_an_endpoint_nothing_is_loaded_sent_or_said():
    program = """
        import logging, socket, sys
        def refuse(*_):
            raise AssertionError("over the network")
        socket.socket.connect = refuse
        from dotflow import Config, DotFlow, action
        from dotflow_otel.logs.provider import LogOpenTelemetry
        @action
        def step():
            logging.getLogger("mine").info("x")
            return logging.getLogger().handlers
        workflow = DotFlow(Config(log=LogOpenTelemetry()), name="etl")
        workflow.task.add([step, step])
        run = workflow.start()
        assert workflow.result_storage() == [[], []], workflow.result_storage()
        assert run.status == "Completed" and not run.dropped and not run.provider_errors
        assert "opentelemetry.sdk" not in sys.modules
        assert workflow.start(mode="parallel").status == "Completed"
        workflow.close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
