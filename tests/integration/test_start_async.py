"""`await workflow.start_async(...)`: runs from async code, with the async steps on the caller's own loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from dotflow import Config, DotFlow, TypeStatus, action
from dotflow.errors import InvalidChoice
from dotflow.events import TaskEnded, WorkflowEnded
from dotflow.model.status import TypeResult
from dotflow.providers import TracerOpenTelemetry
from support.otlp import OtlpEndpoint

who = contextvars.ContextVar("who", default="nobody")
EXECUTORS = ["inline", "thread"]


def workflow_of(*steps, **config) -> DotFlow:
    workflow = DotFlow(Config(**config), name="async")
    workflow.task.add(list(steps))
    return workflow


@pytest.mark.parametrize("executor", EXECUTORS)
def test_async_steps_run_on_the_callers_loop_and_see_its_context(executor):
    @action
    async def first():
        await asyncio.sleep(0)
        return id(asyncio.get_running_loop()), who.get(), threading.current_thread() is threading.main_thread()

    @action
    def second(previous_context):
        return (*previous_context.storage, who.get(), threading.current_thread() is threading.main_thread())

    async def main():
        who.set("the caller")
        workflow = workflow_of(first, second)
        run = await workflow.start_async(executor=executor)
        assert run.status is TypeStatus.COMPLETED
        return id(asyncio.get_running_loop()), workflow.result_storage()[1]

    loop, found = asyncio.run(main())
    assert found == (loop, "the caller", True, "the caller", False)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_loop_goes_on_while_a_sync_step_runs(executor):
    begun, proceed = threading.Event(), threading.Event()

    @action
    def blocks():
        begun.set()
        return proceed.wait(30)

    async def main():
        running = asyncio.create_task(workflow_of(blocks).start_async(executor=executor))
        await asyncio.to_thread(begun.wait)
        proceed.set()  # by the loop, which the step would else keep from ever getting here
        return await running

    assert asyncio.run(main()).tasks[0].current_context.storage is True


def test_async_steps_in_parallel_wait_for_one_another():
    async def main():
        met = asyncio.Event()

        @action
        async def waits():
            await met.wait()
            return "met"

        @action
        async def comes():
            met.set()

        run = await workflow_of(waits, comes).start_async("parallel", executor="thread", max_workers=2)
        return run.raise_for_status()

    assert asyncio.run(main()).tasks[0].current_context.storage == "met"


def test_methods_of_a_class_step_run_there_too():
    @action
    class Steps:
        @action
        async def one(self):
            return id(asyncio.get_running_loop())

        @action
        def two(self, previous_context):
            return previous_context.storage

    async def main():
        workflow = workflow_of(Steps)
        (await workflow.start_async()).raise_for_status()
        return id(asyncio.get_running_loop()), [context.storage for context in workflow.result_storage()[0]]

    loop, found = asyncio.run(main())
    assert found == [loop, loop]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_timeout_really_cancels_an_async_step(executor):
    async def main():
        cancelled = asyncio.Event()

        @action(timeout=0.05)
        async def hangs():
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        run = await workflow_of(hangs).start_async(executor=executor)
        await cancelled.wait()
        return run

    (task,) = asyncio.run(main()).tasks
    assert task.error.exception == "AttemptTimeout"
    assert task.result is TypeResult.TIMEOUT


def test_cancelling_what_awaits_the_run_cancels_the_run_and_waits_for_its_end():
    events = []

    async def main():
        begun = asyncio.Event()

        @action
        async def hangs():
            begun.set()
            await asyncio.Event().wait()

        @action
        def never():
            raise AssertionError

        workflow = workflow_of(hangs, never, listeners=[events.append])
        running = asyncio.create_task(workflow.start_async())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return workflow.result_task()

    hangs, never = asyncio.run(main())
    assert hangs.error.exception == "AttemptCancelled"
    assert never.status is TypeStatus.NOT_STARTED
    assert [type(event) for event in events[-2:]] == [TaskEnded, WorkflowEnded]
    assert events[-1].run.result is TypeResult.CANCELLATION
    assert events[-1].run.ended.is_set()


def test_a_run_that_fails_is_returned_and_bad_input_is_raised_at_once():
    @action
    async def fails():
        raise ValueError("no good")

    async def main():
        workflow = workflow_of(fails)
        with pytest.raises(InvalidChoice):
            await workflow.start_async("everywhere")
        assert workflow.task.latest is None
        return await workflow.start_async()

    run = asyncio.run(main())
    assert run.failed
    assert run.tasks[0].error.message == "no good"


def test_what_ends_the_program_is_raised_when_the_run_has_ended():
    @action
    def leaves():
        raise SystemExit(3)

    workflow = workflow_of(leaves)
    with pytest.raises(SystemExit, match="3"):
        asyncio.run(workflow.start_async())
    assert workflow.task.latest.result is TypeResult.CANCELLATION


@pytest.mark.parametrize("mode", ["parallel", "sequential_group"])
def test_worker_processes_are_driven_from_a_loop_as_well(mode):
    @action
    async def works(initial_context):
        await asyncio.sleep(0)
        return initial_context.storage * 2

    async def main():
        with DotFlow(name="async") as workflow:
            for n in range(4):
                workflow.task.add(works, initial_context=n)
            (await workflow.start_async(mode, max_workers=2)).raise_for_status()
            return workflow.result_storage()

    assert asyncio.run(main()) == [0, 2, 4, 6]


def test_two_runs_on_one_loop_at_the_same_time():
    async def main():
        arrived = [asyncio.Event(), asyncio.Event()]

        def meets(mine, other):
            @action
            async def step():
                arrived[mine].set()
                await arrived[other].wait()

            return step

        return await asyncio.gather(workflow_of(meets(0, 1)).start_async(), workflow_of(meets(1, 0)).start_async())

    assert [run.status for run in asyncio.run(main())] == [TypeStatus.COMPLETED] * 2


def test_the_span_is_current_in_an_async_step_on_the_callers_loop():
    with OtlpEndpoint() as endpoint:
        tracer = TracerOpenTelemetry(endpoint=endpoint.url)

        @action
        async def inner():
            with tracer.provider.get_tracer("mine").start_as_current_span("mine"):
                await asyncio.sleep(0)

        with workflow_of(inner, inner, tracer=tracer) as workflow:
            asyncio.run(workflow.start_async("parallel", executor="thread")).raise_for_status()
        tasks = {span.span_id for span in endpoint.named("task inner")}
        assert len(tasks) == 2
        assert {span.parent_id for span in endpoint.named("mine")} == tasks


def test_the_traceback_of_an_async_step_is_the_users_alone():
    @action
    async def fails():
        raise ValueError("no good")

    run = asyncio.run(workflow_of(fails).start_async())
    lines = run.tasks[0].error.traceback.splitlines()
    assert [line.split(", in ")[1] for line in lines if line.startswith("  File")] == ["fails"]
