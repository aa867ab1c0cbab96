"""An agent that is not there, says no, or does not answer: nothing changes but a counter and one line."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.ddtrace_programs import start_program

_STEPS = """
        @action(name="works", retry=2)
        def works():
            with tracer.trace("inner"):
                pass
"""
_SPANS = 5  # of a run of two of them: dotflow's own, which are what is counted


@pytest.fixture
def refusing():
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"


@pytest.fixture
def silent():
    """Takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def failing(tmp_path):
    """Answers 500, until there is a file `recovered` beside the program."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200 if (tmp_path / "recovered").exists() else 500)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET = do_PUT

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["refusing", "failing"])
def test_an_agent_that_takes_nothing(kind, request, program):
    ended = program(
        f"""
        {_STEPS}
        with DotFlow(Config(tracer=TracerDatadog()), name="nightly") as workflow:
            workflow.task.add([works, works])
            for _ in range(2):
                tell(workflow.start())
        """,
        url=request.getfixturevalue(kind),
    )
    for report in ended.reports:
        assert report["tasks"] == {"works": ["Completed", "success"], "works-2": ["Completed", "success"]}
        assert report["dropped"] == {"spans": _SPANS}
        assert report["errors"] == []
    # A try of ddtrace's own thread is told of in its log, by itself.
    (line,) = (line for line in ended.err.splitlines() if not line.startswith("failed to send, dropping"))
    assert line.startswith(f"spans: {_SPANS} lost in run {ended.reports[0]['run_id']}, ")


def test_spans_of_steps_in_workers_are_counted_too(refusing, program):
    report = program(
        f"""
        {_STEPS}
        run(works, works, mode="parallel", max_workers=1)
        """,
        url=refusing,
    ).report
    assert report["tasks"] == {"works": ["Completed", "success"], "works-2": ["Completed", "success"]}
    assert report["dropped"]["spans"] > _SPANS
    assert report["errors"] == []


def test_an_agent_that_does_not_answer_is_not_waited_for(silent, tmp_path):
    text = f"""
        {_STEPS}
        run(works, works, tracer_options={{"shutdown_timeout": 0.3}})
        run(works, works, tracer_options={{"shutdown_timeout": 0.3}})
        """
    with start_program(text, silent, tmp_path) as process:
        reports = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert process.poll() is None  # the end of the program is ddtrace's, which waits for 21 s
        process.kill()
    for report in reports:
        assert report["tasks"] == {"works": ["Completed", "success"], "works-2": ["Completed", "success"]}
        assert report["dropped"]["spans"] >= _SPANS
        assert report["errors"] == []


def test_runs_side_by_side_are_counted_once(silent, tmp_path):
    text = f"""
        {_STEPS}
        tracing = TracerDatadog(shutdown_timeout=0.3)
        together, one_line = threading.Barrier(4), threading.Lock()

        @action(name="meets")
        def meets():
            together.wait(60)

        def one(number):
            with DotFlow(Config(tracer=tracing), name=f"nightly-{{number}}") as workflow:
                workflow.task.add([works, works, meets])
                found = workflow.start()
            with one_line:
                tell(found)

        for number in range(4):
            threading.Thread(target=one, args=[number]).start()
        """
    with start_program(text, silent, tmp_path) as process:
        reports = [json.loads(process.stdout.readline()) for _ in range(4)]
        process.kill()
    assert [report["errors"] for report in reports] == [[]] * 4
    assert sum(report["dropped"].get("spans", 0) for report in reports) == 4 * (_SPANS + 1)


_A_LONG_RUN = """
        import logging
        has_failed = threading.Event()

        class Watch(logging.Handler):
            def emit(self, record):
                has_failed.set()

        logging.getLogger("ddtrace.internal.writer.writer").addHandler(Watch())

        @action(name="quick")
        def quick():
            pass

        @action(name="waits")
        def waits():
            assert has_failed.wait(60)
"""


@pytest.mark.long
def test_parts_of_a_trace_that_ddtraces_own_thread_could_not_send(refusing, program):
    ended = program(f"{_A_LONG_RUN}\n        run(*[quick] * 400, waits)", url=refusing)
    assert ended.report["dropped"]["spans"] == 402
    (line,) = (line for line in ended.err.splitlines() if "lost in run" in line)
    assert line.startswith("spans: 402 lost")


def test_an_agent_that_comes_back_within_a_run(failing, program):
    report = program(
        f"""
        {_A_LONG_RUN}
        @action(name="recovers")
        def recovers():
            open("recovered", "w").close()

        run(*[quick] * 400, waits, recovers)
        """,
        url=failing,
    ).report
    assert report["dropped"] == {"spans": 1}  # a part of the trace; how many spans it had only ddtrace knows
