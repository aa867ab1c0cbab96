"""The graph of a run: which task waits for which, how many run at once, and what each is given."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final

from dotflow.errors import StepSignatureError
from dotflow.model.binding import NO_PARENT, NONE_IMPLIED, bind
from dotflow.model.modes import PARALLEL
from dotflow.model.status import TypeResult
from dotflow.model.wiring import ANY, FAILURE, HANDLERS, SUCCESS, UNWIRED, Parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dotflow.model.binding import Filling
    from dotflow.model.context import Context
    from dotflow.model.current import ParentEnd
    from dotflow.model.task import Task

__all__ = [
    "FAILED",
    "NOT_STARTED",
    "RUN",
    "SKIPPED",
    "WELL",
    "Graph",
    "Items",
    "Line",
    "Node",
    "Scope",
    "build",
    "decide",
]

_ITEMS: Final = 1 << 20  # more than a task may have

WELL: Final = "well"
SKIPPED: Final = "skipped"
FAILED: Final = "failed"

RUN: Final = "run"
NOT_STARTED: Final = "not started"
UPSTREAM_FAILED: Final = TypeResult.UPSTREAM_FAILED.value
SKIP: Final = TypeResult.SKIP.value


def decide(when: str, parents: Sequence[str], required: Sequence[str], *, stopped: bool, after_handlers: bool) -> str:
    """What becomes of a task whose parents have all ended, or will not run any more.

    `parents` is how each ended, `required` the same of those that fill a parameter without a default. `stopped`: something
    has failed, and the run does not keep going. `after_handlers`: all parents ran because of `failure` or `always`, or follow
    only such.
    """
    failed = FAILED in parents
    if when == SUCCESS:
        runs = all(parent == WELL for parent in parents)
    elif when == ANY:
        runs = not failed and WELL in parents and all(parent == WELL for parent in required)
    else:
        runs = failed or when != FAILURE
    if stopped and when not in HANDLERS and not after_handlers:
        return UPSTREAM_FAILED if failed else NOT_STARTED
    if runs:
        return RUN
    return UPSTREAM_FAILED if failed and when != FAILURE else SKIP


class Scope:
    """How far a failure reaches: the tasks of a group, or the items of a mapped task."""

    __slots__ = ("stopped",)

    def __init__(self) -> None:
        self.stopped = False


class Line:
    """Tasks of which one runs at a time, retries and waits included; of those that could, the one that was added first."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = False
        self.waiting: list[Node] = []

    def enter(self, node: Node) -> bool:
        """A task is ready: whether it may go on at once."""
        if self.busy:
            heapq.heappush(self.waiting, node)
            return False
        self.busy = True
        return True

    def leave(self) -> Node | None:
        """The task that was at the head has ended: the next one, if there is any."""
        if self.waiting:
            return heapq.heappop(self.waiting)
        self.busy = False
        return None


class Items:
    """What only a mapped task has: its items, how many have not ended, and the mapped tasks that go along with them.

    `constants` are the values of parameters that all items get alike. `ends` and `sent_ends` are what `current()` tells of
    this task, by the label it has for another, and of the families that its items come after: made once, not for each. So are
    `basis`, `follows_new` (what the results of all items are made of, and whether anything of that is new) and `identity`.
    """

    __slots__ = (
        "basis",
        "constants",
        "ends",
        "followers",
        "follows_new",
        "identity",
        "left",
        "nodes",
        "opened",
        "sent_ends",
    )

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.left = 0
        self.opened = False
        self.followers: list[Node] = []
        self.constants: dict[str, Context] = {}
        self.ends: dict[tuple[str, bool], ParentEnd] = {}
        self.sent_ends: dict[tuple[str, bool], bytes] = {}
        self.basis: str | None = None
        self.follows_new: bool | None = None
        self.identity: str | None = None


