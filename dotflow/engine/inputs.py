"""What a node's attempts are given: where its parents' values are, and what is known of the task."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.model.context import Context, Pickled
from dotflow.model.current import Current, SentFacts, end_of, end_of_family
from dotflow.model.wiring import HANDLERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dotflow.engine.graph import Items, Node
    from dotflow.executors.inputs import Source
    from dotflow.model.current import Known, ParentEnd
    from dotflow.model.run import Run
    from dotflow.model.task import InnerRun, Task
    from dotflow.model.wiring import Parent

__all__ = ["NodeFacts", "constant", "inputs_of", "value_of"]

_NO_ITEMS: Mapping[str, Context] = MappingProxyType({})
_EMPTY = Context()  # never handed to a step: what an attempt gets is a copy


def value_of(task: Task) -> Context:
    """What others get of a task: its value, of a class step the list of its methods' values."""
    context = task.current_context
    return context if not task.spec.is_class else Context([each.storage for each in context.storage])


def inputs_of(node: Node) -> tuple[Source, dict[str, Source] | None]:
    """What the node's step gets as its previous context, and by the names of its other parameters."""
    task = node.task
    parents = node.parents
    if not node.edges and not node.fillings and node.owner is None and node.when not in HANDLERS and len(parents) <= 1:
        if not parents:
            return _EMPTY, None
        before = parents[0].task.current_context  # with contexts in it, if the one before is a class
        task._previous_context = before  # noqa: SLF001 - the engine is the one writer of a task
        return before if task.spec.wants_previous else _EMPTY, None
    plan = node.owner or node
    given = _given(node)
    return _previous(node, plan, given), _arguments(plan, given) if plan.fillings else None


def _given(node: Node) -> Mapping[str, Context]:
    """The items of an item, by the labels of the parents that they are of."""
    if node.owner is None:
        return _NO_ITEMS
    given = dict(node.given)
    along = iter(node.parents)
    for parent, _ in node.owner.each_edges():
        if parent.is_mapped:
            given[parent.label] = next(along).value or _EMPTY
    return given


def _previous(node: Node, plan: Node, given: Mapping[str, Context]) -> Source:
    task, wiring = node.task, plan.task.wiring
    edges = plan.edges
    if not edges and plan.parents:  # a handler behind all tasks of its group, by their ids
        if not task.spec.wants_previous:
            return _EMPTY
        values = {parent.task.task_id: parent.value or _EMPTY for parent in plan.parents}
        task._previous_context = Context({name: value.storage for name, value in values.items()})  # noqa: SLF001
        return values
    if not edges:
        return _EMPTY
    is_single = wiring.is_single or (wiring.after is None and not wiring.is_handler)
    if is_single:
        parent, nodes = edges[0]
        source = _value(parent, nodes, given)
        if wiring.after is None and not given:
            source = nodes[0].task.current_context
        if type(source) is Context:
            task._previous_context = source  # noqa: SLF001
        elif task.spec.wants_previous:
            task._previous_context = Context([each.storage for each in source])  # noqa: SLF001
        return source if task.spec.wants_previous else _EMPTY
    if not task.spec.wants_previous:
        return _EMPTY
    values = {parent.label: _value(parent, nodes, given) for parent, nodes in edges}
    task._previous_context = Context({name: _raw(source) for name, source in values.items()})  # noqa: SLF001
    return values


def _arguments(plan: Node, given: Mapping[str, Context]) -> dict[str, Source] | None:
    found: dict[str, Source] = {}
    for filling in plan.fillings:
        parent = filling.parent
        if parent is None:
            if filling.has_value:
                found[filling.parameter] = constant(plan, filling.parameter, filling.value)
            continue
        nodes = next(nodes for edge, nodes in plan.edges if edge is parent)
        if parent.label not in given and not parent.is_family and nodes[0].value is None and filling.has_default:
            continue
        found[filling.parameter] = _value(parent, nodes, given)
    return found or None


def _value(parent: Parent, nodes: tuple[Node, ...], given: Mapping[str, Context]) -> Source:
    if parent.label in given:
        return given[parent.label]
    if parent.is_family:
        return [node.value or _EMPTY for node in nodes]
    return nodes[0].value or _EMPTY


