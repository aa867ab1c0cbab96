"""A program under `opentelemetry-instrument`: its HTTP client, dotflow and the server it calls make one trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.otlp import OtlpEndpoint

pytest.importorskip("opentelemetry.instrumentation.requests", reason="SKIPPED: install the development dependencies")

PROGRAM = """
import sys, threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import requests
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

from dotflow import Config, DotFlow, action
from dotflow.providers import TracerOpenTelemetry


class Quiet(WSGIRequestHandler):
    def log_message(self, *_): ...


def answer(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


server = make_server("127.0.0.1", 0, OpenTelemetryMiddleware(answer), handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()


@action(retry=2)
def fetch(initial_context):
    return requests.get(f"http://127.0.0.1:{initial_context.storage}/rows", timeout=30).text


with DotFlow(Config(tracer=TracerOpenTelemetry()), name="auto") as workflow:
    for _ in range(2):
        workflow.task.add(fetch, initial_context=server.server_port)
    run = workflow.start(**eval(sys.argv[1])).raise_for_status()
    assert workflow.result_storage() == ["hello", "hello"]
print(run.trace_id)
server.shutdown()
"""

EXECUTORS = [{}, {"executor": "thread"}, {"mode": "parallel", "max_workers": 2}]


@pytest.mark.parametrize("how", EXECUTORS, ids=["inline", "thread", "process"])
def test_one_trace_from_the_run_to_the_called_server(tmp_path, how):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    instrument = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    assert instrument is not None
    with OtlpEndpoint() as endpoint:
        done = subprocess.run(
            [instrument, sys.executable, program, repr(how)],
            env={
                **os.environ,
                "OTEL_SERVICE_NAME": "instrumented",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        spans = {span.span_id: span for span in endpoint.spans}
        assert {span.trace_id for span in spans.values()} == {done.stdout.split()[-1]}
        servers = [span for span in spans.values() if "wsgi" in span.scope]
        assert len(servers) == 2
        for server in servers:
            client = spans[server.parent_id]
            attempt = spans[client.parent_id]
            task = spans[attempt.parent_id]
            root = spans[task.parent_id]
            assert "requests" in client.scope
            assert [span.name for span in (attempt, task, root)] == ["attempt", "task fetch", "workflow auto"]
            assert root.parent_id == ""
            assert {span.resource["service.name"] for span in (server, client, root)} == {"instrumented"}
        assert len(spans) == 9
