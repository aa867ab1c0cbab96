"""What stands around the spans: logs, integrations, sampling, services, and what is left alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.built

_MODES = {"inline": {}, "processes": {"mode": "parallel"}}
_DDTRACE_RUN = str(Path(sys.executable).with_name("ddtrace-run"))
_QUERIES = """
        import sqlite3

        @action(name="queries")
        def queries():
            sqlite3.connect(":memory:").execute("select 1")
"""


def below_the_task(spans) -> list[str]:
    (task,) = [span for span in spans if span.name == "dotflow.task"]
    return [span.name for span in spans if span.parent_id == task.span_id]


@pytest.mark.parametrize("mode", _MODES)
def test_lines_of_a_step_carry_the_ids_of_the_span_that_is_active(agent, program, mode, tmp_path):
    report = program(
        f"""
        import logging
        from dotflow.providers import LogStructlog

        @action(name="writes", retry=2)
        def writes():
            logging.getLogger("mine").warning("in the attempt")
            with tracer.trace("inner"):
                logging.getLogger("mine").warning("in the span")

        run(writes, config={{"log": LogStructlog(format="json", output="log")}}, **{_MODES[mode]!r})
        """
    ).report
    spans = agent.trace(report["run_id"])
    lines = {line["event"]: line for line in map(json.loads, (tmp_path / "log").read_text().splitlines())}
    for event, name in (
        ("in the attempt", "dotflow.attempt"),
        ("in the span", "inner"),
        ("task.started", "dotflow.task"),
        ("workflow.completed", "dotflow.workflow"),
    ):
        (span,) = [span for span in spans if span.name == name]
        assert (lines[event]["trace_id"], lines[event]["span_id"]) == (report["run_id"], f"{span.span_id:016x}"), event


def test_a_step_in_a_worker_that_never_imports_ddtrace_has_ids_too(program, tmp_path):
    report = program(
        """
        import logging, dotflow
        from dotflow.providers import LogStructlog

        @action(name="writes")
        def writes():
            logging.getLogger("mine").warning("in the task")
            return dotflow.carrier()["TRACEPARENT"], "ddtrace" in sys.modules

        run(writes, config={"log": LogStructlog(format="json", output="log")}, mode="parallel")
        """
    ).report
    lines = {line["event"]: line for line in map(json.loads, (tmp_path / "log").read_text().splitlines())}
    assert lines["in the task"]["trace_id"] == report["run_id"]
    ((parent, loaded),) = report["result"]
    assert parent == f"00-{report['run_id']}-{lines['in the task']['span_id']}-01"
    assert not loaded


@pytest.mark.parametrize("mode", _MODES)
@pytest.mark.parametrize("asked", ["ddtrace.auto", "ddtrace-run", "worker_setup"])
def test_integrations_of_ddtrace_nest_below_the_step(agent, program, mode, asked):
    patch = "import ddtrace.auto" if asked == "ddtrace.auto" else "import ddtrace"
    options = {}
    if asked == "worker_setup":
        patch = "import ddtrace; ddtrace.patch(sqlite3=True)"
        options = "{'worker_setup': lambda: ddtrace.patch(sqlite3=True)}"
    command = [_DDTRACE_RUN] if asked == "ddtrace-run" else []
    text = f"""
        {patch}
        {_QUERIES}
        run(queries, tracer_options={options}, **{_MODES[mode]!r})
    """
    report = program(text, *command).report
    assert below_the_task(agent.trace(report["run_id"])) == ["sqlite.query"]


def test_nothing_of_ddtraces_is_changed_unasked(agent, program, tmp_path):
    report = program(
        """
        import ddtrace, sqlite3
        connect, service = sqlite3.connect, ddtrace.config.service
        ddtrace.config.env = "staging"

        @action(name="looks")
        def looks():
            import ddtrace
            return ddtrace.config.service, ddtrace.config.env

        first = run(looks, service="etl")
        run(looks, service="etl", mode="parallel")
        assert ddtrace.config.service == service, ddtrace.config.service
        assert sqlite3.connect is connect
        assert tracer.enabled
        assert tracer.current_trace_context() is None
        with tracer.trace("after all"):
            pass
        """
    ).reports
    assert [each["result"] for each in report] == [[[tmp_path.name, "staging"]], [["etl", "staging"]]]
    assert "after all" in {span.name for span in agent.spans()}
    assert {span.meta["env"] for span in agent.trace(report[1]["run_id"])} == {"staging"}


@pytest.mark.parametrize(("variables", "service"), [({}, None), ({"DD_SERVICE": "from-env"}, "from-env")])
def test_the_service_is_ddtraces_own_unless_one_is_given(agent, program, tmp_path, variables, service):
    report = program(
        """
        @action(name="step")
        def step():
            with tracer.trace("inner"):
                pass

        run(step, service=None, mode="parallel")
        """,
        **variables,
    ).report
    spans = agent.trace(report["run_id"])
    assert {(span.name, span.service) for span in spans} == {  # ddtrace calls it as the directory of the script
        (name, service or tmp_path.name) for name in ("dotflow.workflow", "dotflow.task", "inner")
    }


@pytest.mark.parametrize("mode", _MODES)
@pytest.mark.parametrize(("rate", "sampled"), [("0", False), ("1", True)])
def test_what_ddtrace_decides_on_sampling_holds_everywhere(agent, program, rate, sampled, mode):
    report = program(
        f"""
        import dotflow

        @action(name="step")
        def step():
            with tracer.trace("inner") as span:
                return dotflow.carrier()["TRACEPARENT"][-2:], span.context.sampling_priority

        run(step, **{_MODES[mode]!r})
        """,
        DD_TRACE_SAMPLING_RULES=json.dumps([{"sample_rate": float(rate)}]),
    ).report
    assert report["result"] == [["01", 2] if sampled else ["00", -1]]
    spans = [span for span in agent.trace(report["run_id"]) if "_sampling_priority_v1" in span.metrics]
    assert {span.metrics["_sampling_priority_v1"] for span in spans} <= {2 if sampled else -1}


def test_with_tracing_switched_off_there_are_no_spans_and_no_words(agent, program):
    ended = program(
        """
        import dotflow

        @action(name="step", retry=2)
        def step():
            return dotflow.carrier()

        run(step)
        run(step, mode="parallel")
        """,
        DD_TRACE_ENABLED="false",
    )
    assert ended.err == ""
    for report in ended.reports:
        assert (report["result"], report["dropped"], report["errors"]) == ([{}], {}, [])
        assert report["trace_id"] == report["run_id"]
        assert agent.trace(report["run_id"]) == []


def test_baggage_travels_to_workers(program):
    report = program(
        """
        @action(name="step")
        def step():
            return tracer.current_trace_context().get_baggage_item("customer")

        with tracer.trace("request") as span:
            span.context.set_baggage_item("customer", "a b,=é")
            run(step)
            run(step, mode="parallel")
        """
    ).reports
    assert [each["result"] for each in report] == [["a b,=é"], ["a b,=é"]]


def test_two_runs_at_once(agent, program):
    reports = program(
        """
        together = threading.Barrier(2)

        @action(name="step")
        def step():
            together.wait(60)
            with tracer.trace("inner"):
                together.wait(60)

        threads = [threading.Thread(target=run, args=[step], kwargs={"name": name}) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    ).reports
    for report in reports:
        spans = agent.trace(report["run_id"])
        assert [span.name for span in spans] == ["dotflow.workflow", "dotflow.task", "inner"]