def constant(plan: Node, name: str, value: Any) -> Context:
    """One context for all items of a mapped task, so that it is pickled once."""
    if plan.items is None:
        return Context(value)
    found = plan.items.constants.get(name)
    if found is None:
        found = plan.items.constants[name] = Context(value)
        found._pickled = Pickled(len(plan.items.nodes))  # noqa: SLF001
    return found


def _raw(source: Source) -> Any:
    return [each.storage for each in source] if isinstance(source, list) else source.storage


class NodeFacts:
    """What `current()` tells in the process of the coordinator; as a pickle, what it tells in others."""

    __slots__ = ("_node", "_run")

    def __init__(self, run: Run, node: Node) -> None:
        self._run = run
        self._node = node

    @property
    def resumes(self) -> bool:
        """Whether the run takes over what an earlier one has finished."""
        return self._run.resumes

    def note(self, run: InnerRun) -> None:
        """The step starts a run, or its record takes its place: it belongs to the task."""
        runs = self._node.task.inner_runs
        for place in range(len(runs) - 1, -1, -1):
            if runs[place].run_id == run.run_id:
                runs[place] = run
                return
        runs.append(run)

    def current(self, attempt: int) -> Current:
        """What is known of the task, with how its parents ended."""
        return Current(*self._known(), attempt, MappingProxyType(dict(self._ends())))

    def _known(self) -> Known:
        run, task = self._run, self._node.task
        return (
            *(run.workflow_id, run.workflow_name, run.run_id, run.trace_id, run.trigger),
            *(task.task_id, task.name, task.group_name),
        )

    def _ends(self) -> Iterable[tuple[str, ParentEnd]]:
        return ((label, _end(label, parent)) for label, parent in _parents(self._node))

    def __reduce__(self) -> tuple[Any, ...]:
        ends = tuple((label, _sent_end(label, parent)) for label, parent in _parents(self._node))
        return SentFacts, (self._known(), ends, self._run.resumes)


class _Told(NamedTuple):
    """A parent, or the item of it that an item goes along with. `kept`: where its end is remembered, as it has many parts."""

    name: str
    nodes: tuple[Node, ...]
    is_family: bool = False
    kept: Items | None = None


def _parents(node: Node) -> Iterable[tuple[str, _Told]]:
    """The parents by their labels; of an item those of its task, but the item that it goes along with for a mapped one."""
    plan = node.owner or node
    if not plan.edges:
        several = plan.task.wiring.is_handler
        for parent in plan.parents:
            task = parent.task
            yield task.task_id if several else task.name, _Told(task.name, (parent,), kept=parent.items)
    along = {}
    if node.owner is not None:
        over = [edge for edge, _ in plan.each_edges() if edge.is_mapped]
        along = {id(edge): parent for edge, parent in zip(over, node.parents, strict=True)}
    for edge, nodes in plan.edges:
        item = along.get(id(edge))
        if item is not None:
            yield edge.label, _Told(edge.name, (item,))
        elif edge.is_family:
            yield edge.label, _Told(edge.name, nodes, is_family=True, kept=plan.items)
        else:
            yield edge.label, _Told(edge.name, nodes, kept=nodes[0].items)


def _end(label: str, parent: _Told) -> ParentEnd:
    key = label, parent.is_family
    found = parent.kept.ends.get(key) if parent.kept is not None else None
    if found is None:
        tasks = [node.task for node in parent.nodes]
        found = end_of_family(parent.name, tasks) if parent.is_family else end_of(parent.name, tasks[0])
        if parent.kept is not None:
            parent.kept.ends[key] = found
    return found


def _sent_end(label: str, parent: _Told) -> ParentEnd | bytes:
    import pickle  # here, because only what is sent to other processes needs it

    if parent.kept is None:
        end = _end(label, parent)
        return pickle.dumps(end) if end.items else end
    key = label, parent.is_family
    found = parent.kept.sent_ends.get(key)
    if found is None:
        found = parent.kept.sent_ends[key] = pickle.dumps(_end(label, parent))
    return found
