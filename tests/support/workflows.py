"""Workflows for the tests of the engine: a step that counts, a workflow of some steps, and how its tasks have ended."""

from __future__ import annotations

from dotflow import Config, DotFlow, Run, action


@action
def good(previous_context):
    return (previous_context.storage or 0) + 1


def workflow_of(*steps, **config) -> DotFlow:
    workflow = DotFlow(Config(**config), name="w", workflow_id="w-1")
    workflow.task.add(step=list(steps))
    return workflow


def statuses(run: Run) -> list[str]:
    return [str(task.status) for task in run.tasks]
