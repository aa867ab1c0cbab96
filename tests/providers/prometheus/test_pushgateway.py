"""Programs that end: what a real Pushgateway holds of them, and what they do without one."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily

from dotflow import Config, DotFlow, DotflowError, action, record
from dotflow.names import metrics as names
from dotflow_prometheus import MetricsPrometheus
from support import pushgateway
from support.ports import free_port

LIMIT = 60  # seconds after which a test that hangs fails
USER, PASSWORD = "etl", "s3cret/word@1"
# The same password, as `htpasswd -nbB` makes it.
WEB = 'basic_auth_users: {etl: "$2b$05$abcdefghijklmnopqrstuu039tsEcK8dJBr.wDJf4.S8wAawzB.Va"}'
LAST = (names.WORKFLOW_LAST_SUCCESS, names.WORKFLOW_LAST_COMPLETION, names.WORKFLOW_LAST_RUN_SUCCESS)


@pytest.fixture(scope="module")
def shared():
    """One gateway for many tests; each has a job of its own."""
    with pushgateway.running() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded():
    """A gateway that wants user and password."""
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with pushgateway.running(WEB, {"Authorization": f"Basic {token}"}) as gateway:
        yield gateway


def flow_of(metrics, name="nightly", failing=(), **config):
    """A workflow with two tasks; those in `failing` do."""

    @action
    def extract():
        record("rows_loaded", 1200)
        if "extract" in failing:
            raise ValueError("planned")

    @action(retry=2)
    def load():
        if "load" in failing:
            raise ValueError("planned")

    flow = DotFlow(Config(metrics=metrics, **config), name=name)
    flow.task.add(step=[extract, load])
    return flow


def lost(run):
    return run.dropped.get("metrics", 0)


@contextmanager
def answering(respond):
    """A server that answers every push by `respond(handler)`; yields its URL and the paths that it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            respond(self)

        do_PUT = do_POST

        def do_GET(self):
            paths.append(f"GET {self.path}")
            self.send_error(404)

        def log_message(self, *_): ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_): ...  # a client that has gone away

    paths = []
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join(LIMIT)


# --- what arrives


PROGRAM = """
import sys
from dotflow import Config, DotFlow, action
from dotflow.providers import MetricsPrometheus

@action
def work():
    if sys.argv[2] == "fails":
        raise ValueError("planned")

workflow = DotFlow(Config(metrics=MetricsPrometheus(pushgateway=sys.argv[1], pushgateway_job="script")), name="nightly")
workflow.task.add(step=work)
workflow.start()
"""


def test_a_script_that_succeeds_and_later_fails(shared, tmp_path):
    def script(outcome):
        (tmp_path / "script.py").write_text(PROGRAM)
        subprocess.run([sys.executable, tmp_path / "script.py", shared.url, outcome], check=True, timeout=60)
        return {metric: shared.value(metric.series[0], job="script", workflow="nightly") for metric in LAST}

    value = shared.value
    good = script("succeeds")
    assert 1_700_000_000 < good[names.WORKFLOW_LAST_SUCCESS] == good[names.WORKFLOW_LAST_COMPLETION]
    assert good[names.WORKFLOW_LAST_RUN_SUCCESS] == 1
    of_task = {"job": "script", "workflow": "nightly", "task": "work"}
    assert value(names.TASK_COMPLETED.series[0], **of_task) == 1
    assert value(names.TASK_DURATION.series[1], **of_task, status="completed") == 1
    bad = script("fails")
    # What this process does not know, and the gateway does, is still there.
    assert bad[names.WORKFLOW_LAST_SUCCESS] == good[names.WORKFLOW_LAST_SUCCESS]
    assert bad[names.WORKFLOW_LAST_COMPLETION] > good[names.WORKFLOW_LAST_COMPLETION]
    assert bad[names.WORKFLOW_LAST_RUN_SUCCESS] == 0
    assert value(names.TASK_FAILED.series[0], **of_task) == 1
    assert value(names.TASK_COMPLETED.series[0], **of_task) == 0
    assert value(names.TASK_ERRORS.series[0], **of_task, error_type="ValueError") == 1
    script("succeeds")
    # And what a process that knows it all does not have is of an earlier one, and gone.
    assert value(names.TASK_FAILED.series[0], **of_task) == 0
    assert shared.samples(names.TASK_ERRORS.series[0], **of_task) == []


