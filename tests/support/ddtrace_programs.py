"""Programs that trace with ddtrace: it has one tracer a process, whose agent is settled at import."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

_PRELUDE = """
import json, os, signal, sys, threading, time
from ddtrace.trace import tracer
from dotflow import Config, DotFlow, action
from dotflow_datadog import TracerDatadog

def tell(run, **more):
    print(json.dumps({"run_id": run.run_id, "trace_id": run.trace_id, "status": run.status, "dropped": run.dropped,
                      "errors": [list(key) for key in run.provider_errors],
                      "tasks": {task.task_id: [task.status, task.result] for task in run.tasks}, **more}), flush=True)

def run(*steps, name="nightly", service="etl", tracer_options={}, config={}, **start):
    workflow = DotFlow(Config(tracer=TracerDatadog(service, **tracer_options), **config), name=name, workflow_id="w-1")
    with workflow:
        workflow.task.add(list(steps))
        found = workflow.start(**start)
    tell(found.wait(60), result=workflow.result_storage())
    return found
"""


@dataclass(frozen=True)
class Ended:
    """How a program ended: the reports that it printed, one a run, and what it wrote to standard error."""

    reports: list[dict[str, Any]]
    err: str

    @property
    def report(self) -> dict[str, Any]:
        (report,) = self.reports
        return report

    @property
    def run_id(self) -> str:
        return self.report["run_id"]


def environment(url: str, **more: str) -> dict[str, str]:
    """The environment of a program that sends to an agent, and nowhere else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    ours = {"DD_TRACE_AGENT_URL": url, "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false", "PYTHONPATH": path}
    ours["TMPDIR"] = "."  # where the program runs: ddtrace leaves a file there
    return {**kept, **ours, **more}


def start_program(text: str, url: str, tmp_path, *command: str, **more: str) -> subprocess.Popen[str]:
    """A program with the prelude above, as a script of its own."""
    script = tmp_path / "script.py"
    script.write_text(_PRELUDE + textwrap.dedent(text))
    return subprocess.Popen(
        [*command, sys.executable, script],
        env=environment(url, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