class Node:
    """A task, or an item of a mapped one, in the graph of its run.

    It waits for `waiting` others. `ending` is None until it has ended, or will not run any more. `edges` are its parents as
    they were named, `fillings` what the parameters of its step get; both are empty where there is nothing to look up.
    `child` waits for it, and so do `more_children`: most have one, and a list for each is a fourth more to be kept.
    """

    __slots__ = (
        *("after_handlers", "child", "edges", "ending", "entered", "fillings", "given", "has_run", "items", "line"),
        *(
            "more_children",
            "order",
            "orders_only",
            "owner",
            "parents",
            "scope",
            "started_monotonic_ns",
            "task",
            "value",
            "waiting",
            "when",
        ),
    )

    def __init__(self, task: Task, order: int, scope: Scope, line: Line | None) -> None:
        self.given: Mapping[str, Context]  # of an item: its items, by the labels of the parents that they are of
        self.started_monotonic_ns: int  # from when it has started
        self.task = task
        self.order = order
        self.scope = scope
        self.line = line
        self.when = task.wiring.when
        self.waiting = 0
        self.parents: tuple[Node, ...] = ()
        self.child: Node | None = None
        self.more_children: Sequence[Node] = ()
        self.ending: str | None = None
        self.has_run = self.entered = self.after_handlers = self.orders_only = False
        self.edges: tuple[tuple[Parent, tuple[Node, ...]], ...] = ()
        self.fillings: Sequence[Filling] = ()
        self.value: Context | None = None
        self.items: Items | None = None
        self.owner: Node | None = None

    @property
    def is_exempt(self) -> bool:
        """Whether it starts although something has failed."""
        return self.when in HANDLERS or self.after_handlers

    @property
    def leads_handlers(self) -> bool:
        """Whether a task that follows only such as this one starts although something has failed."""
        return self.after_handlers or (self.has_run and self.when in HANDLERS)

    def item(self, task: Task, number: int, scope: Scope, given: Mapping[str, Context]) -> Node:
        """An item of this task, which is mapped."""
        node = Node(task, self.order + 1 + number, scope, self.line)
        node.owner, node.given = self, given
        return node

    def follow(self, parents: tuple[Node, ...]) -> None:
        """Make these its parents, and wait for those that have not ended yet."""
        self.parents = parents
        for parent in parents:
            if parent.ending is not None:
                continue
            if parent.child is None:
                parent.child = self
            elif isinstance(parent.more_children, list):
                parent.more_children.append(self)
            else:
                parent.more_children = [self]
            self.waiting += 1

    def along(self) -> list[Node]:
        """The mapped parents whose items its own go along with, one by one."""
        return [nodes[0] for parent, nodes in self.each_edges() if parent.is_mapped]

    def all_parents(self) -> Sequence[Node]:
        """The parents, those included whose items its own go along with."""
        if self.items is None:
            return self.parents
        return list(dict.fromkeys(parent for _, parents in self.edges for parent in parents))

    def each_edges(self) -> list[tuple[Parent, tuple[Node, ...]]]:
        """The parents whose values it runs over."""
        labels = self.task.wiring.each
        if labels is None:
            return []
        if not labels:
            return list(self.edges)
        by_name = {edge[0].name: edge for edge in self.edges} | {edge[0].label: edge for edge in self.edges}
        return [by_name[label] for label in labels if label in by_name]  # `_check_each` refuses one that is missing

    def __lt__(self, other: Node) -> bool:
        return self.order < other.order


class Graph:
    """The nodes of a run in the order they were added, and how many lines of them run side by side."""

    def __init__(self, nodes: list[Node], lines: int) -> None:
        self.nodes = nodes
        self.lines = lines


class _Group:
    __slots__ = ("last", "line", "members", "scope")

    def __init__(self, line: Line | None) -> None:
        self.scope = Scope()
        self.line = line
        self.members: list[Node] = []
        self.last: Node | None = None

    def add(self, node: Node) -> None:
        self.members.append(node)
        if node.when not in HANDLERS:
            self.last = node


def build(
    tasks: Sequence[Task],
    mode: str,
    params: Mapping[str, Any] | None = None,
    *,
    keep_going: bool = False,
    binds: bool = True,
) -> Graph:
    """The graph of a run: the edges that tasks name, or those that the mode implies; each task is told its parents.

    Without `binds` it is only looked at: nothing has to fill the parameters.

    Raises:
        StepSignatureError: naming everything that is wrong: a parameter that nothing fills, a key of `params` that no task
            takes, a task that does not say what it comes after where others do.
    """
    wirings = [task.wiring for task in tasks if task.wiring is not UNWIRED]
    named = any(wiring.after is not None for wiring in wirings)
    follows = mode != PARALLEL
    only_line = Line() if named and follows else None
    without = NO_PARENT if named or follows else NONE_IMPLIED
    # Where each comes after the one before, no two of a group are ready at once: they need no line.
    takes_turns = follows and any(wiring.is_mapped or wiring.is_handler for wiring in wirings)
    groups: dict[str, _Group] = {}
    by_id: dict[str, Node] = {}
    nodes: list[Node] = []
    wrong: list[str] = []
    for number, task in enumerate(tasks):
        group = groups.get(task.group_name)
        if group is None:
            line = only_line if named else Line() if takes_turns else None
            group = groups[task.group_name] = _Group(line)
        node = Node(task, number * _ITEMS, group.scope, group.line)
        if task.wiring is not UNWIRED and task.wiring.each is not None:
            node.items = Items()
        nodes.append(node)
        try:
            if task.wiring is not UNWIRED or named:
                by_id[task.task_id] = node
                _connect(node, group, by_id, follows=follows, is_graph=named)
                task.parents = tuple([parent.task for parent in node.all_parents()])
            elif follows and group.last is not None:  # nothing else can concern it
                node.follow((group.last,))
                task._parents = group.last.task  # noqa: SLF001 - the engine is the one writer of a task
            if binds and (task.spec.parameters or task.spec.takes_rest):
                _fill(node, params or {}, without)
        except StepSignatureError as error:
            wrong.append(str(error))
        group.add(node)
    if keep_going and not named:
        _only_order(nodes)
    wrong += _not_taken(nodes, params or {})
    if wrong:
        raise StepSignatureError("\n".join(wrong))
    lines = len(tasks) if mode == PARALLEL else 1 if named else len(groups)
    return Graph(nodes, lines)