def test_a_first_run_that_fails_says_nothing_of_a_success(make, shared):
    run = flow_of(make(pushgateway=shared.url, pushgateway_job="first"), failing=["extract"]).start()
    assert (run.failed, lost(run)) == (True, 0)
    assert shared.value(names.WORKFLOW_FAILED.series[0], job="first") == 1
    assert shared.samples(names.WORKFLOW_LAST_SUCCESS.series[0], job="first") == []
    assert shared.value(names.WORKFLOW_LAST_RUN_SUCCESS.series[0], job="first") == 0


def test_runs_of_one_process_add_up_and_the_last_success_stays(make, shared):
    metrics, failing = make(pushgateway=shared.url, pushgateway_job="many"), []
    flow = flow_of(metrics, failing=failing)
    flow.start()
    success = shared.value(names.WORKFLOW_LAST_SUCCESS.series[0], job="many")
    failing.append("load")
    flow.start()
    assert shared.value(names.WORKFLOW_LAST_SUCCESS.series[0], job="many") == success
    assert shared.value(names.WORKFLOW_STARTED.series[0], job="many") == 2
    assert shared.value(names.TASK_RETRIED.series[0], job="many", task="load") == 1
    assert shared.value(names.TASK_RECORDED.series[0], job="many", name="rows_loaded") == 1200


def test_two_workflows_have_a_group_each_and_share_what_belongs_to_none(make, shared):
    metrics = make(pushgateway=shared.url, pushgateway_job="two")
    for name in ("one", "two", "one"):
        assert lost(flow_of(metrics, name).start()) == 0
    groups = [group for group in shared.groups() if group["job"] == "two"]
    assert sorted(group["workflow"] for group in groups) == ["one", "two"]
    for name, count in (("one", 2), ("two", 1)):
        (sample,) = shared.samples(names.WORKFLOW_COMPLETED.series[0], job="two", workflow=name)
        assert sample.value == count
        assert {s.labels["task"] for s in shared.samples(names.TASK_STARTED.series[0], job="two", workflow=name)} == {
            "extract",
            "load",
        }
    # once, or a sum over the groups would count it twice
    for metric in (names.BUILD, names.BACKGROUND_QUEUED):
        assert [s.labels["workflow"] for s in shared.samples(metric.series[0], job="two")] == ["one"]


@pytest.mark.parametrize("name", ["a/b", "..", ".", "nightly etl", "a+b", "100%2F", "naïve ☃", 'a "b"'])
def test_any_name_is_a_group(make, shared, name):
    run = flow_of(make(pushgateway=shared.url, pushgateway_job=f"of {name}"), name).start()
    assert lost(run) == 0
    assert shared.value(names.WORKFLOW_COMPLETED.series[0], job=f"of {name}", workflow=name) == 1


def test_metrics_of_the_users_own_in_the_same_registry(make, shared):
    registry = CollectorRegistry()
    Gauge("rows", "Rows.", ["workflow"], registry=registry).labels("x").set(7)
    Gauge("empty", "None.", ["of"], registry=registry)
    flow_of(make(registry, pushgateway=shared.url, pushgateway_job="own")).start()
    assert shared.value("rows", job="own") == 7


def test_under_a_prefix_and_without_a_scheme(make):
    with pushgateway.running(flags=["--web.route-prefix=/push"]) as gateway:
        flow_of(make(pushgateway=f"127.0.0.1:{gateway.port}/push/")).start()
        assert "dotflow_workflow_completed_total" in gateway.get("/push/metrics")


def test_exemplars_do_not_disturb(make, shared):
    from dotflow.model.task import SpanContext, Task

    @action
    def step(): ...

    metrics = make(pushgateway=shared.url, pushgateway_job="exemplars")
    task = Task(step, workflow_name="nightly")
    task.span, task.duration = SpanContext("1" * 32, "2" * 16, True), 1.0
    metrics.task_failed(task)
    metrics.workflow_failed("nightly", 1.0)
    metrics.flush(5.0)
    assert metrics.take_dropped() == []
    assert shared.value(names.TASK_FAILED.series[0], job="exemplars") == 1


def test_nothing_is_pushed_before_a_run_has_ended(make):
    with answering(lambda handler: handler.send_response(200)) as (url, paths):
        metrics = make(pushgateway=url)
        flow = flow_of(metrics)
        metrics.flush(5.0)
        metrics.workflow_started("x", name="x")
        metrics.flush(5.0)
        flow.close()
        assert paths == []


# --- credentials


