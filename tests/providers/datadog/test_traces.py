"""Runs read back from a real ddapm-test-agent, span by span."""

from __future__ import annotations

import platform

import pytest

pytestmark = pytest.mark.built

_MODES = {
    "inline": {},
    "background": {"mode": "background"},
    "threads": {"mode": "parallel", "executor": "thread"},
    "processes": {"mode": "parallel"},
}


def tree(spans) -> list:
    """The spans as (operation, resource, attempt) over their children, in the order they started."""
    known = {span.span_id for span in spans}

    def below(parents) -> list:
        return [(s.name, s.resource, below({s.span_id})) for s in spans if s.parent_id in parents]

    return below({span.parent_id for span in spans} - known)


def check_times(spans) -> None:
    """Every span lies inside its parent, also those that other processes have made."""
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        parent = by_id.get(span.parent_id)
        assert span.duration_ns >= 0
        if parent is not None:
            assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns, (parent.name, span.name)


def check_errors(spans) -> None:
    """An error has a type and a message; its stack stands once, on the failed attempt or the task without attempts."""
    for span in (span for span in spans if span.name.startswith("dotflow.")):
        assert bool(span.error) == ("error.type" in span.meta) == ("error.message" in span.meta), span.name
        attempts = [s for s in spans if s.parent_id == span.span_id and s.name == "dotflow.attempt"]
        holds = span.name == "dotflow.attempt" or (span.name == "dotflow.task" and not attempts)
        assert ("error.stack" in span.meta) == bool(span.error and holds), span.name


def one(spans, name, resource=None):
    (span,) = [s for s in spans if s.name == name and resource in (None, s.resource)]
    return span


def test_a_run_with_retries_and_a_failure(agent, program):
    report = program(
        """
        import dotflow
        tries = []

        @action(name="extract")
        def extract():
            dotflow.record("rows", 42)

        @action(name="flaky", retry=3)
        def flaky():
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("not yet")

        @action(name="broken")
        def broken():
            raise ValueError("no good")

        run(extract, flaky, broken, tracer_options={"tags": {"team": "data"}})
        """
    ).report
    spans = agent.trace(report["run_id"])
    attempts = [("dotflow.attempt", "flaky", [])] * 3
    assert tree(spans) == [
        ("dotflow.workflow", "nightly", [
            ("dotflow.task", "extract", []), ("dotflow.task", "flaky", attempts), ("dotflow.task", "broken", []),
        ]),
    ]  # fmt: skip
    check_times(spans)
    check_errors(spans)
    assert {(span.service, span.type) for span in spans} == {("etl", "worker")}
    root, task, failed = spans[0], spans[1], spans[-1]
    assert root.meta["_dd.p.tid"] == report["run_id"][:16]
    assert root.parent_id == 0
    assert {key: value for key, value in root.meta.items() if not key.startswith(("_dd", "runtime", "language"))} == {
        "component": "dotflow",
        "span.kind": "internal",
        "team": "data",
        "dotflow.workflow.name": "nightly",
        "dotflow.workflow.id": "w-1",
        "dotflow.run.id": report["run_id"],
        "dotflow.run.mode": "sequential",
        "dotflow.run.trigger": "manual",
        "dotflow.result": "failure",
        "error.type": "ValueError",
        "error.message": "failed: broken",
    }
    assert {key: value for key, value in task.meta.items() if not key.startswith("_dd")} == {
        "component": "dotflow",
        "span.kind": "internal",
        "team": "data",
        "dotflow.workflow.name": "nightly",
        "dotflow.workflow.id": "w-1",
        "dotflow.run.id": report["run_id"],
        "dotflow.task.name": "extract",
        "dotflow.task.id": "extract",
        "dotflow.task.group": "default",
        "dotflow.task.status": "Completed",
        "dotflow.result": "success",
        "code.function.name": "__main__.extract",
        "host.name": platform.node(),
    }
    assert task.metrics["dotflow.attempt"] == 1
    assert task.metrics["dotflow.recorded.rows"] == 42
    assert task.metrics["process.pid"] == root.metrics["process_id"]
    assert [span.metrics.get("_dd.measured") for span in spans if span.name == "dotflow.task"] == [1, 1, 1]
    tried = [span for span in spans if span.name == "dotflow.attempt"]
    assert [(s.error, s.metrics["dotflow.attempt"], s.meta["dotflow.result"]) for s in tried] == [
        (1, 1, "failure"), (1, 2, "failure"), (0, 3, "success"),
    ]  # fmt: skip
    assert one(spans, "dotflow.task", "flaky").error == 0
    assert failed.meta["error.message"] == "no good"
    assert failed.meta["error.stack"].rstrip().endswith("ValueError: no good")
    assert "script.py" in failed.meta["error.stack"]


