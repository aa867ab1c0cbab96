"""A webhook over TLS: its certificate is checked, through a proxy as well."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from dotflow import Task, action
from dotflow_slack import NotifySlack, SlackError
from dotflow_slack.http import _tls
from support import missing
from support.http_receiver import LIMIT, receiver

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason=missing.reason("openssl", "openssl", "TLS to Slack")
)


@action
def good():
    return 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 and slack.invalid that nobody but itself has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=IP:127.0.0.1,DNS:slack.invalid"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    files = ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1", "-addext", names]
    subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls(certificate, monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    _tls.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    yield context
    _tls.cache_clear()


def test_a_certificate_that_is_trusted(tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with receiver(tls=tls) as listening:
        NotifySlack(f"https://{listening.address}/services/x").hook_status_task(Task(good))
        assert listening.requests[0].path == "/services/x"


def test_a_certificate_that_nobody_knows(tls):
    with receiver(tls=tls) as listening:
        with pytest.raises(SlackError, match="its certificate is not to be trusted"):
            NotifySlack(f"https://{listening.address}/services/x").hook_status_task(Task(good))
        assert listening.requests == []


def test_a_receiver_that_speaks_no_tls(tls):
    with receiver() as listening, pytest.raises(SlackError, match=r"cannot be reached|broke the connection off"):
        NotifySlack(f"https://{listening.address}/services/x").hook_status_task(Task(good))


def test_through_a_proxy_only_slack_sees_the_path(tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with receiver(tls=tls) as slack, socket.create_server(("127.0.0.1", 0)) as listening:
        asked = []
        proxy = threading.Thread(target=tunnel, args=(listening, slack.port, asked))
        proxy.start()
        monkeypatch.setenv("https_proxy", f"http://me:pw@127.0.0.1:{listening.getsockname()[1]}")
        NotifySlack("https://slack.invalid/services/x").hook_status_task(Task(good))
        proxy.join(LIMIT)
        assert slack.requests[0].path == "/services/x"
    head = b"".join(asked)
    assert head.startswith(b"CONNECT slack.invalid:443 ")
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in head
    assert b"/services" not in head


def tunnel(listening, port, asked):
    """A proxy for one CONNECT, which leads to a port of this machine; notes what it was asked."""
    client, _ = listening.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        while b"\r\n\r\n" not in b"".join(asked):
            asked.append(client.recv(4096))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=pump, args=(server, client))
        back.start()
        pump(client, server)
        back.join(LIMIT)


def pump(source, target):
    try:
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        """One side has gone away: the other sees it."""
