"""A metrics provider that tells several others everything that happens, so that they can be compared."""

from __future__ import annotations

from dotflow.abc import Metrics


class Both(Metrics):
    """Passes every call on to each of these providers."""

    def __init__(self, *providers):
        self.providers = providers

    def workflow_started(self, workflow_id, *, run=None, **kwargs):
        for each in self.providers:
            each.workflow_started(workflow_id, run=run, **kwargs)

    def workflow_completed(self, workflow_id, duration, *, run=None):
        for each in self.providers:
            each.workflow_completed(workflow_id, duration, run=run)

    def workflow_failed(self, workflow_id, duration, *, run=None):
        for each in self.providers:
            each.workflow_failed(workflow_id, duration, run=run)

    def task_completed(self, task):
        for each in self.providers:
            each.task_completed(task)

    def task_failed(self, task):
        for each in self.providers:
            each.task_failed(task)

    def task_retried(self, task):
        for each in self.providers:
            each.task_retried(task)

    def declare(self, workflow, tasks):
        for each in self.providers:
            each.declare(workflow, tasks)

    def task_started(self, task):
        for each in self.providers:
            each.task_started(task)

    def task_skipped(self, task):
        for each in self.providers:
            each.task_skipped(task)

    def task_restored(self, task):
        for each in self.providers:
            each.task_restored(task)

    def expected_interval(self, workflow, seconds):
        for each in self.providers:
            each.expected_interval(workflow, seconds)

    def schedule_skipped(self, workflow, reason, count=1):
        for each in self.providers:
            each.schedule_skipped(workflow, reason, count)

    def schedule_ticked(self, workflow, lateness):
        for each in self.providers:
            each.schedule_ticked(workflow, lateness)

    def background_queued(self, change):
        for each in self.providers:
            each.background_queued(change)

    def provider_failed(self, provider, method):
        for each in self.providers:
            each.provider_failed(provider, method)

    def telemetry_dropped(self, signal, count):
        for each in self.providers:
            each.telemetry_dropped(signal, count)

    def flush(self, timeout):
        for each in self.providers:
            each.flush(timeout)

    def take_dropped(self):
        return [dropped for each in self.providers for dropped in each.take_dropped()]