@pytest.mark.parametrize("mode", _MODES)
def test_spans_of_a_step_stand_below_its_attempt(agent, program, mode):
    report = program(
        f"""
        @action(name="plain")
        def plain():
            with tracer.trace("inner"):
                with tracer.trace("innermost"):
                    pass
            with tracer.trace("second"):
                return os.getpid(), tracer.current_root_span().name

        @action(name="retried", retry=2)
        def retried():
            with tracer.trace("inner"):
                if not os.path.exists("mark"):
                    open("mark", "w").close()
                    raise ValueError("once")

        run(plain, retried, max_workers=2, **{_MODES[mode]!r})
        """
    ).report
    spans = agent.trace(report["run_id"])
    inner = ("inner", "inner", [])
    found = tree(spans)
    assert len(found) == 1, found
    assert sorted(found[0][2]) == [
        ("dotflow.task", "plain", [("inner", "inner", [("innermost", "innermost", [])]), ("second", "second", [])]),
        ("dotflow.task", "retried", [("dotflow.attempt", "retried", [inner]), ("dotflow.attempt", "retried", [inner])]),
    ]
    check_times(spans)
    check_errors(spans)
    assert {span.service for span in spans} == {"etl"}
    (pid, local_root), elsewhere = report["result"][0], mode == "processes"
    assert (pid != spans[0].metrics["process_id"]) == elsewhere
    assert local_root == ("second" if elsewhere else "dotflow.workflow")
    assert {span.meta.get("_dd.p.tid", report["run_id"][:16]) for span in spans} == {report["run_id"][:16]}
    assert report["dropped"] == {}


def test_in_a_pool_of_the_applications(agent, program):
    report = program(
        """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        @action(name="plain")
        def plain():
            with tracer.trace("inner"):
                return os.getpid()

        if __name__ == "__main__":
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                run(plain, plain, mode="parallel", executor=pool)
        """
    ).report
    spans = agent.trace(report["run_id"])
    assert tree(spans)[0][2] == [("dotflow.task", "plain", [("inner", "inner", [])])] * 2


def test_a_step_that_imports_ddtrace_itself_in_a_worker(agent, program):
    report = program(
        """
        @action(name="without")
        def without():
            return "ddtrace" in sys.modules

        @action(name="within")
        def within():
            before = "ddtrace" in sys.modules
            from ddtrace.trace import tracer as found
            with found.trace("inner"):
                return before

        del tracer
        run(without, within, mode="parallel", max_workers=1)
        """
    ).report
    assert report["result"] == [False, False]
    assert tree(agent.trace(report["run_id"]))[0][2] == [
        ("dotflow.task", "without", []),
        ("dotflow.task", "within", [("inner", "inner", [])]),
    ]


