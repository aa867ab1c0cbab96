"""Each suite fails for a provider that breaks the promise: one fault, one test of the suite that finds it."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import unittest

import pytest

from dotflow import Context
from dotflow.errors import SerializationError
from dotflow.providers import (
    LogDefault,
    MetricsDefault,
    NotifyDefault,
    SchedulerInterval,
    ServerDefault,
    StorageDefault,
    StorageFile,
    TracerDefault,
)
from dotflow.testing.contracts import (
    LogContract,
    MetricsContract,
    NotifyContract,
    SchedulerContract,
    ServerContract,
    StorageContract,
    TracerContract,
)
from support.watched import until

pytestmark = pytest.mark.contained  # that is what the faults are


class Shared(StorageDefault):
    """In memory, and shared by all instances of a test, so it may say that it is persistent."""

    persistent = True
    kept: dict = {}  # noqa: RUF012

    def __init__(self):
        self._contexts = self.kept


class NoneForAbsent(Shared):
    def get(self, key):
        return self._contexts.get(key)


class RaisesForAbsent(Shared):
    def get(self, key):
        return self._contexts[key]


class PlainJson(Shared):
    """The one that everybody writes first."""

    def post(self, key, context):
        self._contexts[key] = json.dumps(context.storage, default=str)

    def get(self, key):
        return Context(json.loads(self._contexts[key]), task_id="?") if key in self._contexts else Context()


class Folded(Shared):
    def post(self, key, context):
        super().post(key.casefold(), context)

    def get(self, key):
        return super().get(key.casefold())


class FirstWins(Shared):
    def post(self, key, context):
        self._contexts.setdefault(key, context)


class ForgetsFirst(Shared):
    """Removes the old before it knows that the new can be kept."""

    def post(self, key, context):
        self._contexts.pop(key, None)
        if callable(context.storage):
            raise SerializationError("no")
        super().post(key, context)


class Truncates(Shared):
    def post(self, key, context):
        value = context.storage
        if isinstance(value, dict) and "rows" in value:
            value = {"rows": value["rows"][:1000]}
        super().post(key, Context(value, task_id=context.task_id, workflow_id=context.workflow_id, time=context.time))


class RandomKeys(Shared):
    numbers = itertools.count()

    def key(self, task):
        return f"{task.task_id}-{next(self.numbers)}"


class OneSlot(Shared):
    """Two threads share a buffer."""

    def post(self, key, context):
        self._buffer = context
        threading.Event().wait(0.002)
        self._contexts[key] = self._buffer


class ListsByContains(Shared):
    def list_keys(self, prefix=""):
        return sorted(key for key in self._contexts if prefix in key)


class Unsorted(Shared):
    def list_keys(self, prefix=""):
        return super().list_keys(prefix)[::-1]


class ClearsByPrefix(Shared):
    def clear(self, workflow_id):
        keys = self.list_keys(workflow_id)
        for key in keys:
            self.delete(key)
        return len(keys)


class DeletesByPrefix(Shared):
    def delete(self, key):
        for each in self.list_keys(key):
            self._contexts.pop(each)


class OneRecord(Shared):
    def post_run(self, workflow_id, context):
        self.post("run", context)

    def get_run(self, workflow_id):
        return self.get("run")


class DeadAfterClose(Shared):
    def close(self, timeout):
        self._contexts = {}


class Trusting(StorageFile):
    """Takes what is there for a result, whatever its sum."""

    def get(self, key):
        file = self.file(key)
        return Context(file.read_bytes(), task_id="a") if file.exists() else Context()


class RaisesAtStart(TracerDefault):
    def start_task(self, task):
        raise ZeroDivisionError


class Swallows(TracerDefault):
    def attach(self, carrier):
        return contextlib.suppress(Exception)


class OneCarrier(TracerDefault):
    def carrier(self, task):
        return {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}


class NoTraceparent(TracerDefault):
    def carrier(self, task):
        return {"traceparent": task.task_id}


class KnowsItsTasks(TracerDefault):
    def __init__(self):
        self.open = {}

    def start_task(self, task):
        self.open[task.task_id] = task

    def end_task(self, task):
        del self.open[task.task_id]


class ClosesOnce(TracerDefault):
    closed = False

    def close(self, timeout):
        if self.closed:
            raise RuntimeError("closed")
        self.closed = True


class DropsForEver(TracerDefault):
    def take_dropped(self):
        from dotflow.abc.provider import Dropped

        return [Dropped("spans", 1, "why not")]


class NoMoreKeywords(MetricsDefault):
    def workflow_started(self, workflow_id, *, run_id, name, mode, tasks_count, trigger):
        pass


class OneThread(MetricsDefault):
    def __init__(self):
        self.thread = threading.get_ident()

    def provider_failed(self, provider, method):
        assert threading.get_ident() == self.thread


class KnownEvents(LogDefault):
    def info(self, **kwargs):
        {"task.started": 1, "task.completed": 1, "workflow.started": 1, "workflow.completed": 1}[kwargs["event"]]


class NeedsATask(LogDefault):
    def info(self, **kwargs):
        kwargs["task"].task_id  # noqa: B018


class NeedsAnError(NotifyDefault):
    def hook_status_task(self, task):
        task.errors[-1].message  # noqa: B018


class CreatesFirst(ServerDefault):
    def __init__(self):
        self.known = set()

    def create_task(self, task):
        self.known.add(task.task_id)

    def update_task(self, task):
        self.known.remove(task.task_id)
        self.known.add(task.task_id)


class WithoutKeywords(SchedulerInterval):
    def start(self, workflow, **kwargs):
        super().start(lambda **_: workflow(), **kwargs)


class NeverStops(SchedulerInterval):
    stops = False  # set to True when the suite has seen it, or it would tick through all the tests that follow

    def stop(self):
        if self.stops:
            super().stop()


class Negative(SchedulerInterval):
    @property
    def expected_interval(self):
        return -1.0


class NeverTicks(SchedulerInterval):
    def start(self, workflow, **kwargs):
        super().start(lambda **_: None, **kwargs)


FAULTS = [
    (StorageContract, NoneForAbsent, "an_absent_key_gives_an_empty_context"),
    (StorageContract, RaisesForAbsent, "an_absent_key_gives_an_empty_context"),
    (StorageContract, PlainJson, "rich_values_come_back_or_are_refused"),
    (StorageContract, PlainJson, "ids_and_time_come_back"),
    (StorageContract, PlainJson, "what_cannot_be_kept_is_refused_and_leaves_the_old"),
    (StorageContract, Folded, "any_key_has_a_place_of_its_own"),
    (StorageContract, FirstWins, "the_latest_post_wins"),
    (StorageContract, ForgetsFirst, "what_cannot_be_kept_is_refused_and_leaves_the_old"),
    (StorageContract, Truncates, "five_megabytes_come_back"),
    (StorageContract, RandomKeys, "keys_are_stable_and_differ"),
    (StorageContract, RandomKeys, "a_resumed_run_takes_over_what_had_finished"),
    (StorageContract, OneSlot, "threads_may_post_at_once"),
    (StorageContract, ListsByContains, "list_keys_lists_those_of_a_prefix"),
    (StorageContract, Unsorted, "list_keys_lists_those_of_a_prefix"),
    (StorageContract, ClearsByPrefix, "clear_forgets_a_workflow_and_no_other"),
    (StorageContract, DeletesByPrefix, "delete_forgets_one"),
    (StorageContract, OneRecord, "the_record_of_a_run_comes_back"),
    (StorageContract, Trusting, "damage_is_never_a_result"),
    (TracerContract, RaisesAtStart, "it_follows_a_run_with_every_executor"),
    (TracerContract, RaisesAtStart, "it_takes_whatever_comes"),
    (TracerContract, Swallows, "attach_lets_the_steps_own_error_through"),
    (TracerContract, OneCarrier, "carriers_are_w3c_headers"),
    (TracerContract, NoTraceparent, "carriers_are_w3c_headers"),
    (TracerContract, KnowsItsTasks, "it_takes_whatever_comes"),
    (TracerContract, KnowsItsTasks, "it_follows_runs_side_by_side"),
    (TracerContract, ClosesOnce, "flush_and_close_may_be_repeated"),
    (TracerContract, DropsForEver, "what_was_dropped_is_told_once"),
    (TracerContract, DropsForEver, "it_follows_one_run_after_another"),
    (MetricsContract, NoMoreKeywords, "it_takes_whatever_comes"),
    (MetricsContract, OneThread, "what_the_engine_tells_of_itself_may_come_from_any_thread"),
    (LogContract, KnownEvents, "it_takes_whatever_comes"),
    (LogContract, NeedsATask, "it_follows_a_resumed_run"),
    (NotifyContract, NeedsAnError, "it_follows_a_run_with_every_executor"),
    (ServerContract, CreatesFirst, "it_takes_whatever_comes"),
    (SchedulerContract, WithoutKeywords, "every_tick_passes_the_keywords_on"),
    (SchedulerContract, NeverStops, "stop_ends_start"),
    (SchedulerContract, Negative, "what_it_says_of_itself_is_usable"),
    (SchedulerContract, NeverTicks, "every_tick_passes_the_keywords_on"),
]
SUITES = sorted({suite for suite, _, _ in FAULTS}, key=lambda suite: suite.__name__)


def made(provider, tmp_path):
    if issubclass(provider, StorageFile):
        return provider(tmp_path)
    return provider(seconds=0.01) if issubclass(provider, SchedulerInterval) else provider()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """The suites wait long before they say that something hangs, and here it does."""
    for module in ("base", "scheduler"):
        monkeypatch.setattr(f"dotflow.testing.contracts.{module}.GUARD_SECONDS", 0.5)
    monkeypatch.setattr(Shared, "kept", {})


@pytest.fixture
def stopped(monkeypatch):
    """Ends the schedules that a faulty scheduler has left, and waits for their threads."""
    before, schedulers = set(threading.enumerate()), []
    yield schedulers
    monkeypatch.setattr(NeverStops, "stops", True)
    for scheduler in schedulers:
        scheduler.stop()
    until(lambda: set(threading.enumerate()) <= before)


@pytest.mark.parametrize(("suite", "provider", "test"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_fault_is_found(suite, provider, test, tmp_path, stopped):
    class Suite(suite):
        def make_provider(self):
            found = made(provider, tmp_path)
            if isinstance(found, SchedulerInterval):
                stopped.append(found)
            return found

        def damage(self, storage, key, change):
            storage.file(key).write_bytes(change(storage.file(key).read_bytes()))

    found = Suite()
    with pytest.raises((AssertionError, ArithmeticError, LookupError, RuntimeError, TypeError, AttributeError)):
        getattr(found, f"test_{test}")()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_unittest_takes_a_suite_as_it_is(suite):
    cases = unittest.defaultTestLoader.loadTestsFromTestCase(type("Suite", (suite, unittest.TestCase), {}))
    result = unittest.TestResult()
    cases.run(result)
    assert result.testsRun > 5
    assert len(result.errors) == result.testsRun
    assert "make_provider() has to return the provider to test" in result.errors[0][1]
