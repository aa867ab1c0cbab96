"""The core needs none of the optional libraries, and imports none before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap

import pytest

import dotflow

_OPTIONAL = (
    *("opentelemetry", "prometheus_client", "google.protobuf", "requests"),
    *("redis", "fsspec", "apprise", "ddtrace", "distributed"),
)
_OURS = tuple(
    f"dotflow_{name}" for name in ["apprise", "datadog", "fsspec", "otel", "prometheus", "redis", "slack", "statsd"]
)
_LAZY = (*_OPTIONAL, *_OURS, "structlog", "orjson", "cronsim", "asyncio")
# Of the standard library and our own dependencies, what takes long to import and a bare run has no use for.
_UNUSED_IN_A_RUN = (
    *("cloudpickle", "concurrent.futures", "multiprocessing", "importlib.metadata", "pickle", "hashlib", "secrets"),
    *("json", "decimal", "zoneinfo", "pathlib", "platform", "dotflow.events", "dotflow.model.events"),
    *("dotflow.toolkit.codec", "dotflow.executors.threads", "dotflow.executors.processes"),
)
_UNUSED_IN_A_MODULE_OF_STEPS = (
    *(*_UNUSED_IN_A_RUN, "uuid", "logging", "dotflow.workflow", "dotflow.config", "dotflow.abc", "dotflow.providers"),
    *("dotflow.engine", "dotflow.executors", "dotflow.toolkit"),
)

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


def loaded_after(program, names):
    """Which of the modules are loaded once the program has run, in a Python that loads nothing on its own."""
    done = python(f"{textwrap.dedent(program)}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_importing_dotflow_imports_nothing_that_is_not_used():
    program = "import dotflow, dotflow.abc, dotflow.events, dotflow.providers"
    assert loaded_after(program, _LAZY) == []


@pytest.mark.parametrize(
    "program",
    [
        "import dotflow",
        "from dotflow import Context, action, carrier, record",
        "from dotflow import TypeStatus, DotflowError, action",
    ],
)
def test_a_module_of_steps_does_not_bring_the_engine_along(program):
    """Worker processes import it too."""
    assert loaded_after(program, (*_LAZY, *_UNUSED_IN_A_MODULE_OF_STEPS)) == []


@pytest.mark.parametrize("name", ["abc", "config", "errors", "events", "model", "providers", "toolkit", "workflow"])
def test_a_module_is_reached_through_dotflow_without_an_import_of_its_own(name):
    assert python(f"import dotflow\nprint(dotflow.{name}.__name__)").stdout == f"dotflow.{name}\n"


def test_a_name_that_does_not_exist_is_no_attribute():
    done = python("import dotflow\ndotflow.Workflow")
    assert "AttributeError: module 'dotflow' has no attribute 'Workflow'" in done.stderr


def test_all_names_come_with_a_star():
    done = python("from dotflow import *\nprint(sorted(name for name in globals() if not name.startswith('_')))")
    assert ast.literal_eval(done.stdout) == sorted(dotflow.__all__)


def test_a_bare_run_imports_nothing_that_is_not_used():
    program = """
        from dotflow import DotFlow, action

        @action
        def step():
            return 1

        workflow = DotFlow(workflow_id="bare")
        workflow.task.add(step)
        workflow.start().raise_for_status()
    """
    assert loaded_after(program, (*_LAZY, *_UNUSED_IN_A_RUN)) == []


def test_a_worker_process_does_not_bring_the_engine_along():
    program = """
        from dotflow import DotFlow, action

        @action
        def look():
            import sys
            return sorted(name for name in sys.modules if name.startswith("dotflow."))

        workflow = DotFlow(name="workers")
        workflow.task.add(look)
        workflow.start(mode="parallel").raise_for_status()
        (loaded,) = workflow.result_storage()
        print([name for name in loaded if name.startswith(("dotflow.engine", "dotflow.config", "dotflow.workflow"))])
        print("dotflow.executors.worker" in loaded)
    """
    assert python(program).stdout == "[]\nTrue\n"
