"""A step is looked at once for all of its tasks, never taken for another, and kept by nobody but those who have it."""

from __future__ import annotations

import functools
import gc
import weakref

import pytest

from dotflow import Context, DotFlow, action
from dotflow.errors import MissingActionDecorator, StepSignatureError
from dotflow.model import step as looked_at
from dotflow.model.step import Step


@action
def plain(initial_context):
    return initial_context.storage


@action
class Several:
    @action
    def first(self):
        return 1

    @action
    def second(self, previous_context):
        return previous_context.storage + 1


class Adder:
    def __init__(self, number):
        self.number = number

    @action
    def add(self, initial_context):
        return initial_context.storage + self.number

    def __call__(self):
        return self.number


KINDS = {
    "function": plain,
    "lambda": action(lambda: 1),
    "class": Several,
    "partial": action(functools.partial(plain, initial_context=Context(1))),
    "callable instance": action(Adder(1)),
    "bound method": Adder(1).add,
    "stand-in for a builtin": action(locals),
}


def values_of(*steps, initial=None):
    workflow = DotFlow(name="looked at")
    workflow.task.add(step=list(steps), initial_context=initial)
    workflow.start().raise_for_status()
    return workflow.result_storage()


@pytest.mark.parametrize("step", KINDS.values(), ids=KINDS)
def test_the_tasks_of_a_step_share_what_was_found(step):
    workflow = DotFlow(name="looked at")
    workflow.task.add(step=[step, step]).add(step)
    first, *others = (task.spec for task in workflow.task)
    assert all(other is first for other in others)
    assert first.source == step


def test_bound_methods_share_what_was_found_by_object_and_function():
    one, two = Adder(1), Adder(2)
    kept = Step.of(one.add)
    assert Step.of(one.add) is kept
    assert Step.of(two.add) is not kept
    assert values_of(one.add, two.add, one.add, initial=10) == [11, 12, 11]


def test_objects_that_are_equal_are_not_one_step():
    class Equal:
        def __init__(self, value):
            self.value = value

        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 0

        def __call__(self):
            return self.value

    assert values_of(*(action(Equal(number)) for number in range(4))) == [0, 1, 2, 3]


def test_steps_made_in_a_loop_are_told_apart_also_where_one_takes_the_place_of_another():
    steps = [action(lambda number=number: number) for number in range(5)]
    assert values_of(*steps, *steps) == [*range(5), *range(5)]
    for number in range(200):  # each is gone before the next is made, which then has the same id more often than not
        assert values_of(action(functools.partial(lambda n: n, number))) == [number]


def test_what_copies_the_attributes_of_a_step_is_looked_at_itself():
    Step.of(plain)

    @functools.wraps(plain)
    def wrapper(previous_context):
        return previous_context.storage

    del wrapper.__wrapped__  # which `inspect.signature` would follow
    kept = Step.of(plain)
    assert (kept.call.wants_initial, kept.call.wants_previous) == (True, False)
    found = Step.of(wrapper)
    assert (found.call.wants_initial, found.call.wants_previous) == (False, True)


def test_nobody_keeps_a_step_alive_and_nothing_of_it_stays():
    def make():
        @action
        def step():
            return 1

        return step

    gc.collect()
    before = len(looked_at._looks)
    workflow, step = DotFlow(name="looked at"), make()
    workflow.task.add(step).add(step)
    seen = weakref.ref(step)
    assert len(looked_at._looks) == before + 1
    del step
    workflow.task.clear()
    assert len(looked_at._looks) == before
    assert seen() is None, "without a cycle that only the garbage collector finds"


def test_a_step_that_knows_its_own_workflow_goes_with_it():
    workflow = DotFlow(name="looked at")
    step = action(Adder(workflow))
    workflow.task.add(step)
    seen = weakref.ref(step)
    del workflow, step
    gc.collect()
    assert seen() is None


def test_a_step_whose_code_a_notebook_has_replaced_is_looked_at_again():
    @action
    def step():
        return 1

    def newer(initial_context):
        return initial_context.storage

    kept = Step.of(step)
    step.__code__ = newer.__code__
    assert not kept.call.wants_initial
    assert values_of(step, initial=7) == [7]


def test_a_class_that_gets_another_method_is_looked_at_again():
    @action
    class Step_:  # noqa: N801
        @action
        def first(self):
            return 1

    kept = Step.of(Step_)
    Step_.second = action(lambda self: 2)
    assert [context.storage for context in values_of(Step_)[0]] == [1, 2]
    assert len(kept.methods) == 1


def test_a_step_that_lost_its_mark_is_none_any_more():
    @action
    def step():
        return 1

    kept = Step.of(step)
    step.__dict__.clear()
    with pytest.raises(MissingActionDecorator):
        Step.of(step)
    assert kept.source is step


def test_what_was_refused_is_refused_again():
    @action
    def step(rows, /):
        return rows

    for _ in range(2):
        with pytest.raises(StepSignatureError):
            Step.of(step)
