"""Workflows at random, and what must become of them: written from the rules, with nothing of the engine in it.

A `Plan` says what is added and how each step behaves. `judge` reads the events of a run in their order, as the coordinator
told them, and says what is not as the rules have it. `stopped` is so read from the events themselves: in a parallel mode it
depends on the moment, and the order of events is that of the moments.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass, field
from typing import Any

from dotflow import Config, DotFlow, Skip, action, current
from dotflow.abc.log import Log

HANDLERS = ("failure", "always")
OK, RAISES, SKIPS, FLAKY, HOPELESS = "ok", "raises", "skips", "flaky", "hopeless"
BEHAVIOURS = (OK, RAISES, SKIPS, FLAKY, HOPELESS)  # flaky: fails once, then ends well; hopeless: fails twice
DEFAULT = "the default"
PREVIOUS, ONLY = "previous_context", "only"


def decide(when: str, parents: list[str], required: list[str], stopped: bool, after_handlers: bool) -> str:
    failed = any(p == "failed" for p in parents)
    well = [p == "well" for p in parents]
    runs = {
        "success": all(well),
        "any": not failed and any(well) and all(p == "well" for p in required),
        "failure": failed,
        "always": True,
    }[when]
    if stopped and when in ("success", "any") and not after_handlers:
        return "upstream_failed" if failed else "not started"
    return "run" if runs else "upstream_failed" if failed and when != "failure" else "skip"


@dataclass
class Ref:
    """One parent: the tasks that it stands for, how `after` writes it, and by which label and name it is known."""

    members: list[int]
    written: Any  # a text, or the number of a task whose step is written
    label: str
    name: str
    is_family: bool = False


@dataclass
class Entry:
    """One call of `add`."""

    number: int
    name: str
    task_id: str
    group: str
    when: str = "success"
    key: str | None = None
    form: str = "implied"  # or single, list, dict
    refs: list[Ref] = field(default_factory=list)
    fills: dict[str, tuple[str, bool]] = field(default_factory=dict)  # parameter: label of the parent, has a default
    constant: int | None = None  # of the parameter `constant`
    wants_previous: bool = False
    each: list[str] | None = None
    each_written: Any = False
    behaviours: list[str] = field(default_factory=lambda: [OK])  # of an item: by its position


@dataclass
class Plan:
    """What is added, and how it is started."""

    entries: list[Entry]
    width: int
    keep_going: bool
    is_graph: bool
    start_constant: int | None = None


def value_of(task_id: str, attempt: int, got: Any) -> str:
    return f"{task_id}/{attempt}<{hashlib.md5(repr(got).encode(), usedforsecurity=False).hexdigest()[:8]}>"


def make_step(entry: Entry, plan: Plan, calls: list[Any] | None) -> Any:
    """The step of an entry; the members of a family have one for all of them, which looks at its id."""
    width = plan.width
    behaviours = {e.task_id: e.behaviours for e in plan.entries if e.name == entry.name}
    is_mapped = entry.each is not None

    def step(**given: Any) -> Any:
        now = current()
        assert now is not None
        got = seen(given, {name: str(end.result) for name, end in now.parents.items()})
        if calls is not None:
            calls.append((now.task_id, now.attempt, got))
        task_id, _, position = now.task_id.rpartition("[") if is_mapped else (now.task_id, "", "")
        mine = behaviours[task_id]
        does = mine[int(position[:-1]) % len(mine)] if is_mapped else mine[0]
        if does == SKIPS:
            raise Skip("nothing to do")
        if does in (RAISES, HOPELESS) or (does == FLAKY and now.attempt == 1):
            raise ValueError(f"{now.task_id} in attempt {now.attempt}")
        value = value_of(now.task_id, now.attempt, got)
        return value if is_mapped else [f"{value}#{number}" for number in range(width)]

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, kind, default=DEFAULT if has_default else inspect.Parameter.empty)
        for name, (_, has_default) in entry.fills.items()
    ]
    if entry.constant is not None:
        parameters.append(inspect.Parameter("constant", kind))
    if entry.wants_previous:
        parameters.append(inspect.Parameter(PREVIOUS, kind))
    step.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    step.__name__ = step.__qualname__ = f"step_{entry.number}"
    retries = any(b in (FLAKY, HOPELESS) for each in behaviours.values() for b in each)
    return action(retry=2)(step) if retries else action(step)


def seen(given: dict[str, Any], parents: dict[str, str]) -> Any:
    """What a step was given, as it is compared: a default that it was left with is not in it."""
    return sorted((name, value.storage if name == PREVIOUS else value) for name, value in given.items()), sorted(
        parents.items()
    )


def build(plan: Plan, *, calls: list[Any] | None, listeners: Any) -> DotFlow:
    """The workflow of a plan."""
    workflow = DotFlow(Config(listeners=listeners, log=Quiet()), name="random", workflow_id="random")
    steps: dict[int, Any] = {}
    families: dict[str, Any] = {}
    for entry in plan.entries:
        if entry.key is not None:
            step = families.setdefault(entry.name, None) or make_step(entry, plan, calls)
            families[entry.name] = step
        else:
            step = make_step(entry, plan, calls)
        steps[entry.number] = step
        options: dict[str, Any] = {}
        if entry.form != "implied":
            written = [steps[r.written] if isinstance(r.written, int) else r.written for r in entry.refs]
            options["after"] = {
                "single": lambda written=written: written[0],
                "list": lambda written=written: written,
                "dict": lambda entry=entry, written=written: {
                    r.label: w for r, w in zip(entry.refs, written, strict=True)
                },
            }[entry.form]()
        if entry.constant is not None:
            options["params"] = {"constant": entry.constant}
        if entry.key is not None:
            options["key"] = entry.key
        workflow.task.add(
            step, name=entry.name, group_name=entry.group, when=entry.when, each=entry.each_written, **options
        )
    return workflow


class Quiet(Log):
    """Says nothing of the failures that are meant to be."""

    def info(self, **kwargs: Any) -> None:
        """Nothing."""

    error = warning = debug = info


class Judge:
    """Reads the events of one run, and asserts that they are what may be."""

    def __init__(self, plan: Plan, mode: str, events: list[tuple[str, str, str, str]]) -> None:
        self.plan, self.mode, self.events = plan, mode, events
        self.entries = {e.task_id: e for e in plan.entries}
        self.refs = {e.number: self._refs(e) for e in plan.entries}
        self.started: set[str] = set()
        self.state: dict[str, str] = {}  # of what has ended or was skipped: well, skipped, failed
        self.ran: set[str] = set()
        self.values: dict[str, Any] = {}
        self.attempts: dict[str, int] = {}
        self.stopped: dict[str, str] = {}  # by group, and by mapped task: what stopped it
        self.items: dict[str, int] = {}
        self.ever = {task_id for kind, task_id, *_ in events if kind in ("TaskStarted", "TaskSkipped")}
        self.units: list[tuple[Entry, int | None, str]] = []

    # --- what the rules say of the parents

    def _refs(self, entry: Entry) -> list[Ref]:
        """The parents that are named, else those that the mode implies."""
        if entry.form != "implied":
            return entry.refs
        before = [e for e in self.plan.entries if e.group == entry.group and e.number < entry.number]
        if entry.when in HANDLERS:
            return [Ref([e.number], e.task_id, e.task_id, e.name) for e in before]
        before = [e for e in before if e.when not in HANDLERS]
        if self.mode == "parallel" or not before:
            return []
        return [Ref([before[-1].number], before[-1].name, before[-1].name, before[-1].name)]

    def parents(self, entry: Entry) -> list[Entry]:
        return [self.plan.entries[number] for ref in self.refs[entry.number] for number in ref.members]

    def along(self, entry: Entry) -> list[Entry]:
        """The mapped parents whose items its own go along with."""
        return [
            self.plan.entries[ref.members[0]]
            for ref in self.each_refs(entry)
            if not ref.is_family and self.plan.entries[ref.members[0]].each is not None
        ]

    def each_refs(self, entry: Entry) -> list[Ref]:
        if entry.each is None:
            return []
        return [ref for label in entry.each or [None] for ref in self.refs[entry.number] if label in (None, ref.label)]

    def after_handlers(self, entry: Entry) -> bool:
        parents = self.parents(entry)
        return bool(parents) and all(
            (p.task_id in self.ran and p.when in HANDLERS) or self.after_handlers(p) for p in parents
        )

    def exempt(self, entry: Entry) -> bool:
        return entry.when in HANDLERS or self.after_handlers(entry)

    def state_of(self, entry: Entry) -> str | None:
        """How a task has ended by now; None: it has not. What is not told of any more was not started after a stop."""
        found = self.state.get(entry.task_id)
        if found is None and entry.task_id not in self.ever and entry.group in self.stopped:
            dropped = not self.exempt(entry) and all(self.state_of(p) is not None for p in self.waits_for(entry))
            return "failed" if dropped else None
        return found

    def waits_for(self, entry: Entry) -> list[Entry]:
        """Those that must have ended; of those that it goes along with, if they have no items."""
        along = self.only_along(entry)
        return [p for p in self.parents(entry) if p not in along]

    def only_along(self, entry: Entry) -> list[Entry]:
        """Those that have their items by now, and are not named a second time, as a whole."""
        each = self.each_refs(entry)
        whole = [number for ref in self.refs[entry.number] if ref not in each for number in ref.members]
        return [p for p in self.along(entry) if p.task_id in self.items and p.number not in whole]

    def takes_from_before(self, entry: Entry) -> bool:
        return bool(entry.fills) or entry.wants_previous or entry.each is not None

    def decision(self, entry: Entry, *, stopped: bool) -> str:
        along = self.only_along(entry)
        ends: dict[int, str] = {}
        for parent in self.parents(entry):
            end = self.state_of(parent)
            if parent in along and not (stopped and end == "failed" and not self.exempt(entry)):
                end = "well"  # it goes item by item
            assert end is not None, f"{entry.task_id} was decided before {parent.task_id} had ended"
            ends[parent.number] = end
        goes_on = not self.plan.is_graph and self.plan.keep_going and entry.when not in HANDLERS
        if goes_on and not self.takes_from_before(entry):
            ends = {number: "well" if end == "failed" else end for number, end in ends.items()}
        required = [
            ends[number]
            for label, has_default in entry.fills.values()
            for ref in self.refs[entry.number]
            if not has_default and ref.label == label
            for number in ref.members
        ]
        return decide(entry.when, list(ends.values()), required, stopped, self.after_handlers(entry))

    # --- what a step is given

    def value(self, ref: Ref) -> Any:
        found = [self.values.get(self.plan.entries[number].task_id) for number in ref.members]
        return found if ref.is_family else found[0]

    def given(self, entry: Entry, item: int | None) -> Any:
        refs = self.refs[entry.number]
        each = self.each_refs(entry)
        along = self.along(entry)

        def of(ref: Ref) -> Any:
            value = self.value(ref)
            parent = self.plan.entries[ref.members[0]]
            if ref not in each or item is None:
                return value
            if parent in along:
                return self.values[f"{parent.task_id}[{item}]"]
            return value[item]

        got: dict[str, Any] = {}
        for parameter, (label, has_default) in entry.fills.items():
            (ref,) = [r for r in refs if r.label == label]
            value = of(ref)
            if value is not None or not has_default:
                got[parameter] = value
        if entry.constant is not None:
            start = self.plan.start_constant
            got["constant"] = entry.constant if start is None else start
        if entry.wants_previous:
            single = entry.form == "single" or (entry.form == "implied" and entry.when not in HANDLERS)
            got[PREVIOUS] = (of(refs[0]) if refs else None) if single else {r.label: of(r) for r in refs} or None
        ends = {}
        for ref in refs:
            parent = self.plan.entries[ref.members[0]]
            name = f"{parent.task_id}[{item}]" if parent in along else parent.task_id
            results = [self.result_of(self.plan.entries[number].task_id) for number in ref.members]
            worst = "failure" if "failure" in results else results[0]  # of a family
            ends[ref.label] = worst if ref.is_family else self.result_of(name)
        return sorted(got.items()), sorted(ends.items())

    def result_of(self, task_id: str) -> str:
        return next(
            (r for kind, i, _, r in self.events if i == task_id and kind in ("TaskEnded", "TaskSkipped")), "None"
        )

    # --- the events, one by one

    def read(self) -> None:
        for kind, task_id, status, result in self.events:
            owner, item = self._owner(task_id)
            if kind == "TaskSkipped":
                if item is None:
                    self._skipped(owner, result)
                else:
                    self._item_skipped(owner, item, result)
            elif kind == "TaskStarted":
                if item is None:
                    self._starts(owner)
                else:
                    self._item_starts(owner, item)
            elif kind == "AttemptStarted":
                self.attempts[task_id] = self.attempts.get(task_id, 0) + 1
            elif kind == "TaskEnded":
                self._ended(owner, item, status, result)

    def _owner(self, task_id: str) -> tuple[Entry, int | None]:
        if task_id in self.entries:
            return self.entries[task_id], None
        name, _, position = task_id.rpartition("[")
        assert self.entries[name].each is not None, f"{task_id} is an item of what has none"
        return self.entries[name], int(position[:-1])

    def _starts(self, entry: Entry) -> None:
        told = self.decision(entry, stopped=entry.group in self.stopped)
        assert told == "run", f"{entry.task_id} has started, but the rules say {told}"
        self._takes_its_turn(entry)
        self.started.add(entry.task_id)
        if entry.each is not None:
            count = self._count(entry)
            if count is not None:  # else it fails, and has no items
                self.items[entry.task_id] = count

    def _count(self, entry: Entry) -> int | None:
        lengths = set()
        for ref in self.each_refs(entry):
            parent = self.plan.entries[ref.members[0]]
            value = self.value(ref)
            lengths.add(self.items[parent.task_id] if parent in self.along(entry) else len(value))
        return lengths.pop() if len(lengths) == 1 else None

    def _takes_its_turn(self, entry: Entry, item: int | None = None) -> None:
        """In a sequential mode nothing else of its line is under way, and nothing behind it was before it."""
        if self.mode != "parallel":
            mine = [unit for unit in self.units if self.plan.is_graph or unit[0].group == entry.group]
            for other, number, name in mine:
                is_owner = other is entry and number is None
                assert is_owner or name in self.state, f"{entry.task_id} ({item}) has started while {name} was going on"
                is_before = (other.number, -1 if number is None else number) < (
                    entry.number,
                    -1 if item is None else item,
                )
                assert is_before, f"{entry.task_id} ({item}) has started after {name}"
        self.units.append((entry, item, entry.task_id if item is None else f"{entry.task_id}[{item}]"))

    def _item_stopped(self, entry: Entry) -> bool:
        return entry.task_id in self.stopped or (entry.group in self.stopped and not self.after_handlers(entry))

    def _item_decision(self, entry: Entry, item: int) -> str:
        ends = []
        for parent in self.along(entry):
            end = self.state.get(f"{parent.task_id}[{item}]")
            if end is None and f"{parent.task_id}[{item}]" not in self.ever and self._item_stopped(parent):
                end = "failed"
            assert end is not None, f"{entry.task_id}[{item}] was decided before the item of {parent.task_id} had ended"
            ends.append(end)
        return decide("success", ends, [], self._item_stopped(entry), after_handlers=False)

    def _item_starts(self, entry: Entry, item: int) -> None:
        assert entry.task_id in self.started, "an item has started before its task"
        assert item < self.items[entry.task_id], "there are more items than the value has"
        told = self._item_decision(entry, item)
        assert told == "run", f"{entry.task_id}[{item}] has started, but the rules say {told}"
        self._takes_its_turn(entry, item)

    def _skipped(self, entry: Entry, result: str) -> None:
        told = self.decision(entry, stopped=entry.group in self.stopped)
        assert told == result, f"{entry.task_id} was told to be {result}, but the rules say {told}"
        self.state[entry.task_id] = "skipped" if result == "skip" else "failed"

    def _item_skipped(self, entry: Entry, item: int, result: str) -> None:
        told = self._item_decision(entry, item)
        assert told == result, f"{entry.task_id}[{item}] was told to be {result}, but the rules say {told}"
        self.state[f"{entry.task_id}[{item}]"] = "skipped" if result == "skip" else "failed"

    def _ended(self, entry: Entry, item: int | None, status: str, result: str) -> None:
        if entry.each is not None and item is None:
            self._mapped_ended(entry, status, result)
            return
        task_id = entry.task_id if item is None else f"{entry.task_id}[{item}]"
        does = entry.behaviours[(item or 0) % len(entry.behaviours)]
        expected = {OK: "success", FLAKY: "success", SKIPS: "skip"}.get(does, "failure")
        assert result == expected, f"{task_id} {does}, and its result is {result}"
        assert status == ("Failed" if expected == "failure" else "Completed"), f"{task_id}: {status}"
        siblings = [b for e in self.plan.entries if e.name == entry.name for b in e.behaviours]
        retries = any(b in (FLAKY, HOPELESS) for b in siblings)
        attempts = 2 if does in (FLAKY, HOPELESS) or (does == RAISES and retries) else 1
        assert self.attempts[task_id] == attempts, f"{task_id} {does}, and had {self.attempts[task_id]} attempts"
        self.ran.add(task_id)
        self.state[task_id] = {"success": "well", "skip": "skipped"}.get(expected, "failed")
        if expected == "success":
            value = value_of(task_id, attempts, self.given(entry, item))
            self.values[task_id] = (
                value if item is not None else [f"{value}#{number}" for number in range(self.plan.width)]
            )
        elif expected == "failure" and not self.plan.keep_going:
            self.stopped.setdefault(entry.group, task_id)
            if item is not None:
                self.stopped.setdefault(entry.task_id, task_id)

    def _mapped_ended(self, entry: Entry, status: str, result: str) -> None:
        count = self.items.get(entry.task_id)
        ids = [f"{entry.task_id}[{number}]" for number in range(count or 0)]
        ends = []
        for number, name in enumerate(ids):
            end = self.state.get(name)
            if end is None:
                assert name not in self.ever, f"{entry.task_id} has ended before {name}"
                assert self._item_decision(entry, number) == "not started", f"{name} has not run"
                end = "failed"
            ends.append(end)
        expected = (
            "failure" if count is None or "failed" in ends else "skip" if ids and set(ends) == {"skipped"} else ""
        )
        assert result == (expected or "success"), f"{entry.task_id} is {result}, its items are {ends}"
        assert status == ("Failed" if expected == "failure" else "Completed"), f"{entry.task_id}: {status}"
        self.ran.add(entry.task_id)
        self.state[entry.task_id] = {"failure": "failed", "skip": "skipped"}.get(expected, "well")
        if count is not None and expected != "skip":
            self.values[entry.task_id] = [self.values.get(name) for name in ids]
        if expected == "failure" and not self.plan.keep_going:
            self.stopped.setdefault(entry.group, entry.task_id)

    # --- the whole

    def finish(self, run: Any, calls: list[Any] | None) -> None:
        """What is left when all events are read: what has not run, what tasks say, the shape of each one's events."""
        self._grammar()
        for entry, task in zip(self.plan.entries, run.tasks, strict=True):
            self._task(entry, task)
        failed = "failed" in {self.state.get(e.task_id) for e in self.plan.entries if e.task_id in self.ran}
        assert (str(run.status) == "Failed") == failed, f"the run is {run.status}"
        if calls is not None:
            told = sorted(i for kind, i, *_ in self.events if kind == "AttemptStarted")
            assert sorted(i for i, *_ in calls) == told, "steps were called otherwise than events say"

    def _task(self, entry: Entry, task: Any) -> None:
        if entry.task_id not in self.ever:
            self._dropped(entry)
            assert (str(task.status), task.result) == ("Not started", None)
        assert task.current_context.storage == self.values.get(entry.task_id), f"the value of {entry.task_id}"
        ids = [item.task_id for item in task.items or ()]
        assert ids == [f"{entry.task_id}[{number}]" for number in range(self.items.get(entry.task_id, 0))]

    def _dropped(self, entry: Entry) -> None:
        """It did not run and nobody was told why: a stop in its group, and it would have run or was not decided yet."""
        assert entry.group in self.stopped, f"{entry.task_id} did not run, and nothing had stopped it"
        assert self.state_of(entry) == "failed", f"{entry.task_id} was left out, and goes on after a stop"
        told = self.decision(entry, stopped=True)
        assert told == "not started", f"{entry.task_id} was left out without a word, but the rules say {told}"
        if self.mode == "parallel":
            return
        cause = self._owner(self.stopped[entry.group])[0]
        assert cause.number < entry.number, f"{entry.task_id} had its turn before {cause.task_id} failed"

    def _grammar(self) -> None:
        per_task: dict[str, list[str]] = {}
        for kind, task_id, *_ in self.events:
            per_task.setdefault(task_id, []).append(kind)
        for task_id, kinds in per_task.items():
            attempts = self.attempts.get(task_id, 0)
            tries = ["AttemptStarted", "AttemptEnded", "TaskRetrying"] * attempts
            ran = ["TaskQueued", "TaskStarted", *tries[:-1], "TaskEnded"]
            allowed = [["TaskSkipped"], ran] if task_id in self.ever else [["TaskQueued"]]
            assert kinds in allowed, f"the events of {task_id}: {kinds}"
