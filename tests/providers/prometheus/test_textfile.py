"""A file for node_exporter: whole at any moment, and with what earlier processes knew of the last runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry, Gauge, parser

from dotflow import Config, DotFlow, DotflowError, action, record
from dotflow.abc.hooks import overridden
from dotflow.names import metrics as names
from dotflow_prometheus import MetricsPrometheus
from support import missing
from support.ports import free_port

LIMIT = 60  # seconds after which a test that hangs fails
LAST = tuple(
    metric.series[0]
    for metric in (names.WORKFLOW_LAST_SUCCESS, names.WORKFLOW_LAST_COMPLETION, names.WORKFLOW_LAST_RUN_SUCCESS)
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "nightly.prom"


def flow_of(metrics, name="nightly", *, fails=False):
    @action
    def load():
        record("rows_loaded", 1200)
        if fails:
            raise ValueError("planned")

    flow = DotFlow(Config(metrics=metrics), name=name)
    flow.task.add(step=load)
    return flow


def run(metrics, name="nightly", *, fails=False):
    return flow_of(metrics, name, fails=fails).start()


def samples(path):
    families = parser.text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return [sample for family in families for sample in family.samples]


def value(path, series, /, **labels):
    (found,) = [s.value for s in samples(path) if s.name == series and labels.items() <= s.labels.items()]
    return found


def last(path, workflow="nightly"):
    """Last success, last completion, and whether the last run was one."""
    return tuple(value(path, series, workflow=workflow) for series in LAST)


def test_it_is_written_when_a_run_has_ended_and_not_before(make, path):
    metrics = make(textfile=path)
    metrics.declare("nightly", ["load"])
    metrics.flush(5.0)
    metrics.close(5.0)
    assert not path.exists()
    assert not run(metrics).dropped
    success, completion, verdict = last(path)
    assert (success, verdict) == (completion, 1)
    assert value(path, names.TASK_COMPLETED.series[0], workflow="nightly", task="load") == 1
    assert value(path, names.TASK_RECORDED.series[0], name="rows_loaded") == 1200
    assert "# {" not in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing is left beside it
    assert path.stat().st_mode & 0o444 == 0o444 & ~_umask()  # somebody else reads it


def _umask():
    now = os.umask(0)
    os.umask(now)
    return now


def test_a_failure_in_a_new_process_does_not_take_the_last_success_away(make, path):
    run(make(textfile=path))
    before = last(path)
    run(make(textfile=path), fails=True)
    success, completion, verdict = last(path)
    assert success == before[0]
    assert completion > before[1]
    assert verdict == 0
    assert value(path, names.WORKFLOW_STARTED.series[0], workflow="nightly") == 1
    run(make(textfile=path))
    assert last(path)[0] > completion


def test_a_workflow_that_this_process_has_not_run_keeps_what_is_known_of_it(make, path):
    first = make(textfile=path)
    run(first, "hourly")
    run(first, "nightly")
    before = last(path, "hourly")
    second = make(textfile=path)
    second.declare("hourly", [])
    second.declare("new", [])
    run(second, "nightly")
    assert last(path, "hourly") == before
    assert last(path, "new") == (0, 0, 0)
    run(second, "hourly", fails=True)
    assert last(path, "hourly")[2] == 0


@pytest.mark.parametrize(
    "earlier",
    [
        b"\xff\xfe",
        b"",
        b'dotflow_workflow_last_success_timestamp_seconds{workflow="nightly',
        b"dotflow_workflow_last_success_timestamp_seconds 12\n",
        b'dotflow_workflow_last_success_timestamp_seconds{workflow="nightly"} twelve\n',
        b'dotflow_workflow_last_success_timestamp_seconds{workflow="nightly"} NaN\n',
        b'dotflow_workflow_last_success_timestamp_seconds{workflow="other"} 12\n',
    ],
    ids=repr,
)
def test_an_earlier_file_that_says_nothing_is_replaced_all_the_same(make, path, earlier):
    path.write_bytes(earlier)
    assert not run(make(textfile=str(path)), fails=True).dropped
    assert last(path)[0] == 0
    assert value(path, names.WORKFLOW_FAILED.series[0], workflow="nightly") == 1


@pytest.mark.parametrize("name", ['a "quoted"\nname\\', "naïve ☃", "line\u2028separator\x0b"])
def test_any_name_is_kept(make, path, name):
    run(make(textfile=path), name)
    before = last(path, name)
    run(make(textfile=path), name, fails=True)
    assert last(path, name)[0] == before[0]


def test_whoever_reads_it_reads_all_of_it(make, path):
    metrics = make(textfile=path)
    run(metrics)
    size, done, torn = path.stat().st_size, threading.Event(), []

    def read():
        while not done.is_set():
            text = path.read_text()
            if len(text) < 0.9 * size or not text.endswith("\n"):
                torn.append(text)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        metrics.flush(5.0)
    done.set()
    reader.join(LIMIT)
    assert not torn


def test_a_step_that_changes_the_directory(make, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    metrics = make(textfile=path.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run(metrics)
    assert path.exists()


def test_what_was_lost_at_the_very_end_is_written_at_close(make, path):
    metrics = make(textfile=path)
    run(metrics)
    metrics.telemetry_dropped("spans", 3)
    metrics.close(5.0)
    assert value(path, names.TELEMETRY_DROPPED.series[0], signal="spans") == 3


@pytest.mark.contained
def test_a_directory_that_has_gone_harms_no_run(make, tmp_path, contained):
    folder = tmp_path / "gone"
    folder.mkdir()
    metrics = make(textfile=folder / "nightly.prom")
    folder.rmdir()
    flow = flow_of(metrics)
    runs = [flow.start(), flow.start()]
    lost = [each.dropped["metrics"] for each in runs]
    assert [each.failed for each in runs] == [False, False]
    assert all(count > 20 for count in lost)
    (line,) = contained
    assert str(folder / "nightly.prom") in line
    assert "No such file or directory" in line
    folder.mkdir()
    assert not flow.start().dropped
    assert value(folder / "nightly.prom", names.TELEMETRY_DROPPED.series[0], signal="metrics") == sum(lost)
    assert value(folder / "nightly.prom", names.WORKFLOW_COMPLETED.series[0], workflow="nightly") == 3


def test_file_and_gateway_together(make, path):
    metrics = make(textfile=path, pushgateway=f"http://127.0.0.1:{free_port()}")
    assert repr(metrics) == f"MetricsPrometheus({metrics._gateway}, {path})"
    metrics.workflow_started("nightly", name="nightly")
    metrics.workflow_completed("nightly", 1.0)
    metrics.flush(5.0)
    assert value(path, names.WORKFLOW_COMPLETED.series[0], workflow="nightly") == 1
    (dropped,) = metrics.take_dropped()
    assert "Connection refused" in dropped.why


def test_a_run_pays_for_a_flush_only_where_something_is_delivered(make, path):
    """The engine starts a thread for every flush."""

    class Own(MetricsPrometheus):
        def flush(self, timeout): ...

    assert not overridden(make(), "flush")
    assert overridden(make(textfile=path), "flush")
    assert overridden(make(pushgateway="localhost:9091"), "flush")
    assert overridden(Own(), "flush")
    make().flush(1.0)  # by hand it may be called all the same


@pytest.mark.parametrize("wrong", [7, "", " ", b"x.prom"], ids=repr)
def test_a_path_that_is_none(wrong):
    with pytest.raises(DotflowError, match=r"^textfile="):
        MetricsPrometheus(textfile=wrong)


def test_a_pipe_is_refused_at_construction(tmp_path):
    """Reading it, for what it says of last runs, would wait for somebody who writes."""
    os.mkfifo(tmp_path / "a.prom")
    with pytest.raises(ValueError, match=r"textfile=.*a\.prom'.*: a pipe, a socket or a device; name a file"):
        MetricsPrometheus(textfile=tmp_path / "a.prom")


def test_a_directory_that_is_not_there_is_told_at_construction(tmp_path):
    with pytest.raises(DotflowError, match=r"^textfile=.*there is no directory.*nowhere.*make it"):
        MetricsPrometheus(textfile=tmp_path / "nowhere" / "x.prom")
    with pytest.raises(DotflowError, match=r"^textfile=.*a directory; name the file"):
        MetricsPrometheus(textfile=tmp_path)


def test_a_name_that_node_exporter_does_not_read_is_told(make, tmp_path, caplog):
    make(textfile=tmp_path / "fine.prom")
    assert not caplog.records
    make(textfile=tmp_path / "nightly.txt")
    assert "only files whose names end in .prom" in caplog.text


# --- node_exporter itself


@contextmanager
def node_exporter(folder):
    """A real one that reads this directory; yields what gives its answer."""
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if program is None:
        missing.skip("node_exporter", "prometheus-node-exporter", "what node_exporter makes of the textfile")
    url = f"127.0.0.1:{free_port()}"
    flags = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
    with subprocess.Popen(
        [program, f"--web.listen-address={url}", *flags], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield lambda: _ask(url, process)
        finally:
            process.kill()


def _ask(url, process):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{url}/metrics", timeout=LIMIT) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)  # between two looks
    raise AssertionError("node_exporter did not start")


def test_node_exporter_takes_the_files_of_two_programs(make, tmp_path):
    """Not one series of the one is the same as one of the other: node_exporter refuses the second, at every scrape."""
    registries = [CollectorRegistry(), None]
    Gauge("rows", "Of the user's own.", registry=registries[0]).set(7)
    for name, registry in zip(("one", "two"), registries, strict=True):
        run(make(registry, textfile=tmp_path / f"{name}.prom"), name)
    with node_exporter(tmp_path) as ask:
        text = ask()
        seen = [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]
    assert [s.value for s in seen if s.name == "node_textfile_scrape_error"] == [0]
    assert [s.value for s in seen if s.name == "rows"] == [7]
    assert {_key(s) for name in ("one", "two") for s in samples(tmp_path / f"{name}.prom")} <= set(map(_key, seen))
    for series in (names.BUILD.series[0], names.BACKGROUND_QUEUED.series[0]):
        assert {s.labels["workflow"] for s in seen if s.name == series} == {"one", "two"}


def _key(sample):
    """What tells a series from others; node_exporter writes `5.0` as `5`."""
    labels = {label: float(text) if label == "le" else text for label, text in sample.labels.items()}
    return (sample.name, *sorted(labels.items()))
