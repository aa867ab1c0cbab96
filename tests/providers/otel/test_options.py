"""Options that make no sense are refused where they are written, and no credentials are told on the way."""

from __future__ import annotations

import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from dotflow import Config, DotFlow, action
from dotflow.errors import InvalidOption
from dotflow.providers import LogOpenTelemetry, MetricsOpenTelemetry, TracerOpenTelemetry
from dotflow_otel.export.target import target_of, without_credentials
from support.otlp import OtlpEndpoint

KINDS = {TracerOpenTelemetry: "tracer", LogOpenTelemetry: "log", MetricsOpenTelemetry: "metrics"}
PROVIDERS = list(KINDS)


@action(name="plain")
def plain():
    return 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("seconds", ["2", -1, 0, float("nan"), float("inf"), True, None])
def test_a_timeout_that_is_none(provider, seconds):
    with pytest.raises(InvalidOption, match=r"shutdown_timeout=.*: seconds"):
        provider(shutdown_timeout=seconds)


@pytest.mark.parametrize(
    ("provider", "option"),
    list(zip(PROVIDERS, ["tracer_provider", "logger_provider", "meter_provider"], strict=True)),
)
def test_a_provider_that_is_none(provider, option):
    with pytest.raises(InvalidOption, match=rf"{option}=<object .*: an opentelemetry \w+Provider, or None"):
        provider(**{option: object()})


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "endpoint",
    ["http://", "http://[::1", "http://there:port", "http://there:99999", "there:4318", "ftp://there", 4318],
)
def test_an_endpoint_that_is_no_url(provider, endpoint):
    with pytest.raises(InvalidOption, match=r"a base URL such as http://localhost:4318"):
        provider(endpoint=endpoint)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "endpoint", ["me:hunter2@there:4318", "ftp://me:hunter2@there", "http://me:hun?ter2@there", "there/?key=hunter2"]
)
def test_an_endpoint_that_is_refused_is_told_without_its_credentials(provider, endpoint):
    with pytest.raises(InvalidOption) as refused:
        provider(endpoint=endpoint)
    assert "hun" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:hunter2@there:4318/v1/traces?key=1", "http://there:4318/v1/traces"),
        ("http://me:hun/ter2@there", "http://there"),
        ("http://me:hun@ter2@there/base#hunter2", "http://there/base"),
        ("http://there/?key=hun@ter2", "http://..."),
        ("http://there:4318", "http://there:4318"),
    ],
)
def test_a_url_as_it_may_be_shown(url, shown):
    assert without_credentials(url) == shown


@pytest.mark.parametrize("provider", PROVIDERS)
def test_credentials_stand_in_no_repr(provider):
    made = provider(endpoint="http://me:hunter2@there:4318")
    assert "hunter2" not in repr(made)
    assert "hunter2" not in repr(target_of("traces", "http://me:hunter2@there:4318"))
    if provider is TracerOpenTelemetry:
        assert "hunter2" not in repr(made.for_worker().__reduce__())
    made.close(60.0)


@pytest.mark.contained
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_header_that_cannot_be_read_is_told_without_the_key_in_it(monkeypatch, caplog, provider, protocol):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hunter2")
    with DotFlow(Config(**{KINDS[provider]: provider(endpoint="http://127.0.0.1:9", protocol=protocol)})) as workflow:
        workflow.task.add(plain)
        workflow.start()
    assert "Header format invalid" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://there:4318", "http://there:4318/v1/traces"),
        ("http://there:4318/", "http://there:4318/v1/traces"),
        ("HTTPS://there/base/", "HTTPS://there/base/v1/traces"),
        ("http://there/v1/traces/", "http://there/v1/traces"),
        ("http://there:4318?key=1", "http://there:4318/v1/traces?key=1"),
        ("http://there/base/?key=1", "http://there/base/v1/traces?key=1"),
    ],
)
def test_the_path_of_the_signal_is_added_to_the_path_of_a_base_url(base, url):
    assert target_of("traces", base).url == url


@pytest.mark.parametrize(
    ("queue", "batch"), [("100", None), (None, "9999"), ("100", "0"), ("", ""), ("three", "-1"), ("²", "²")]
)
def test_a_queue_that_is_smaller_than_a_batch_and_numbers_that_are_none(monkeypatch, queue, batch):
    for name, value in (("OTEL_BSP_MAX_QUEUE_SIZE", queue), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with OtlpEndpoint() as endpoint, DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url))) as workflow:
        workflow.task.add(plain)
        run = workflow.start()
    assert (run.provider_errors, run.dropped) == ({}, {})
    assert len(endpoint.spans) == 2


def test_a_provider_that_has_no_more_than_a_tracer_is_one():
    class Theirs:
        def __init__(self):
            self._sdk = TracerProvider(shutdown_on_exit=False)

        def get_tracer(self, *args, **kwargs):
            return self._sdk.get_tracer(*args, **kwargs)

    with DotFlow(Config(tracer=TracerOpenTelemetry(tracer_provider=Theirs()))) as workflow:
        workflow.task.add(plain)
        run = workflow.start()
    assert run.span is not None
    assert run.provider_errors == {}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_grpc_without_its_extra_is_told_where_it_is_asked_for(provider, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc", None)
    with pytest.raises(ImportError, match=r'pip install "dotflow-sdk\[otel-grpc\]"'):
        provider(endpoint="http://127.0.0.1:4317", protocol="grpc")
    provider(protocol="grpc")  # it has nowhere to send to, so nothing is missing


@pytest.mark.parametrize(
    ("general", "own", "seconds"),
    [
        (None, None, 1.5),
        ("0.2", None, 0.2),
        ("0.2", "0.4", 0.4),
        ("10", None, 1.5),
        ("soon", None, 1.5),
        ("0", "-1", 1.5),
    ],
)
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_a_request_takes_no_longer_than_the_environment_says(monkeypatch, signal, general, own, seconds):
    """Seconds, as the SDK takes them; the specification says milliseconds."""
    for name, value in (("OTEL_EXPORTER_OTLP_TIMEOUT", general), (f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT", own)):
        if value is not None:
            monkeypatch.setenv(name, value)
    exporter = target_of(signal, "http://127.0.0.1:4318").exporter(2.0)
    assert getattr(exporter, "_client", exporter)._timeout == seconds
    exporter.shutdown()


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_where_the_sdk_is_disabled_nothing_is_sent_and_the_run_is_as_ever(monkeypatch, mode):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with OtlpEndpoint() as endpoint:
        providers = {kind: provider("nightly", endpoint=endpoint.url) for provider, kind in KINDS.items()}
        with DotFlow(Config(**providers), name="disabled") as workflow:
            workflow.task.add(opens_a_span)
            run = workflow.start(mode).raise_for_status()
        assert endpoint.requests == 0
    assert (run.provider_errors, run.dropped) == ({}, {})
    assert run.trace_id == run.run_id


@action
def opens_a_span():
    with trace.get_tracer("the step's").start_as_current_span("of the step"):
        return 1
