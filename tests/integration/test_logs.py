"""Log lines: the engine's, and those that a step writes itself, all on the ids of the run."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from opentelemetry import trace

from dotflow import Config, DotFlow, action
from dotflow.errors import InvalidChoice
from dotflow.names import logs
from dotflow.providers import LogStructlog, TracerOpenTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable


@contextmanager
def logging_with(*handlers: logging.Handler):
    """The root logger as a program has set it up, pytest's own handlers put aside; checks that it is left like that."""
    root = logging.getLogger()
    found, level = root.handlers[:], root.level
    root.handlers[:] = handlers
    before = logging.INFO if handlers else logging.WARNING
    root.setLevel(before)
    structlog.reset_defaults()
    try:
        yield
        assert root.handlers == list(handlers), "LogStructlog left a handler behind"
        assert root.level == before
        assert all(not handler.filters for handler in handlers), "LogStructlog left a filter behind"
        assert not structlog.is_configured()
    finally:
        root.handlers[:], root.level = found, level
        structlog.reset_defaults()


@action(retry=2, name="talk")
def talk(initial_context):
    logging.getLogger("mine").info("read %d rows", 300, extra={"rows": 300})
    structlog.get_logger().info("hello", colour="red")
    if initial_context.storage is not None:
        raise initial_context.storage


def run(make_log: Callable[[], LogStructlog], *steps, initial=None, handlers=(), **config):
    with logging_with(*handlers), DotFlow(Config(log=make_log(), **config), name="etl", workflow_id="w-1") as workflow:
        workflow.task.add(step=list(steps) or [talk], initial_context=initial)
        return workflow.start()


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_line_is_json_with_the_fields_of_the_contract(tmp_path):
    path = tmp_path / "deep" / "run.jsonl"
    run_ = run(lambda: LogStructlog(format="json", output=path, capture=True), initial=ValueError("bad row"))
    lines = lines_of(path)
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", logs.WORKFLOW_STARTED),
        ("info", logs.TASK_STARTED),
        *[("info", "read 300 rows"), ("info", "hello")],
        ("warning", logs.TASK_RETRYING),
        *[("info", "read 300 rows"), ("info", "hello")],
        ("error", logs.TASK_FAILED),
        ("error", logs.WORKFLOW_FAILED),
    ]
    assert {line["run_id"] for line in lines} == {line["trace_id"] for line in lines} == {run_.run_id}
    failed = lines[-2]
    assert list(failed)[:3] == ["timestamp", "level", "event"]
    assert failed["timestamp"].endswith("Z")
    assert failed == failed | {
        "workflow": "etl",
        "workflow_id": "w-1",
        "task": "talk",
        "task_id": "talk",
        "attempt": 2,
        "status": "Failed",
        "error_type": "ValueError",
        "error": "bad row",
    }
    assert failed["duration"] == pytest.approx(run_.tasks[0].duration, abs=1e-6)
    assert lines[2] == lines[2] | {"logger": "mine", "rows": 300, "attempt": 1, "task_id": "talk"}
    assert lines[6] == lines[6] | {"colour": "red", "attempt": 2, "workflow": "etl"}


def test_the_steps_own_lines_name_the_innermost_span(tmp_path):
    path = tmp_path / "run.jsonl"
    tracer = TracerOpenTelemetry()
    seen = []

    @action(retry=2)
    def speak():
        seen.append(f"{trace.get_current_span().get_span_context().span_id:016x}")
        logging.getLogger("mine").warning("from logging")
        structlog.get_logger("named").warning("from structlog")
        with trace.get_tracer_provider().get_tracer("x").start_as_current_span("no-op"):
            logging.getLogger("mine").warning("in a span that is not recorded")
        with tracer.provider.get_tracer("x").start_as_current_span("own") as own:
            seen.append(f"{own.get_span_context().span_id:016x}")
            logging.getLogger("mine").warning("own, logging")
            structlog.get_logger().warning("own, structlog")

    run_ = run(lambda: LogStructlog(format="json", output=path, capture=True), speak, tracer=tracer)
    lines = {line["event"]: line for line in lines_of(path)}
    assert lines["from logging"]["span_id"] == lines["from structlog"]["span_id"] == seen[0]
    assert lines["in a span that is not recorded"]["span_id"] == seen[0]
    assert lines["own, logging"]["span_id"] == lines["own, structlog"]["span_id"] == seen[1]
    assert lines["from structlog"]["logger"] == "named"
    assert list(lines["from logging"])[3:] == list(lines["from structlog"])[3:]
    assert lines[logs.TASK_COMPLETED]["span_id"] == run_.tasks[0].span.span_id != seen[0]
    assert lines[logs.WORKFLOW_COMPLETED]["span_id"] == run_.span.span_id
    assert {line["trace_id"] for line in lines.values()} == {run_.run_id}