def test_a_timeout_and_a_killed_worker(agent, program):
    report = program(
        """
        @action(name="dies", retry=2)
        def dies():
            if not os.path.exists("died"):
                open("died", "w").close()
                with tracer.trace("lost"):
                    os.kill(os.getpid(), signal.SIGKILL)

        @action(name="hangs", timeout=0.3)
        def hangs():
            with tracer.trace("hung"):
                signal.pause()

        @action(name="works")
        def works():
            with tracer.trace("inner"):
                pass

        run(dies, hangs, works, mode="parallel", keep_going=True, max_workers=2)
        """
    ).report
    spans = agent.trace(report["run_id"])
    assert sorted(tree(spans)[0][2]) == [
        ("dotflow.task", "dies", [("dotflow.attempt", "dies", [])] * 2),
        ("dotflow.task", "hangs", []),
        ("dotflow.task", "works", [("inner", "inner", [])]),
    ]
    check_times(spans)
    check_errors(spans)
    first, second = [span for span in spans if span.name == "dotflow.attempt"]
    assert (first.meta["error.type"], second.error) == ("WorkerDied", 0)
    hung = one(spans, "dotflow.task", "hangs")
    assert (hung.meta["dotflow.result"], hung.meta["error.type"]) == ("timeout", "AttemptTimeout")


@pytest.mark.parametrize("retry", [1, 2])
@pytest.mark.parametrize("mode", ["inline", "threads"])
def test_a_step_that_is_given_up_holds_nothing_back(agent, program, mode, retry):
    report = program(
        f"""
        over = threading.Event()

        @action(name="hangs", timeout=0.2, retry={retry})
        def hangs():
            with tracer.trace("ended"):
                pass
            with tracer.trace("outer"), tracer.trace("inner"):
                over.wait(60)

        @action(name="works")
        def works():
            with tracer.trace("fine"):
                pass

        with tracer.trace("the caller's"):
            run(hangs, works, keep_going=True, **{_MODES[mode]!r})
        over.set()
        """
    ).report
    spans = agent.trace(report["trace_id"])
    below = [("ended", "ended", []), ("outer", "outer", [("inner", "inner", [])])]
    attempts = [("dotflow.attempt", "hangs", below)] * retry
    ((name, _, ((_, _, tasks),)),) = tree(spans)
    assert name == "the caller's"
    assert tasks == [
        ("dotflow.task", "hangs", below if retry == 1 else attempts),
        ("dotflow.task", "works", [("fine", "fine", [])]),
    ]
    check_times(spans)
    check_errors(spans)
    assert report["dropped"] == {}


def test_a_run_below_a_span_of_the_callers(agent, program):
    report = program(
        """
        @action(name="step")
        def step():
            with tracer.trace("inner"):
                pass

        with tracer.trace("request", service="web", resource="GET /"):
            run(step, service=None)
        """
    ).report
    assert report["trace_id"] != report["run_id"]
    spans = agent.trace(report["trace_id"])
    assert tree(spans) == [
        ("request", "GET /", [("dotflow.workflow", "nightly", [("dotflow.task", "step", [("inner", "inner", [])])])])
    ]
    assert {span.service for span in spans} == {"web"}
    assert one(spans, "dotflow.workflow").meta["dotflow.run.id"] == report["run_id"]


def test_a_run_in_a_child_process_of_a_step(agent, program):
    outer, inner = program(
        """
        import subprocess, dotflow

        @action(name="child")
        def child():
            return "child"

        @action(name="parent")
        def parent():
            with tracer.trace("starts it"):
                environment = {**os.environ, **dotflow.carrier()}
                done = subprocess.run([sys.executable, "script.py", "child"], env=environment, capture_output=True)
            sys.stdout.write(done.stdout.decode())
            sys.stdout.flush()

        run(child, name="inner") if "child" in sys.argv else run(parent, mode="parallel", name="outer")
        """
    ).reports[::-1]
    assert (inner["trace_id"], inner["run_id"]) == (outer["run_id"], inner["run_id"])
    assert tree(agent.trace(outer["run_id"])) == [
        ("dotflow.workflow", "outer", [("dotflow.task", "parent", [("starts it", "starts it", [
            ("dotflow.workflow", "inner", [("dotflow.task", "child", [])])])])])
    ]  # fmt: skip