@pytest.mark.parametrize("how", ["url", "auth"])
def test_with_the_right_credentials(make, guarded, how):
    if how == "auth":
        metrics = make(pushgateway=guarded.url, pushgateway_auth=(USER, PASSWORD), pushgateway_job=how)
    else:
        url = guarded.url.replace("//", f"//{USER}:{PASSWORD.replace('/', '%2F').replace('@', '%40')}@")
        metrics = make(pushgateway=url, pushgateway_job=how)
    assert lost(flow_of(metrics).start()) == 0
    assert guarded.value(names.WORKFLOW_COMPLETED.series[0], job=how) == 1
    assert repr(metrics) == f"MetricsPrometheus({guarded.url})"


@pytest.mark.contained
@pytest.mark.parametrize("auth", [None, (USER, "wr0ng"), ("nobody", PASSWORD)])
def test_with_wrong_credentials_the_run_is_well_and_says_so_once(make, guarded, contained, auth):
    metrics = make(pushgateway=guarded.url, pushgateway_auth=auth, pushgateway_job="wrong")
    flow = flow_of(metrics)
    runs = [flow.start(), flow.start()]
    assert [run.failed for run in runs] == [False, False]
    assert all(lost(run) > 20 for run in runs)
    (line,) = contained
    assert guarded.url in line
    assert "HTTP 401 Unauthorized: check pushgateway_auth" in line
    assert not any(
        word in line
        for word in ("wr0ng", PASSWORD, base64.b64encode(b":".join(map(str.encode, auth or ("x", "y")))).decode())
    )
    assert guarded.samples(names.WORKFLOW_STARTED.series[0], job="wrong") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"pushgateway": ""},
        {"pushgateway": 9091},
        {"pushgateway": "ftp://etl:s3cret@host"},
        {"pushgateway": "http://etl:s3cret@"},
        {"pushgateway": "http://etl:s3cret@host:port"},
        {"pushgateway": "http://etl:s3cret@[host"},
        {"pushgateway": "http://host?token=s3cret"},
        {"pushgateway": "http://host/s3cret#x"},
        {"pushgateway": "http://ho st/s3cret"},
        {"pushgateway": "http://host/s3cret\n"},
        {"pushgateway": "http://host", "pushgateway_auth": "etl:s3cret"},
        {"pushgateway": "http://host", "pushgateway_auth": ("etl", "s3cret", "x")},
        {"pushgateway": "http://host", "pushgateway_auth": ("e:tl", "s3cret")},
        {"pushgateway": "http://host", "pushgateway_auth": ("", "s3cret")},
        {"pushgateway": "http://host", "pushgateway_auth": ("etl", b"s3cret")},
        {"pushgateway": "http://etl:s3cret@host", "pushgateway_auth": ("etl", "s3cret")},
        {"pushgateway_auth": ("etl", "s3cret")},
        {"pushgateway": "http://host", "pushgateway_job": " "},
        {"pushgateway": "http://host", "pushgateway_job": None},
        {"pushgateway": "http://host", "pushgateway_job": "\ud800"},
        {"pushgateway": "http://host", "pushgateway_timeout": 0},
        {"pushgateway": "http://host", "pushgateway_timeout": "2"},
    ],
    ids=repr,
)
def test_an_option_that_makes_no_sense_is_told_by_name_and_without_secrets(wrong):
    name = list(wrong)[-1]
    with pytest.raises(DotflowError, match=f"^{name}=") as caught:
        MetricsPrometheus(**wrong)
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown
    assert isinstance(caught.value, ValueError)


# --- a gateway that is not there, or no gateway


@pytest.mark.contained
def test_a_gateway_that_is_down(make, scrape, contained):
    metrics = make(port=0, pushgateway=f"http://127.0.0.1:{free_port()}")
    flow = flow_of(metrics)
    runs = [flow.start(), flow.start()]
    assert [run.status.value for run in runs] == ["Completed", "Completed"]
    assert all(lost(run) > 20 for run in runs)
    assert scrape(metrics).value(names.TELEMETRY_DROPPED, signal="metrics") == sum(map(lost, runs))
    (line,) = contained
    assert f"{runs[0].dropped['metrics']} lost" in line
    assert "Connection refused" in line


@pytest.mark.contained
def test_a_gateway_that_is_down_for_one_run_has_all_of_it_after_the_next(make):
    port = free_port()
    flow = flow_of(make(pushgateway=f"http://127.0.0.1:{port}"))
    assert lost(flow.start())
    with pushgateway.running(port=port) as gateway:
        assert lost(flow.start()) == 0
        assert gateway.value(names.WORKFLOW_COMPLETED.series[0]) == 2
        assert gateway.value(names.TELEMETRY_DROPPED.series[0], signal="metrics") > 20


