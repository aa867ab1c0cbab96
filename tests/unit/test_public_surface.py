"""What users and other programs depend on, frozen."""

from __future__ import annotations

import inspect
import re
from importlib import import_module, metadata
from pathlib import Path

import pytest

import dotflow
import dotflow.abc
import dotflow.events
import dotflow.testing
from dotflow import errors, providers, toolkit
from dotflow.names import metrics


def test_the_names_at_the_top():
    assert set(dotflow.__all__) == {
        *("Config", "Context", "DotFlow", "DotflowError", "Run", "Skip", "Task", "TypeStatus", "action", "carrier"),
        *("current", "observability", "record", "GiveUp", "RetryAfter"),
    }
    assert all(hasattr(dotflow, name) for name in dotflow.__all__)


def test_the_version_is_that_of_the_installation():
    assert dotflow.__version__ == metadata.version("dotflow-sdk")
    assert not hasattr(dotflow, "__versions__")


def test_the_abstract_methods_of_the_seven_contracts():
    found = {name: set(getattr(dotflow.abc, name).__abstractmethods__) for name in dotflow.abc.__all__}
    assert found == {
        "Storage": {"post", "get", "key"},
        "Notify": {"hook_status_task"},
        "Log": {"info", "error", "warning", "debug"},
        "Scheduler": {"start", "stop"},
        "Tracer": {"start_workflow", "end_workflow", "start_task", "end_task"},
        "Metrics": {
            *("workflow_started", "workflow_completed", "workflow_failed"),
            *("task_completed", "task_failed", "task_retried"),
        },
        "Server": {"create_workflow", "update_workflow", "create_task", "update_task"},
    }


def test_the_providers_behind_the_door():
    assert set(dir(providers)) == {
        *("StorageDefault", "NotifyDefault", "LogDefault", "SchedulerDefault"),
        *("TracerDefault", "MetricsDefault", "ServerDefault"),
        *("LogStructlog", "SchedulerCron", "SchedulerInterval", "Schedules", "StorageFile"),
        *("LogOpenTelemetry", "MetricsOpenTelemetry", "MetricsPrometheus", "TracerOpenTelemetry"),
        *("NotifyApprise", "NotifySlack", "MetricsStatsd", "TracerDatadog", "StorageFsspec", "StorageRedis"),
    }
    for name in dir(providers):
        assert inspect.isclass(getattr(providers, name))


def test_a_provider_that_does_not_exist_is_named():
    with pytest.raises(AttributeError, match="no provider 'StorageMars'; it has LogDefault, "):
        providers.StorageMars  # noqa: B018


def test_the_names_of_the_toolkit():
    assert set(dir(toolkit)) == {
        *("Fields", "fields_of", "ids_of"),
        *("OVERFLOW", "ActiveRuns", "LabelSets", "check_max_series", "checked_buckets"),
        *("Notification", "TraceUrl", "statuses_of", "summary", "Batcher", "NotYet"),
        *("Header", "check_serializer", "header_of", "name_of", "name_start_of", "seal", "unseal"),
        *("decode", "encode", "redacted", "storage_error", "is_text", "shorten", "storable", "needing"),
    }
    for name in dir(toolkit):
        assert name in import_module(f"dotflow.toolkit.{toolkit._DOOR[name]}").__all__


def test_a_name_that_the_toolkit_does_not_have_is_named():
    with pytest.raises(AttributeError, match="no attribute 'unpack'; it has ActiveRuns, "):
        toolkit.unpack  # noqa: B018