def test_a_resumed_run_is_linked_to_the_one_that_it_continues(agent, program):
    first, second = program(
        """
        from dotflow.providers import StorageFile

        @action(name="first")
        def first():
            return 1

        @action(name="second")
        def second():
            if not os.path.exists("mark"):
                open("mark", "w").close()
                raise ConnectionError("not yet")

        for resume in (False, True):
            run(first, second, config={"storage": StorageFile("kept")}, resume=resume)
        """
    ).reports
    before, after = agent.trace(first["run_id"]), agent.trace(second["run_id"])
    assert tree(after)[0][2] == [("dotflow.task", "first", []), ("dotflow.task", "second", [])]
    restored = one(after, "dotflow.task", "first")
    assert (restored.meta["dotflow.result"], restored.duration_ns, restored.error) == ("restored", 0, 0)
    assert after[0].meta["dotflow.run.trigger"] == "resume"
    assert first["run_id"] in after[0].meta["_dd.span_links"]
    assert f"{before[0].span_id:016x}" in after[0].meta["_dd.span_links"]


def test_an_interrupted_run(agent, program):
    report = program(
        """
        @action(name="interrupted")
        def interrupted():
            with tracer.trace("inner"):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)

        workflow = DotFlow(Config(tracer=TracerDatadog("etl")), name="nightly")
        workflow.task.add([interrupted, interrupted])
        try:
            workflow.start()
        except KeyboardInterrupt:
            tell(workflow.task.latest)
        """
    ).report
    spans = agent.trace(report["run_id"])
    assert tree(spans)[0][2] == [("dotflow.task", "interrupted", [("inner", "inner", [])])]
    assert [s.meta["dotflow.result"] for s in spans if s.name != "inner"] == ["cancellation", "cancellation"]
    assert spans[0].error == spans[1].error == 1
    check_times(spans)
    check_errors(spans)


def test_a_thousand_tasks(agent, program):
    report = program(
        """
        @action(name="quick")
        def quick():
            pass

        run(*[quick] * 1000)
        """
    ).report
    spans = agent.trace(report["run_id"])  # ddtrace sends them in parts
    assert len(spans) == len({span.span_id for span in spans}) == 1001
    assert report["dropped"] == {}
    check_times(spans)


def test_the_agents_checks_have_looked(agent, program):
    program(
        """
        @action(name="step")
        def step():
            pass

        run(step)
        """
    )
    checks = agent.checks()  # which none may fail is said where the agent is stopped
    for name in (
        "trace_count_header",
        "meta_tracer_version_header",
        "trace_content_length",
        "meta_events_is_valid_json",
    ):
        assert checks[name]["Passed_Checks"] > 0, name


def test_a_graph_shows_keys_parents_and_links(agent, program):
    report = program(
        """
        @action
        def files():
            return ["a", "b"]

        @action
        def convert(file):
            return file

        @action
        def load(convert, region):
            return convert, region

        with DotFlow(Config(tracer=TracerDatadog("etl")), name="graph") as workflow:
            workflow.task.add(files)
            workflow.task.add(convert, after=files, each=True, key=str.upper)
            workflow.task.add(files, name="region", key="eu", after=[])
            workflow.task.add(load, after=["convert", "region"])
            tell(workflow.start())
        """
    ).report
    spans = agent.trace(report["run_id"])
    tasks = {span.meta["dotflow.task.id"]: span for span in spans if span.name == "dotflow.task"}
    keys = {
        task_id: span.meta["dotflow.task.key"] for task_id, span in tasks.items() if "dotflow.task.key" in span.meta
    }
    assert keys == {"convert[A]": "A", "convert[B]": "B", "region[eu]": "eu"}
    parents = {task_id: span.meta.get("dotflow.task.parents") for task_id, span in tasks.items()}
    assert parents == {
        "files": None,
        "convert": "files",
        "convert[A]": None,
        "convert[B]": None,
        "region[eu]": None,
        "load": "convert,region[eu]",
    }
    assert all(tasks[item].parent_id == tasks["convert"].span_id for item in ("convert[A]", "convert[B]"))
    links = tasks["load"].meta["_dd.span_links"]
    assert all(f"{tasks[task_id].span_id:016x}" in links for task_id in ("convert", "region[eu]"))
