"""Over TLS, to clients with certificates, and from the servers of applications that serve already."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser

from dotflow import Config, DotFlow, DotflowError, action
from dotflow.model.task import SpanContext, Task
from dotflow.names import metrics as names
from dotflow_prometheus import MetricsPrometheus, PortUnavailable
from support import missing

if TYPE_CHECKING:
    from pathlib import Path

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class Certificate(NamedTuple):
    """A certificate that is its own authority."""

    cert: Path
    key: Path


@pytest.fixture(scope="session")
def openssl():
    program = shutil.which("openssl")
    if program is None:
        missing.skip("openssl", "openssl", "TLS of the metrics endpoint")
    return lambda *arguments: subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(openssl, tmp_path_factory):
    """Certificates by name: of the server, of a client, of a stranger."""
    folder, made = tmp_path_factory.mktemp("certificates"), {}
    for name in ("server", "client", "stranger"):
        made[name] = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
        openssl(
            *("req", "-x509", *CURVE, "-nodes", "-keyout", made[name].key, "-out", made[name].cert, "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
        )
    return made


@pytest.fixture
def get(certificates):
    """Fetches a URL; trusts the server's certificate, and shows the one named."""

    def fetch(url, show=None):
        context = ssl.create_default_context(cafile=certificates["server"].cert)
        if show is not None:
            context.load_cert_chain(*certificates[show])
        with urllib.request.urlopen(url, timeout=20, context=context) as answer:
            return answer.read().decode()

    return fetch


@pytest.fixture
def over_tls(make, certificates):
    """Makes providers that serve over TLS."""
    server = certificates["server"]
    return lambda **more: make(port=0, certfile=server.cert, keyfile=str(server.key), **more)


# --- TLS


def test_it_serves_over_tls(over_tls, get):
    metrics = over_tls()
    assert metrics.url == f"https://127.0.0.1:{metrics.port}/metrics"
    assert names.BUILD.series[0] in get(metrics.url)
    with socket.create_connection(("127.0.0.1", metrics.port), timeout=20) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b"dotflow" not in plain.recv(1000)


def test_a_client_that_connects_and_says_nothing_keeps_nobody_out(over_tls, get):
    metrics = over_tls()
    port = metrics.port
    with socket.create_connection(("127.0.0.1", port)):
        assert get(metrics.url)
        metrics.close(5.0)
    with socket.create_server(("127.0.0.1", port)):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dotflow-prometheus")]


def test_clients_that_are_refused_are_not_told_of_on_stderr(over_tls, certificates, get, capfd):
    metrics = over_tls(client_cafile=certificates["client"].cert, client_auth_required=True)
    for show in (None, "stranger"):
        with pytest.raises((urllib.error.URLError, OSError)):
            get(metrics.url, show)
    with socket.create_connection(("127.0.0.1", metrics.port)) as gone:
        gone.sendall(b"nonsense")
    assert get(metrics.url, "client")
    assert capfd.readouterr() == ("", "")


def test_only_clients_with_a_certificate_are_answered(over_tls, certificates, get):
    metrics = over_tls(client_cafile=str(certificates["client"].cert), client_auth_required=True)
    assert names.BUILD.series[0] in get(metrics.url, "client")
    with pytest.raises((urllib.error.URLError, OSError)):
        get(metrics.url)
    with pytest.raises((urllib.error.URLError, OSError)):
        get(metrics.url, "stranger")


def test_those_who_may_sign_in_a_directory(over_tls, certificates, openssl, get, tmp_path):
    shutil.copy(certificates["client"].cert, tmp_path / "client.crt")
    openssl("rehash", tmp_path)
    metrics = over_tls(client_capath=tmp_path, client_auth_required=True)
    assert get(metrics.url, "client")
    with pytest.raises((urllib.error.URLError, OSError)):
        get(metrics.url, "stranger")