@pytest.mark.contained
@pytest.mark.parametrize("times", [{"pushgateway_timeout": 0.2}, {"drain_timeout": 1.0}], ids=repr)
def test_a_gateway_that_takes_the_push_and_never_answers(make, contained, times):
    """The server is still waiting when the run has ended."""
    drain = times.pop("drain_timeout", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        metrics = make(pushgateway=f"http://127.0.0.1:{silent.getsockname()[1]}", **times)
        run = flow_of(metrics, drain_timeout=drain).start()
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1000).startswith(b"PUT /metrics/job/dotflow/workflow/nightly HTTP/1.1")
    assert not run.failed
    assert run.provider_errors == {}
    assert lost(run) > 20
    (line,) = contained
    assert "no end in time" in line


@pytest.mark.contained
def test_a_gateway_that_answers_a_byte_at_a_time(make):
    """No single wait is long, and the answer never ends."""
    enough = threading.Event()

    def drip(handler):
        while not enough.wait(0.02):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    with answering(drip) as (url, paths):
        run = flow_of(make(pushgateway=url, pushgateway_timeout=0.3)).start()
        assert (len(paths), enough.is_set()) == (1, False)
        enough.set()
    assert lost(run) > 20
    assert not run.failed


@pytest.mark.contained
@pytest.mark.parametrize(("status", "said"), [(302, "HTTP 302 Found"), (307, "HTTP 307"), (503, "HTTP 503 Service")])
def test_an_answer_that_is_none_of_a_gateway(make, contained, status, said):
    def respond(handler):
        handler.send_response(status)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with answering(respond) as (url, paths):
        run = flow_of(make(pushgateway=url)).start()
        assert paths == ["/metrics/job/dotflow/workflow/nightly"]  # a redirect is not followed, and nothing tried again
    assert lost(run) > 20
    assert said in contained[0]


@pytest.mark.contained
def test_an_answer_that_is_not_http(make, contained):
    with answering(lambda handler: handler.wfile.write(b"SSH-2.0\r\n")) as (url, _):
        assert lost(flow_of(make(pushgateway=url)).start()) > 20
    assert "BadStatusLine" in contained[0]


@pytest.mark.contained
def test_what_the_gateway_says_of_metrics_that_it_refuses(make, shared, contained):
    class Dated:
        def collect(self):
            family = GaugeMetricFamily("dated", "With a time, which a Pushgateway refuses.")
            family.add_metric([], 1, timestamp=1)
            return [family]

    registry = CollectorRegistry()
    registry.register(Dated())
    run = flow_of(make(registry, pushgateway=shared.url, pushgateway_job="dated")).start()
    assert lost(run) > 20
    assert "HTTP 400 Bad Request" in contained[0]
    assert "timestamp" in contained[0]


@pytest.mark.contained
def test_a_refusal_that_repeats_the_credentials_is_not_shown(make, contained):
    def respond(handler):
        body = base64.b64decode(handler.headers["Authorization"].split()[1])
        handler.send_response(400)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with answering(respond) as (url, _):
        flow_of(make(pushgateway=url, pushgateway_auth=(USER, PASSWORD))).start()
    assert "the reason is not shown" in contained[0]
    assert PASSWORD not in contained[0]


@pytest.mark.contained
def test_a_collector_of_the_users_that_fails(make, shared, contained):
    class Broken:
        def collect(self):
            raise RuntimeError("theirs")

    registry = CollectorRegistry()
    registry.register(Broken())
    run = flow_of(make(registry, pushgateway=shared.url)).start()
    assert not run.failed
    assert lost(run) == 1
    assert "RuntimeError" in contained[0]


def test_a_run_that_ends_while_another_is_pushed_is_not_forgotten(make):
    """The flush of the second finds the first on its way, with the second's series or without: it may not just return."""
    asked, hold = threading.Event(), threading.Event()

    def respond(handler):
        asked.set()
        assert hold.wait(LIMIT)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with answering(respond) as (url, paths):
        metrics = make(pushgateway=url, pushgateway_timeout=LIMIT)
        for name in ("one", "two"):
            metrics.workflow_started(name, name=name)
            metrics.workflow_completed(name, 1.0)
        first = threading.Thread(target=metrics.flush, args=(LIMIT,))
        first.start()
        assert asked.wait(LIMIT)
        metrics.flush(0.1)
        assert "an earlier delivery has not come to its end" in metrics.take_dropped()[0].why
        hold.set()
        first.join(LIMIT)
        assert sorted(paths) == ["/metrics/job/dotflow/workflow/one", "/metrics/job/dotflow/workflow/two"]
        assert metrics.take_dropped() == []
