"""A class as a step: one instance an attempt, its marked methods in order."""

from __future__ import annotations

import asyncio

import pytest

from dotflow import Context, DotFlow, action
from dotflow.errors import InvalidOption, MissingActionDecorator


def values_of(*steps, initial=None):
    """What the steps produce, run one after another in a workflow."""
    workflow = DotFlow(name="steps")
    workflow.task.add(step=list(steps), initial_context=initial)
    workflow.start().raise_for_status()
    return workflow.result_storage()


@action
class Report:
    def __init__(self, initial_context):
        self.log = ["init"]
        self.start = initial_context.storage

    @action
    def first(self, previous_context):
        self.log.append("first")
        return self.start, previous_context.storage

    def helper(self):
        self.log.append("helper")

    @action
    async def second(self, previous_context):
        await asyncio.sleep(0)
        self.log.append("second")
        return previous_context.storage

    @staticmethod
    @action
    def third(initial_context):
        return initial_context.storage

    @classmethod
    @action
    def fourth(cls, previous_context):
        return cls.__name__, previous_context.storage

    @action
    def log_of_it(self):
        return self.log


def test_a_class_runs_its_action_methods_in_order_and_no_others():
    workflow = DotFlow(name="steps")
    workflow.task.add(step=[action(lambda: "before"), Report], initial_context="i")
    workflow.start().raise_for_status()
    contexts = workflow.result_storage()[1]
    assert [type(context) for context in contexts] == [Context] * 5
    assert [context.storage for context in contexts] == [
        ("i", "before"),
        ("i", "before"),
        "i",
        ("Report", "i"),
        ["init", "first", "second"],
    ]
    assert {context.task_id for context in contexts} == {"Report"}


def test_a_class_called_directly_is_a_class():
    report = Report(Context("i"))
    assert report.first(Context("p")) == ("i", "p")
    assert report.helper() is None
    assert report.log == ["init", "first", "helper"]


def test_a_subclass_or_an_instance_of_a_class_step_is_no_step():
    class Child(Report):
        pass

    class Callable_:  # noqa: N801
        @action
        def method(self):
            return 1

        def __call__(self):
            return 2

    action(Callable_)
    for wrong in (Child, Callable_()):
        with pytest.raises(MissingActionDecorator):
            DotFlow(name="steps").task.add(step=wrong)


def test_a_decorated_subclass_runs_the_methods_of_its_base_first_and_its_own_versions():
    class Base:
        @action
        def one(self):
            return "base"

        @action
        def two(self):
            return "base"

    @action
    class Child(Base):
        @action
        def three(self):
            return "child"

        @action
        def one(self):
            return "child"

        def two(self):
            raise AssertionError("no longer marked")

    (contexts,) = values_of(Child)
    assert [context.storage for context in contexts] == ["child", "child"]


def test_marking_a_class_again_leaves_the_first_alone():
    again = action(retry=2)(Report)
    workflow = DotFlow(name="steps")
    workflow.task.add(step=[Report, again], initial_context="i")
    assert [entry["retry"] for entry in workflow.task.schema()["tasks"]] == [1, 2]
    assert issubclass(again, Report)
    workflow.start().raise_for_status()


def test_a_class_is_retried_as_a_whole():
    made = []

    @action(retry=2)
    class Flaky:
        def __init__(self):
            made.append(self)

        @action
        def one(self):
            return len(made)

        @action
        def two(self, previous_context):
            if len(made) == 1:
                raise ConnectionError
            return previous_context.storage

    (contexts,) = values_of(Flaky)
    assert [context.storage for context in contexts] == [2, 2]


def test_the_method_of_a_class_has_no_options_of_its_own():
    with pytest.raises(InvalidOption, match=r"Retrying\.method.*@action of the class"):

        @action
        class Retrying:
            @action(retry=2)
            def method(self):
                return 1


def test_an_async_class_runs_inside_a_running_loop():
    async def application():
        return values_of(Report, initial="i")

    ((first, *_),) = asyncio.run(application())
    assert first.storage == ("i", None)