def test_logging_that_nobody_configured_is_captured_unasked(tmp_path):
    path = tmp_path / "run.jsonl"
    run_ = run(lambda: LogStructlog(format="json", output=path))
    (line,) = [line for line in lines_of(path) if line["event"] == "read 300 rows"]
    assert line["run_id"] == line["trace_id"] == run_.run_id


def handler_with(form: str) -> tuple[logging.Handler, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(form))
    return handler, stream


def test_logging_that_is_configured_keeps_its_handlers_and_gets_the_ids(tmp_path):
    handler, stream = handler_with("%(run_id)s|%(trace_id)s|%(task_id)s|%(attempt)s|%(message)s")
    path = tmp_path / "run.jsonl"
    with logging_with(handler):
        workflow = DotFlow(Config(log=LogStructlog(format="json", output=path)), name="etl")
        run_ = workflow.task.add(talk) and workflow.start()
        logging.getLogger("mine").info("outside")
        workflow.close()
    assert stream.getvalue().splitlines() == [f"{run_.run_id}|{run_.run_id}|talk|1|read 300 rows", "||||outside"]
    assert "read 300 rows" not in path.read_text()


@pytest.mark.parametrize("options", [{}, {"capture": False}, {"capture": True}, {"logger": "the user's"}], ids=str)
@pytest.mark.parametrize("of", [None, "test_logs.mine"])
def test_every_handler_of_the_application_sees_the_ids_whatever_is_captured(tmp_path, options, of):
    handler, stream = handler_with("%(run_id)s|%(task)s|%(message)s")
    if "logger" in options:
        options = {"logger": structlog.wrap_logger(structlog.ReturnLogger())}

    @action
    def writes():
        logging.getLogger("test_logs.mine").warning("from the step")

    def make_log():
        return LogStructlog(output=tmp_path / "log", **options)

    logger = logging.getLogger(of)
    if of is not None:
        logger.addHandler(handler)
    try:
        run_ = run(make_log, writes, handlers=[handler] if of is None else [])
        assert stream.getvalue() == f"{run_.run_id}|writes|from the step\n"
        assert handler.filters == []
    finally:
        if of is not None:
            logger.removeHandler(handler)


def test_extra_fields_of_the_users_never_collide_with_the_ids(tmp_path):
    handler, stream = handler_with("%(task)s")

    @action
    def collide():
        logging.getLogger("mine").warning("x", extra={"task": "my own", "run_id": 1})

    run_ = run(lambda: LogStructlog(format="json", output=tmp_path / "l"), collide, handlers=[handler])
    assert run_.status == "Completed"
    assert stream.getvalue() == "my own\n"


