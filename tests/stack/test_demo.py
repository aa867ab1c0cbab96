"""The demonstration: it ends in order, and it can do what its table says."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

import pytest

from dotflow.names import metrics as names
from support.compose import ROOT
from support.ports import free_ports
from support.service import Service, wait_for

pytestmark = pytest.mark.tree

WORKFLOWS = {"orders", "payments", "inventory", "pricing", "ingest", "backup", "audit"}


def command(*more):
    metrics, canary = free_ports(2)
    words = [sys.executable, ROOT / "examples/stack_demo.py", "--port", metrics, "--canary-port", canary, *more]
    return [str(word) for word in words], f"http://127.0.0.1:{metrics}/metrics"


def exposed(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number):
    words, ready = command()
    with Service(words, ready) as demo:
        started = f'{names.WORKFLOW_STARTED.series[0]}{{workflow="orders"}} 1.0'
        wait_for(lambda: started in exposed(ready), "its first run", lambda: demo.log)
        assert demo.stop(number) == 0, demo.log
        assert "Traceback" not in [line for line in demo.log.splitlines() if not line.startswith("{")]


def test_it_ends_by_itself_if_it_is_told_to():
    words, _ = command("--seconds", "0.5")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("metrics http://127.0.0.1:")


def test_every_workflow_of_its_table_is_known_from_the_start():
    words, ready = command()
    with Service(words, ready):
        text = exposed(ready)
    (series,) = names.WORKFLOW_STARTED.series
    found = {line.split('workflow="')[1].split('"')[0] for line in text.splitlines() if line.startswith(series)}
    table = {
        line.split("|")[1].strip()
        for line in (ROOT / "examples/stack_demo.py").read_text().splitlines()
        if line.startswith("| ") and "habit" not in line
    }
    assert found == table == WORKFLOWS


def test_it_names_every_alert_that_it_sets_off():
    text = (ROOT / "examples/stack_demo.py").read_text().split('"""')[1]
    alerts = [
        line.split()[2]
        for line in (ROOT / "stack/prometheus/rules/dotflow.yml").read_text().splitlines()
        if "- alert:" in line
    ]
    assert [name for name in alerts if name not in text] == []
