"""What stands on spans only when it is asked for, and how a step hands its span on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.names import spans as names
from dotflow.providers import TracerOpenTelemetry
from support.otlp import OtlpEndpoint

SECRET = "hunter2"


@pytest.fixture
def endpoint():
    with OtlpEndpoint() as listening:
        yield listening


@action
def first(initial_context):
    return {"rows": 3, "password": initial_context.storage["password"]}


@action
def second(previous_context):
    return len(previous_context.storage)


def start(endpoint, **options):
    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url, **options)), name="etl") as workflow:
        workflow.task.add(first, initial_context={"password": SECRET}).add(second)
        return workflow.start().raise_for_status()


def test_no_context_and_nothing_twice_unless_asked_for(endpoint):
    start(endpoint)
    for span in endpoint.spans:
        assert SECRET not in repr(span)
        assert not [name for name in span.attributes if name.startswith("cicd.") or name.endswith("_context")]


def test_contexts_on_request(endpoint):
    start(endpoint, capture_contexts=True)
    one, two = endpoint.one("task first").attributes, endpoint.one("task second").attributes
    assert one[names.INITIAL_CONTEXT] == f"{{'password': '{SECRET}'}}"
    assert names.PREVIOUS_CONTEXT not in one  # there was none
    assert one[names.CURRENT_CONTEXT] == two[names.PREVIOUS_CONTEXT] == f"{{'password': '{SECRET}', 'rows': 3}}"
    assert two[names.CURRENT_CONTEXT] == "2"
    assert SECRET not in repr(endpoint.one("workflow etl"))


def test_an_item_and_a_member_of_a_family_have_their_key(endpoint):
    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url)), name="etl") as workflow:
        workflow.task.add(action(lambda: ["a", "b"]), name="files", after=[])
        workflow.task.add(action(retry=2)(lambda name: name), name="convert", after="files", each=True, key=str.upper)
        workflow.task.add(action(lambda: 1), name="region", key="eu", after=[])
        workflow.start().raise_for_status()
    found = {
        (span.name, span.attributes["dotflow.task.id"]): span.attributes[names.TASK_KEY]
        for span in endpoint.spans
        if names.TASK_KEY in span.attributes
    }
    assert found == {
        ("task convert", "convert[A]"): "A",
        ("task convert", "convert[B]"): "B",
        ("task region", "region[eu]"): "eu",
    }


def test_contexts_are_cut_short(endpoint):
    start(endpoint, capture_contexts=True, capture_limit=12)
    assert endpoint.one("task first").attributes[names.INITIAL_CONTEXT] == "{'password'…"


def test_a_large_value_is_never_turned_into_text_as_a_whole(endpoint):
    class Counts(list):
        def __init__(self, *values):
            super().__init__(*values)
            self.looked_at = 0

        def __iter__(self):
            for value in super().__iter__():
                self.looked_at += 1
                yield value

    large = Counts(range(1_000_000))

    @action
    def makes():
        return large

    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url, capture_contexts=True))) as workflow:
        workflow.task.add(makes)
        workflow.start().raise_for_status()
    assert len(endpoint.one("task makes").attributes[names.CURRENT_CONTEXT]) <= 1024
    assert large.looked_at < 100


def test_a_value_that_cannot_be_shown_costs_no_span(endpoint):
    class Unspeakable(str):
        __slots__ = ()

        def __len__(self):
            raise LookupError

    @action
    def makes():
        return Unspeakable("a")

    @action
    def counts():
        return 10**5000

    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url, capture_contexts=True))) as workflow:
        workflow.task.add([makes, counts])
        run = workflow.start().raise_for_status()
    assert (run.provider_errors, run.dropped) == ({}, {})
    assert endpoint.one("task makes").attributes[names.CURRENT_CONTEXT] == "<not shown: its repr raised LookupError>"
    assert len(endpoint.one("task counts").attributes[names.CURRENT_CONTEXT]) > 0


@pytest.mark.parametrize(
    ("redact", "shown"),
    [
        (lambda name, value: {**value, "password": "***"}, "{'password': '***'}"),
        (lambda name, value: f"{name}: hidden", "dotflow.task.initial_context: hidden"),
        (lambda name, value: value["no such key"], "<not shown: redact raised KeyError>"),
    ],
)
def test_a_redacted_context_shows_what_the_hook_returned_and_never_more(endpoint, redact, shown):
    def only_the_first(name, value):
        return redact(name, value) if name == names.INITIAL_CONTEXT else None

    start(endpoint, capture_contexts=True, redact=only_the_first)
    assert endpoint.one("task first").attributes[names.INITIAL_CONTEXT] == shown
    assert SECRET not in repr(endpoint.spans)


def test_pipelines_by_the_names_of_the_ci_conventions(endpoint):
    run = start(endpoint, cicd=True)
    root, task = endpoint.one("workflow etl").attributes, endpoint.one("task second").attributes
    assert (root["cicd.pipeline.name"], root["cicd.pipeline.run.id"], root["cicd.pipeline.result"]) == (
        "etl",
        run.run_id,
        "success",
    )
    assert task["cicd.pipeline.task.name"] == "second"
    assert task["cicd.pipeline.task.run.id"] == f"{run.run_id}/second"
    assert task["cicd.pipeline.task.run.result"] == "success"


@pytest.mark.parametrize("limit", [0, -1, 1.5, "10", True])
def test_a_limit_that_is_none(limit):
    with pytest.raises(InvalidOption, match="capture_limit="):
        TracerOpenTelemetry(capture_contexts=True, capture_limit=limit)


def test_a_protocol_that_is_not_known():
    with pytest.raises(
        InvalidChoice, match="protocol='carrier pigeon' is not known: use one of 'http/protobuf', 'grpc'"
    ):
        TracerOpenTelemetry(protocol="carrier pigeon")


CHILD = """
from dotflow import Config, DotFlow, action
from dotflow.providers import TracerOpenTelemetry
@action
def inner(): ...
with DotFlow(Config(tracer=TracerOpenTelemetry()), name="child") as workflow:
    workflow.task.add(inner)
    workflow.start().raise_for_status()
"""


@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_a_child_process_is_handed_the_carrier_in_one_line(endpoint, executor):
    url = endpoint.url

    @action
    def calls():
        env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **dotflow.carrier()}
        subprocess.run([sys.executable, "-c", CHILD], env=env, check=True)

    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=url)), name="parent") as workflow:
        workflow.task.add(calls)
        run = workflow.start(executor=executor).raise_for_status()
    child = endpoint.one("workflow child")
    assert child.parent_id == endpoint.one("task calls").span_id
    assert {span.trace_id for span in endpoint.spans} == {run.trace_id}


def test_outside_of_a_step_there_is_nothing_to_hand_on():
    assert dotflow.carrier() == {}
