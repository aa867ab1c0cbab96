"""A context is generic for type checkers, and costs nothing for that."""

from __future__ import annotations

import pickle

from dotflow import Context, DotFlow, action


def test_it_can_be_subscripted_wherever_python_looks_at_annotations():
    made = Context[int](5)
    assert type(made) is Context
    assert made == Context(5)
    assert not hasattr(made, "__dict__")


def test_a_pickle_of_it_is_as_before():
    copy = pickle.loads(pickle.dumps(Context[int](5, task_id="a")))
    assert (copy.storage, copy.task_id) == (5, "a")


def test_a_step_may_name_the_type_of_its_contexts():
    @action
    def double(initial_context: Context[int], previous_context: Context[int | None]) -> int:
        return initial_context.storage * 2 + (previous_context.storage or 0)

    workflow = DotFlow()
    workflow.task.add([double, double], initial_context=4)
    workflow.start().raise_for_status()
    assert workflow.result_storage() == [8, 16]


def test_a_copy_has_all_that_a_context_has():
    made = Context(5, task_id="a", workflow_id="w", time=1, origin="r")
    made._pickled = object()
    copy = made.copy()
    assert {name: getattr(copy, name) for name in Context.__slots__} == {
        **{name: getattr(made, name) for name in Context.__slots__},
        "_pickled": None,
    }