def test_bad_options(program):
    ended = program(
        """
        from dotflow.errors import InvalidOption
        for options in (
            {"service": ""}, {"service": 3}, {"tags": ["a"]}, {"tags": {"a": 1}}, {"shutdown_timeout": 0},
            {"shutdown_timeout": "2"}, {"shutdown_timeout": float("inf")}, {"shutdown_timeout": 10**400},
            {"worker_setup": 3},
        ):
            try:
                TracerDatadog(**options)
            except InvalidOption as error:
                print(json.dumps([list(options)[0], str(error)]))
        """
    )
    assert len(ended.reports) == 9
    for name, text in ended.reports:
        assert text.startswith(f"{name}=")


def test_a_name_that_is_not_utf8(agent, program):
    report = program(
        r"""
        @action(name="broken")
        def broken():
            raise ValueError("a file named \udcff")

        run(broken)
        """
    ).report
    (task,) = [span for span in agent.trace(report["run_id"]) if span.name == "dotflow.task"]
    assert task.meta["error.message"] == r"a file named \udcff"


def test_a_very_long_error(agent, program):
    report = program(
        """
        @action(name="broken")
        def broken():
            raise ValueError("x" * 100_000 + "the end")

        run(broken)
        """
    ).report
    (task,) = [span for span in agent.trace(report["run_id"]) if span.name == "dotflow.task"]
    assert task.meta["error.message"].startswith("xxx")
    assert 2_000 < len(task.meta["error.message"]) <= 25_000
    assert task.meta["error.stack"].rstrip().endswith("the end")
