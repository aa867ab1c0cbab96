"""The table of `make bench`: what it says of a candidate that ran, and of one that did not."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest

from support.benchmark_scripts import script

pytestmark = pytest.mark.tree


@pytest.fixture
def peers():
    return script("peers")


@pytest.fixture
def environments():
    return script("environments")


def test_every_line_has_a_program_and_an_environment(peers, environments):
    for line in peers.LINES:
        assert (environments.CANDIDATES / line.program[0]).is_file()
        assert line.place in {**peers.PEERS, **peers.OUR_EXTRAS}
    assert {line.place for line in peers.LINES} == {*peers.PEERS, *peers.OUR_EXTRAS}
    assert all("==" in requirement for requirement in peers.PEERS.values())


def test_a_figure_is_the_median_of_the_rounds(peers, environments, tmp_path):
    line = next(line for line in peers.LINES if line.name == "Hamilton")
    place = environments.Environment(tmp_path, "sf-hamilton", "1.90.0", 104.26)
    seen = [{"task_us": took, "import_ms": 100.0} for took in (9.0, 8.0, 70.0)]
    found = peers.row(line, place, seen, {})
    assert found["task_us"] == 9.0
    assert found["installed_mb"] == 104.3
    assert found["version"] == "1.90.0"


def test_what_cannot_be_installed_keeps_its_line_and_says_why(peers, environments, monkeypatch):
    def refuse(name, requirement):
        raise environments.Failed(f"no matching distribution for {requirement}")

    monkeypatch.setattr(peers, "environment", refuse)
    lines = [line for line in peers.LINES if line.name in ("Hamilton", "DBOS")]
    found = peers.benchmark(lines, rounds=1)
    assert [row["name"] for row in found["rows"]] == ["Hamilton", "DBOS"]
    text = peers.table(found)
    assert "NOT MEASURED: not installed: no matching distribution for sf-hamilton==" in text
    assert "NOT MEASURED: not installed: no matching distribution for dbos==" in text


def test_a_program_that_fails_spoils_its_own_line_only(peers, environments, monkeypatch, tmp_path):
    class Place(environments.Environment):
        def run(self, *command):
            if self.package == "dbos":
                raise environments.Failed("sqlite3.OperationalError: disk is full")
            return "1.5" if command[0] == "-c" else 'hello\n{"task_us": 7.0}\n'

    monkeypatch.setattr(peers, "environment", lambda name, _: Place(tmp_path, name, "1", 1.0))
    lines = [line for line in peers.LINES if line.name in ("Hamilton", "DBOS")]
    hamilton, dbos = peers.benchmark(lines, rounds=2)["rows"]
    assert (hamilton["task_us"], hamilton["import_ms"]) == (7.0, 1.5)
    assert dbos == {"name": "DBOS", "note": dbos["note"], "problem": "sqlite3.OperationalError: disk is full"}


def test_a_command_that_fails_is_told_by_its_last_line(environments, tmp_path):
    command = [sys.executable, "-c", "import sys; print('a', file=sys.stderr); sys.exit('what was wrong')"]
    with pytest.raises(environments.Failed, match=r"^what was wrong$"):
        environments._run(command, tmp_path, dict(os.environ))


def test_a_command_that_never_ends_is_ended(environments, tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "PROGRAM_SECONDS", 0.1)
    command = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    with pytest.raises(environments.Failed, match=r"took longer than 0\.1 s"):
        environments._run(command, tmp_path, dict(os.environ))


def test_no_candidate_reports_its_use(environments):
    assert environments.SILENT["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environments.SILENT["DAGSTER_DISABLE_TELEMETRY"] == "true"
    assert environments.SILENT["DO_NOT_TRACK"] == "1"


def test_an_environment_of_ours_is_made_anew_when_the_wheel_needs_something_else(environments, monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(environments, "CACHE", tmp_path)
    monkeypatch.setattr(environments, "_pip", lambda folder, *arguments: done.append(arguments))
    monkeypatch.setattr(
        environments, "_new", lambda folder, requirement: (folder.mkdir(exist_ok=True), done.append("new"))
    )
    monkeypatch.setattr(environments, "_described", lambda folder, package: package)
    wheel = tmp_path / "dotflow_sdk-1-py3-none-any.whl"
    for needs, expected in (("orjson", "new"), ("orjson", "install"), ("structlog", "new")):
        with zipfile.ZipFile(wheel, "w") as files:
            files.writestr("dotflow_sdk-1.dist-info/METADATA", f"Name: dotflow-sdk\nRequires-Dist: {needs}\n")
        assert environments.our_environment("ours", "", wheel) == "dotflow-sdk"
        last = done.pop()
        assert last == "new" if expected == "new" else last[:2] == ("install", "--no-index")
        assert not done
