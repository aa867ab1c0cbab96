"""The core needs none of the optional libraries, and imports none before it is asked for."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

_OPTIONAL = (
    *("opentelemetry", "prometheus_client", "google.protobuf", "requests"),
    *("redis", "fsspec", "apprise", "ddtrace", "distributed"),
)
_OURS = tuple(
    f"dotflow_{name}" for name in ["apprise", "datadog", "fsspec", "otel", "prometheus", "redis", "slack", "statsd"]
)
_LAZY = (*_OPTIONAL, *_OURS, "structlog", "orjson", "cronsim", "asyncio")

_BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.startswith({_OPTIONAL!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

_WORK = """
from dotflow import Config, Context, DotFlow, Task, action
from dotflow.providers import LogStructlog

@action
def extract(initial_context):
    return initial_context.storage

@action(retry=2, timeout=10)
def load(previous_context):
    return previous_context.storage + 1

workflow = DotFlow(Config(log=LogStructlog(format="json")), name="core")
workflow.task.add(step=[extract, load], initial_context=41)
run = workflow.start().raise_for_status()
assert workflow.result_storage() == [41, 42]
assert workflow.start(mode="background").wait(30).status == "Completed"
print(run.tree())
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_core_runs_with_every_optional_library_unimportable():
    done = python(_BLOCK + _WORK)
    assert done.returncode == 0, done.stderr
    assert "workflow core  completed" in done.stdout
    assert done.stderr.count('"event":"task.completed"') == 4


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("TracerOpenTelemetry", "otel"),
        ("MetricsOpenTelemetry", "otel"),
        ("LogOpenTelemetry", "otel"),
        ("MetricsPrometheus", "prometheus"),
        ("StorageRedis", "redis"),
        ("StorageFsspec", "fsspec"),
        ("NotifyApprise", "apprise"),
        ("TracerDatadog", "datadog"),
    ],
)
@pytest.mark.parametrize("door", ["dotflow.providers", "its own package"])
def test_a_missing_extra_names_what_brings_it(provider, extra, door):
    module = door if door == "dotflow.providers" else f"dotflow_{extra}"
    done = python(f"{_BLOCK}\nfrom {module} import {provider}")
    assert done.returncode == 1
    assert f'{provider} needs an extra: pip install "dotflow-sdk[{extra}]"' in done.stderr


@pytest.mark.parametrize("made", ["NotifySlack('http://127.0.0.1/services/a/b/c')", "MetricsStatsd()"])
def test_what_needs_no_library_is_there_without(made):
    done = python(f"{_BLOCK}\nimport dotflow.providers\nprint(dotflow.providers.{made})")
    assert done.returncode == 0, done.stderr


def test_observability_names_the_missing_extra_too():
    done = python(f"{_BLOCK}\nfrom dotflow import observability\nobservability()")
    assert done.returncode == 1
    assert 'pip install "dotflow-sdk[otel]"' in done.stderr


def test_importing_dotflow_imports_nothing_that_is_not_used():
    program = f"""
        import sys
        import dotflow, dotflow.abc, dotflow.events, dotflow.providers
        loaded = [name for name in {_LAZY!r} if name in sys.modules]
        assert not loaded, loaded
    """
    done = python(program)
    assert done.returncode == 0, done.stderr


def test_a_bare_run_imports_nothing_that_is_not_used():
    program = f"""
        import sys
        from dotflow import DotFlow, action

        @action
        def step():
            return 1

        workflow = DotFlow()
        workflow.task.add(step)
        workflow.start().raise_for_status()
        loaded = [name for name in {_LAZY!r} if name in sys.modules]
        assert not loaded, loaded
    """
    done = python(program)
    assert done.returncode == 0, done.stderr