def test_a_key_with_a_passphrase_is_told_and_nobody_is_asked_for_it(certificates, openssl, tmp_path):
    locked = tmp_path / "locked.key"
    openssl("ec", "-in", certificates["server"].key, "-aes256", "-passout", "pass:secret", "-out", locked)
    with pytest.raises(DotflowError, match=r"locked\.key.*passphrase"):
        MetricsPrometheus(port=0, certfile=certificates["server"].cert, keyfile=locked)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"certfile": "server"}, "^certfile=, keyfile=: TLS needs both"),
        ({"keyfile": "server"}, "^certfile=, keyfile=: TLS needs both"),
        ({"client_auth_required": True}, "^certfile=, keyfile=: TLS needs both"),
        ({"certfile": "server", "keyfile": "client"}, "^certfile=.*server.crt.*keyfile=.*client.key.*cannot be used"),
        ({"certfile": "nowhere", "keyfile": "server"}, "^certfile='nowhere'.*No such file"),
        ({"certfile": "", "keyfile": ""}, "^certfile='', keyfile='': cannot be used"),
        ({"certfile": ""}, "^certfile=, keyfile=: TLS needs both"),
        ({"client_cafile": ""}, "^certfile=, keyfile=: TLS needs both"),
        ({"certfile": 1.5, "keyfile": "server"}, r"^certfile=1\.5.*cannot be used"),
        ({"certfile": "server", "keyfile": "server", "client_auth_required": True}, "^client_auth_required=True: name"),
        ({"certfile": "server", "keyfile": "server", "client_cafile": "client"}, "only with client_auth_required=True"),
        ({"certfile": "server", "keyfile": "server", "client_cafile": "no", "client_auth_required": True}, "'no'"),
        ({"certfile": "server", "keyfile": "server", "client_capath": "no", "client_auth_required": True}, "'no'"),
        ({"certfile": "server", "keyfile": "server", "port": None}, "nothing is served.*port="),
    ],
    ids=repr,
)
def test_options_that_would_serve_half_safe_are_errors(certificates, options, said):
    given = {}
    for name, value in options.items():
        known = certificates.get(value) if isinstance(value, str) else None
        given[name] = (known.key if name == "keyfile" else known.cert) if known else value
    with pytest.raises(DotflowError, match=said) as caught:
        MetricsPrometheus(**{"port": 0, **given})
    assert isinstance(caught.value, ValueError)


def test_a_taken_port_is_told_with_tls_too(over_tls, make, certificates):
    taken = make(port=0).port
    with pytest.raises(PortUnavailable, match=str(taken)):
        MetricsPrometheus(port=taken, certfile=certificates["server"].cert, keyfile=certificates["server"].key)


# --- from somebody else's server


@action
def step(): ...


@contextmanager
def serving(app):
    """An application behind a real server, at the URL that is yielded."""

    class Silent(WSGIRequestHandler):
        def log_message(self, *_): ...

    with make_server("127.0.0.1", 0, app, handler_class=Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(20)


def failed_task():
    task = Task(step, workflow_name="nightly")
    task.span, task.duration = SpanContext("1" * 32, "2" * 16, True), 1.0
    return task


def exemplars(text):
    families = openmetrics_parser.text_string_to_metric_families(text)
    return [s.exemplar.labels for family in families for s in family.samples if s.exemplar]


def test_from_a_wsgi_server_beside_other_pages(make):
    metrics = make()
    metrics.task_failed(failed_task())
    of_metrics = validator(metrics.wsgi_app())

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/metrics":
            return of_metrics(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    with serving(application) as url:
        request = urllib.request.Request(f"{url}/metrics", headers={"Accept": OPENMETRICS})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert {"trace_id": "1" * 32, "span_id": "2" * 16} in exemplars(answer.read().decode())
        with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert b"# {" not in answer.read()
        with urllib.request.urlopen(f"{url}/other", timeout=20) as answer:
            assert answer.read() == b"hello"


def asgi_get(app, accept=None):
    """One request as an ASGI server makes it: https://asgi.readthedocs.io/en/latest/specs/www.html"""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/metrics",
        "query_string": b"",
        "headers": [(b"accept", accept.encode())] if accept else [],
    }
    asyncio.run(app(scope, receive, send))
    start, *bodies = sent
    assert start["status"] == 200
    return dict(start["headers"])[b"Content-Type"].decode(), b"".join(each["body"] for each in bodies).decode()


def test_from_an_asgi_server(make):
    metrics = make()
    metrics.task_failed(failed_task())
    content_type, text = asgi_get(metrics.asgi_app(), OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert {"trace_id": "1" * 32, "span_id": "2" * 16} in exemplars(text)
    content_type, text = asgi_get(metrics.asgi_app())
    assert content_type.startswith("text/plain")
    assert "# {" not in text


# --- several in one process


def test_two_providers_in_one_process_know_nothing_of_each_other(make, scrape):
    one, two = make(port=0), make(port=0)
    for name, metrics in (("one", one), ("two", two)):
        flow = DotFlow(Config(metrics=metrics), name=name)
        flow.task.add(step=step)
        flow.start()
    for name, metrics in (("one", one), ("two", two)):
        seen = scrape(metrics)
        assert [s.labels["workflow"] for s in seen.samples(names.WORKFLOW_COMPLETED.series[0])] == [name]
    one.close(5.0)
    assert scrape(two).value(names.WORKFLOW_COMPLETED, workflow="two") == 1


def test_scrapes_of_two_workflows_that_run_at_once_add_up(make, scrape):
    metrics, hold = make(port=0), threading.Event()

    @action
    def work():
        assert hold.wait(20)

    flows = [DotFlow(Config(metrics=metrics), name=name) for name in ("one", "two")]
    runs = [flow.task.add(step=work) and flow.start(mode="background") for flow in flows]
    active = [scrape(metrics).value(names.WORKFLOW_ACTIVE, workflow=flow.name) for flow in flows]
    hold.set()
    for run in runs:
        run.wait(20)
    seen = scrape(metrics)
    assert [seen.value(names.WORKFLOW_COMPLETED, workflow=flow.name) for flow in flows] == [1, 1]
    assert active == [1, 1]
