"""The file of OTLP JSON lines: every line whole, and what does not fit on the disk is counted."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

resource = pytest.importorskip("resource", reason="SKIPPED: no limits for files on this system")

PROGRAM = """
    import os, resource, sys
    from dotflow import Config, DotFlow, action
    from dotflow.providers import TracerOpenTelemetry

    @action(name="plain")
    def plain():
        return 1

    def run(tasks):
        with DotFlow(Config(tracer=TracerOpenTelemetry(file=sys.argv[1])), name="filed") as workflow:
            workflow.task.add([plain] * tasks)
            print(workflow.start().dropped)

    def fill(extra):
        # As a disk does that is almost full: it takes a part of a line, and says so only in the count of bytes.
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + extra, resource.RLIM_INFINITY))
"""


def output_of(path, text) -> tuple[list[str], str]:
    code = textwrap.dedent(PROGRAM) + textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def names_of(path) -> list[str]:
    return [span["name"] for span in spans_of(path)]


def spans_of(path) -> list[dict]:
    requests = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [
        span
        for request in requests
        for of_resource in request["resourceSpans"]
        for scope in of_resource["scopeSpans"]
        for span in scope["spans"]
    ]


def test_a_disk_that_is_full_in_the_middle_of_a_line_costs_that_line_and_no_other(tmp_path):
    path = tmp_path / "spans.jsonl"
    printed, told = output_of(
        path,
        """
        run(1)
        fill(500)
        run(3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        run(1)
        """,
    )
    assert printed == ["{}", "{'spans': 4}", "{}"]
    assert told.count("\n") == told.count(f"not delivered to {path}") == 1
    assert names_of(path) == ["task plain", "workflow filed"] * 2


def test_a_disk_that_takes_nothing_loses_all_and_says_so():
    printed, told = output_of("/dev/full", "run(2)\nrun(1)")
    assert printed == ["{'spans': 3}", "{'spans': 2}"]
    assert told.count("\n") == told.count("not delivered to /dev/full") == 2  # two workflows, each once


def test_several_processes_write_whole_lines_to_one_file(tmp_path):
    path = tmp_path / "spans.jsonl"
    code = textwrap.dedent(PROGRAM) + "run(300)"
    programs = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) for _ in range(2)]
    assert [program.communicate(timeout=60)[0] for program in programs] == [b"{}\n"] * 2
    assert sorted(names_of(path)) == ["task plain"] * 600 + ["workflow filed"] * 2


def test_ids_are_hex_as_the_format_wants_them(tmp_path):
    path = tmp_path / "spans.jsonl"
    (printed,), _ = output_of(path, "run(1)")
    task, root = spans_of(path)
    assert printed == "{}"
    assert int(root["traceId"], 16).bit_length() <= 128
    assert (len(root["traceId"]), len(root["spanId"])) == (32, 16)
    assert (task["traceId"], task["parentSpanId"]) == (root["traceId"], root["spanId"])
    assert "parentSpanId" not in root