def test_structlog_unconfigured_carries_the_ids_to_its_own_output(tmp_path, capsys):
    run_ = run(lambda: LogStructlog(format="json", output=tmp_path / "l"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "hello" in line]
    assert run_.run_id in line


def test_the_users_own_logger_is_used_as_it_is():
    captured = structlog.testing.LogCapture()
    run_ = run(lambda: LogStructlog(logger=structlog.wrap_logger(None, processors=[captured])))
    ours = [entry for entry in captured.entries if entry["event"].startswith(("task.", "workflow."))]
    assert [entry["event"] for entry in ours] == [
        *(logs.WORKFLOW_STARTED, logs.TASK_STARTED, logs.TASK_COMPLETED, logs.WORKFLOW_COMPLETED)
    ]
    assert {entry["run_id"] for entry in ours} == {run_.run_id}


def test_a_value_that_cannot_be_written_never_loses_the_line(tmp_path):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no")

    cycle: list = []
    cycle.append(cycle)
    path = tmp_path / "run.jsonl"

    @action
    def odd():
        log = structlog.get_logger()
        log.info("big", value=2**80)
        log.info("surrogate", value="\ud800")
        log.info("hostile", value=Hostile())
        log.info("keys", value={1: 2, (3, 4): 5})
        log.info("cycle", value=cycle)

    run(lambda: LogStructlog(format="json", output=path, capture=True), odd)
    lines = {line["event"]: line for line in lines_of(path)}
    assert lines["big"]["value"] == 2**80
    assert lines["surrogate"]["value"] == "\ud800"
    assert lines["hostile"]["value"] == "<Hostile>"
    assert {"keys", "cycle"} <= set(lines)


def test_tracebacks_hold_no_local_variables(tmp_path):
    path = tmp_path / "run.jsonl"

    @action
    def leak():
        password = "hunter" + "2"
        try:
            raise ValueError("caught")
        except ValueError:
            logging.getLogger("mine").exception("logged")
        raise RuntimeError(len(password))

    for kind in ("json", "console"):
        run(lambda kind=kind: LogStructlog(format=kind, output=path, capture=True), leak)
    text = path.read_text()
    assert "RuntimeError" in text
    assert "ValueError: caught" in text
    assert "hunter2" not in text


def test_levels_filter_and_bad_ones_are_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    run(lambda: LogStructlog(level="warning", format="json", output=path), initial=ValueError())
    assert [line["event"] for line in lines_of(path)] == [logs.TASK_RETRYING, logs.TASK_FAILED, logs.WORKFLOW_FAILED]
    with pytest.raises(InvalidChoice, match=r"level='LOUD'.*'DEBUG', 'INFO'"):
        LogStructlog(level="loud")
    with pytest.raises(InvalidChoice, match=r"format='xml'.*'auto', 'json', 'console'"):
        LogStructlog(format="xml")  # type: ignore[arg-type]


def test_the_console_shows_people_what_people_need(tmp_path):
    path = tmp_path / "run.txt"
    run_ = run(lambda: LogStructlog(format="console", output=path), initial=ValueError("bad row"))
    text = path.read_text()
    assert "workflow_id" not in text
    assert text.count("Traceback (most recent call last)") == 1
    assert f"run_id={run_.run_id}" in text
    assert "error='bad row'" in text


def test_without_a_log_provider_a_failure_is_seen_with_its_traceback():
    program = """
        from dotflow import DotFlow, action
        @action
        def load():
            raise ValueError("bad row 17")
        workflow = DotFlow(name="etl")
        workflow.task.add(load)
        workflow.start()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    assert "task.failed workflow=etl" in done.stderr
    assert "ValueError: bad row 17" in done.stderr
    assert "Traceback" in done.stderr


def test_the_line_about_a_failed_attempt_names_the_span_of_that_attempt(tmp_path):
    path = tmp_path / "run.jsonl"
    seen = []

    @action(retry=2)
    def fail():
        seen.append(f"{trace.get_current_span().get_span_context().span_id:016x}")
        raise ValueError

    run_ = run(lambda: LogStructlog(format="json", output=path), fail, tracer=TracerOpenTelemetry())
    lines = {line["event"]: line for line in lines_of(path)}
    assert lines[logs.TASK_RETRYING]["span_id"] == seen[0]
    assert lines[logs.TASK_FAILED]["span_id"] == run_.tasks[0].span.span_id


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.contained
def test_a_full_disk_harms_nothing_and_is_told_once(contained, capsys):
    @action
    def speak():
        logging.getLogger("mine").warning("the last words")
        return 1

    run_ = run(lambda: LogStructlog(format="json", output="/dev/full"), speak, speak)
    assert run_.status == "Completed"
    assert run_.provider_errors == {("log", "info"): 6}
    assert contained == ["log.info raised OSError; the run goes on without it, and more of the same is only counted"]
    err = capsys.readouterr().err
    assert err.count("the last words") == 2
    assert err.count("log.info raised OSError") == 1
    assert "Logging error" not in err


def test_a_log_that_two_workflows_share_goes_on_when_the_first_closes_it(tmp_path):
    log = LogStructlog(format="json", output=tmp_path / "lines.jsonl")
    for name in ("first", "second"):
        with DotFlow(Config(log=log), name=name) as workflow:
            workflow.task.add(action(lambda: None), name="step")
            assert workflow.start().provider_errors == {}
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["workflow"] for line in lines] == ["first"] * 4 + ["second"] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_line_of_which_a_part_was_written_does_not_spoil_the_next(tmp_path):
    program = f"""
        import resource, signal
        from dotflow.providers import LogStructlog

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = LogStructlog(format="json", output={str(tmp_path / "lines.jsonl")!r})
        log.info(event="first")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        for _ in range(2):
            try:
                log.info(event="does not fit")
            except OSError as error:
                print(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.info(event="next")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("OSError\nOSError\n", "")
    first, torn, following = (tmp_path / "lines.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in (first, following)] == ["first", "next"]
    assert torn.startswith('{"timestamp":')
    assert not torn.endswith("}")