@pytest.mark.tree
def test_the_page_has_every_name_of_the_toolkit():
    page = (Path(__file__).parents[2] / "docs" / "custom-providers.md").read_text(encoding="utf-8")
    table = page.partition("## The toolkit")[2].partition("```")[0]
    assert set(re.findall(r"`(\w+)", table)) >= set(dir(toolkit))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "dotflow.events",
            {
                *(
                    "Event",
                    "WorkflowStarted",
                    "WorkflowEnded",
                    "TaskEvent",
                    "TaskQueued",
                    "TaskRestored",
                    "TaskSkipped",
                    "TaskStarted",
                ),
                *("TaskRetrying", "TaskEnded", "AttemptStarted", "AttemptEnded"),
            },
        ),
        (
            "dotflow.testing",
            {
                *("Call", "Calls", "FakeClock", "ScheduleClock", "SequentialIds", "RecordingLog", "RecordingMetrics"),
                *("RecordingNotify", "RecordingScheduler", "RecordingServer", "RecordingStorage", "RecordingTracer"),
            },
        ),
        (
            "dotflow.testing.contracts",
            {
                *("LogContract", "MetricsContract", "NotifyContract", "SchedulerContract"),
                *("ServerContract", "StorageContract", "TracerContract"),
            },
        ),
        ("dotflow_apprise", {"AppriseError", "NotifyApprise"}),
        ("dotflow_datadog", {"TracerDatadog"}),
        ("dotflow_fsspec", {"MissingFilesystem", "StorageFsspec"}),
        ("dotflow_otel", {"LogOpenTelemetry", "MetricsOpenTelemetry", "TracerOpenTelemetry"}),
        ("dotflow_prometheus", {"OVERFLOW", "MetricsPrometheus", "PortUnavailable"}),
        ("dotflow_redis", {"StorageRedis"}),
        ("dotflow_slack", {"NotifySlack", "SlackError"}),
        ("dotflow_statsd", {"MetricsStatsd"}),
    ],
)
def test_the_names_of_the_other_public_modules(module, names):
    found = import_module(module)
    assert set(found.__all__) == names
    assert all(hasattr(found, name) for name in names)


@pytest.mark.parametrize(
    ("provider", "keywords"),
    [
        ("StorageFile", {"path": ".dotflow", "serializer": "json"}),
        ("LogStructlog", {"level": "INFO", "format": "auto", "output": "stderr", "logger": None}),
        ("SchedulerInterval", {"seconds": inspect.Parameter.empty, "overlap": "skip"}),
        ("SchedulerCron", {"cron": inspect.Parameter.empty, "overlap": "skip", "timezone": None}),
        (
            "TracerOpenTelemetry",
            {"service_name": None, "tracer_provider": None, "endpoint": None, "file": None, "shutdown_timeout": 2.0},
        ),
        (
            "MetricsPrometheus",
            {
                "registry": None,
                "port": None,
                "host": "127.0.0.1",
                "buckets": None,
                "exemplars": True,
                "max_series": 1000,
            },
        ),
    ],
)
def test_the_keywords_of_a_provider(provider, keywords):
    parameters = inspect.signature(getattr(providers, provider)).parameters
    assert {name: parameters[name].default for name in keywords} == keywords


def test_every_error_is_one_of_ours_and_fits_a_built_in():
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.DotflowError)
        if name not in ("DotflowError", "Skip"):  # a step that skips itself does not fail
            built_in = [base for base in error.__mro__ if base.__module__ == "builtins"]
            assert built_in[0] not in (Exception, BaseException), name


def test_events_are_frozen_slotted_and_keyword_only():
    for name in dotflow.events.__all__:
        event = getattr(dotflow.events, name)
        assert event.__dataclass_params__.frozen
        assert not hasattr(event, "__dict__") or "__dict__" not in dir(event)
        kinds = {parameter.kind for parameter in inspect.signature(event).parameters.values()}
        assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_the_series_are_those_of_the_contract():
    names = {metric.prometheus for metric in metrics.METRICS}
    assert names == {
        *(f"dotflow_workflow_{name}" for name in ("started", "completed", "failed", "active_runs")),
        *("dotflow_workflow_duration_seconds", "dotflow_workflow_oldest_active_start_timestamp_seconds"),
        *("dotflow_workflow_last_success_timestamp_seconds", "dotflow_workflow_last_completion_timestamp_seconds"),
        *(
            "dotflow_workflow_last_run_success",
            "dotflow_workflow_expected_interval_seconds",
            "dotflow_schedule_skipped",
            "dotflow_schedule_lateness_seconds",
        ),
        *(
            f"dotflow_task_{name}"
            for name in ("started", "completed", "failed", "retried", "restored", "skipped", "errors")
        ),
        *(
            "dotflow_task_duration_seconds",
            "dotflow_task_queue_seconds",
            "dotflow_task_active",
            "dotflow_task_recorded",
        ),
        *("dotflow_provider_errors", "dotflow_telemetry_dropped", "dotflow_build", "dotflow_background_queued"),
    }
    assert not any("_id" in label for metric in metrics.METRICS for label in metric.labels)