def _fill(node: Node, params: Mapping[str, Any], without: str) -> None:
    """What the parameters of its step get."""
    node.fillings = bind(node.task, [parent for parent, _ in _edges(node)], params, without=without)
    _check_any(node)


def _only_order(nodes: Sequence[Node]) -> None:
    """Where the run keeps going, a task that takes nothing of the one before it runs although that failed."""
    for node in nodes:
        if node.parents and node.when not in HANDLERS:
            node.orders_only = not _takes_from(node)


def _connect(node: Node, group: _Group, by_id: Mapping[str, Node], *, follows: bool, is_graph: bool) -> None:
    wiring = node.task.wiring
    if wiring.after is not None:
        _name(node, wiring.after, by_id)
    elif wiring.is_handler:
        node.follow(tuple(group.members))
    elif is_graph and group.last is not None:
        raise StepSignatureError(
            f"task {node.task.task_id!r} does not say what it comes after, as others of this workflow do: name its parents "
            "with after=, or after=[] for none"
        )
    elif follows and group.last is not None:
        _follow(node, group.last)
    if wiring.when != SUCCESS and not node.waiting:
        raise StepSignatureError(
            f"task {node.task.task_id!r} with when={wiring.when!r} has no parent whose end it could look at: name some with "
            "after="
        )
    if wiring.each is not None:
        _check_each(node)


def _name(node: Node, after: Sequence[Parent], by_id: Mapping[str, Node]) -> None:
    """The parents that a task has named; it waits for a mapped one that it goes along with only until that has its items."""
    node.edges = tuple([(parent, tuple([by_id[task.task_id] for task in parent.tasks])) for parent in after])
    if node.items is None and len(node.edges) == 1:  # as in a chain: nothing to go along with, nobody named twice
        node.follow(node.edges[0][1])
        return
    over = {id(parent) for parent, _ in node.each_edges() if parent.is_mapped}  # as a whole it may be named too
    for parent in dict.fromkeys(node.along()):
        if parent.items is not None:
            parent.items.followers.append(node)
            node.waiting += 1
    node.follow(tuple(dict.fromkeys(each for named, nodes in node.edges if id(named) not in over for each in nodes)))


def _follow(node: Node, before: Node) -> None:
    """The parent that the mode implies."""
    if node.items is not None:
        _name(node, (Parent(before.task.name, before.task.name, (before.task,)),), {before.task.task_id: before})
    else:
        node.follow((before,))


def _check_each(node: Node) -> None:
    labels = node.task.wiring.each or ()
    _edges(node)
    if not labels and len(node.edges) != 1:
        raise StepSignatureError(
            f"task {node.task.task_id!r} with each=True has {len(node.edges)} parents: it runs over the value of one; name "
            "it with after="
        )
    known = {name for parent, _ in node.edges for name in (parent.name, parent.label)}
    for label in labels:
        if label not in known:
            raise StepSignatureError(
                f"task {node.task.task_id!r} with each={label!r} has no such parent; its parents: "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    if node.task.wiring.item_key is not None and node.along():
        raise StepSignatureError(
            f"key= of task {node.task.task_id!r}: it goes item by item over the mapped task "
            f"{node.along()[0].task.task_id!r}, and has its keys"
        )


def _edges(node: Node) -> tuple[tuple[Parent, tuple[Node, ...]], ...]:
    """The parents as a task would have named them: those that its mode implies go by their ids."""
    if not node.edges and node.parents:
        several = len(node.parents) > 1 or node.task.wiring.is_handler
        node.edges = tuple(
            (Parent(p.task.task_id if several else p.task.name, p.task.name, (p.task,)), (p,)) for p in node.parents
        )
    return node.edges


def _takes_from(node: Node) -> bool:
    """Whether its step takes anything of the task before it."""
    return (
        node.task.spec.wants_previous
        or node.task.wiring.each is not None
        or any(filling.parent is not None for filling in node.fillings)
    )


def _check_any(node: Node) -> None:
    if node.when != ANY:
        return
    required = {
        id(filling.parent) for filling in node.fillings if filling.parent is not None and not filling.has_default
    }
    if node.edges and all(id(parent) in required for parent, _ in node.edges):
        raise StepSignatureError(
            f"task {node.task.task_id!r} with when='any' needs the value of each of its parents: give the parameters that may "
            "be missing a default"
        )


def _not_taken(nodes: Sequence[Node], params: Mapping[str, Any]) -> list[str]:
    """What is wrong with `start(params=)`: keys that no task takes."""
    taken: set[str] = set()
    for node in nodes if params else ():
        taken |= {parameter.name for parameter in node.task.spec.parameters}
        taken |= {filling.parameter for filling in node.fillings}
    known = f"there are {', '.join(sorted(taken))}" if taken else "no step has any"
    return [
        f"start(params={{{name!r}: …}}): no task has a parameter of that name; {known}"
        for name in params
        if name not in taken
    ]
