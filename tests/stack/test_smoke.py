"""The parts of stack/smoke.py that need no Grafana, against the stack as the tests start it."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
from dataclasses import fields

import pytest

from support import smoke as smoke_script
from support.compose import PROFILES, ROOT, services
from support.http_receiver import Answer, HttpReceiver

pytestmark = pytest.mark.tree


@pytest.fixture(scope="module")
def smoke():
    return smoke_script.module()


@pytest.fixture(autouse=True)
def impatient(smoke, monkeypatch):
    monkeypatch.setattr(smoke, "LIMIT", 0.1)


def test_a_check_that_does_not_come_true_says_what_and_why(smoke):
    def refused():
        raise urllib.error.URLError("nobody there")

    with pytest.raises(smoke.Failed, match=r"FAILED  Grafana answers \(URLError: .*nobody there"):
        smoke.check("Grafana answers", refused)
    with pytest.raises(smoke.Failed, match="FAILED  a value"):
        smoke.check("a value", list)


@pytest.mark.parametrize(("status", "refuses"), [(401, True), (403, True), (200, False), (404, False)])
def test_a_grafana_that_lets_anybody_in_is_noticed(smoke, status, refuses):
    with HttpReceiver(usual=Answer(status, "[]")) as grafana:
        assert smoke.Stack("x").refuses_strangers(f"http://{grafana.address}/api/search") is refuses


def test_an_answer_without_values_is_no_value(smoke):
    empty = '{"results": {"A": {"frames": [{"data": {"values": [[], []]}}]}}}'
    full = '{"results": {"A": {"frames": [{"data": {"values": [[1], [0]]}}]}}}'
    for body, has in ((empty, False), (full, True), ('{"results": {"A": {"frames": []}}}', False)):
        with HttpReceiver(usual=Answer(200, body)) as grafana:
            stack = smoke.Stack("secret", smoke.Addresses(grafana=f"http://{grafana.address}"))
            assert smoke._has_values(stack, {"queries": []}) is has
            assert grafana.requests[0].headers["Authorization"].startswith("Basic ")


def test_without_docker_it_says_what_is_needed():
    done = subprocess.run(
        [sys.executable, ROOT / "stack/smoke.py"], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED  Docker with Compose is needed: ")
    assert done.stderr == ""


def test_what_it_removes_is_its_own_stack_and_never_that_of_somebody_else(tmp_path):
    """`down --volumes` is of the project that it has started; a plain `docker compose up` makes one called dotflow."""
    said = tmp_path / "said"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {said}\ncase "$*" in *" up "*) exit 1;; esac\n')
    docker.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / "stack/smoke.py"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    calls = said.read_text().splitlines()
    assert calls[-1].endswith("down --volumes")
    assert {call.split("--project-directory")[0] for call in calls} == {"compose --project-name dotflow-smoke "}


def test_the_number_of_alerts_is_right(smoke):
    assert (ROOT / "stack/prometheus/rules/dotflow.yml").read_text().count("- alert: ") == smoke.ALERTS


def test_the_services_are_where_compose_puts_them(smoke):
    ports = {
        name: {int(port["published"]) for port in service.get("ports", [])}
        for name, service in services(*PROFILES).items()
    }
    for field in fields(smoke.Addresses):
        assert int(field.default.rsplit(":", 1)[1]) in ports[field.name], field.name
    assert set(smoke.PROFILES) == set(PROFILES)
