"""Graphs and lists at random, with steps that succeed, raise, skip or need a retry: each task runs exactly when the rules say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.random_graphs import BEHAVIOURS, OK, Entry, Judge, Plan, Ref, build

WHEN = ("success", "success", "success", "any", "failure", "always")
PLACES = (
    ("sequential", "inline"),
    ("sequential", "thread"),
    ("sequential_group", "thread"),
    ("background", "inline"),
    ("background", "thread"),
    ("parallel", "inline"),
    ("parallel", "thread"),
)
SETTINGS = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


class Drawing:
    """Makes a plan, entry by entry, of what Hypothesis draws."""

    def __init__(self, draw: Any, *, is_graph: bool, mode: str) -> None:
        self.draw = draw
        self.is_graph, self.mode = is_graph, mode
        self.entries: list[Entry] = []
        self.frozen: set[str] = set()
        self.ids: set[str] = set()

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self, times: int) -> bool:
        return self.draw(st.integers(0, times - 1)) == 0

    def plan(self) -> Plan:
        for number in range(self.draw(st.integers(1, 8))):
            self.entries.append(self.entry(number))
        start = 1000 if self.chance(4) and any(e.constant is not None for e in self.entries) else None
        return Plan(self.entries, self.draw(st.integers(0, 3)), self.draw(st.booleans()), self.is_graph, start)

    def entry(self, number: int) -> Entry:
        name, task_id, key = self.name(number)
        entry = Entry(number, name, task_id, self.one_of("default", "default", "other"), key=key)
        entry.when = "success" if key is not None and self.chance(2) else self.one_of(*WHEN)
        refs = self.parents(entry)
        if not refs:
            entry.when = "success"
            refs = self.parents(entry) if not self.is_graph else refs
        entry.behaviours = [OK if self.chance(2) else self.one_of(*BEHAVIOURS)]
        if refs and entry.when == "success" and key is None and self.chance(3):
            self.map(entry, refs)
        self.fill(entry, refs)
        return entry

    def name(self, number: int) -> tuple[str, str, str | None]:
        if self.is_graph and "fam" not in self.frozen and self.chance(4):
            return "fam", f"fam[k{number}]", f"k{number}"
        if self.chance(5):  # one of several tasks of this name
            count = sum(e.name == "dup" for e in self.entries)
            return "dup", f"dup-{count + 1}" if count else "dup", None
        return f"t{number}", f"t{number}", None

    def parents(self, entry: Entry) -> list[Ref]:
        """Those that it names, or that its mode implies."""
        if not self.is_graph:
            before = [e for e in self.entries if e.group == entry.group]
            if entry.when in ("failure", "always"):
                return [Ref([e.number], e.task_id, e.task_id, e.name) for e in before]
            before = [e for e in before if e.when not in ("failure", "always")]
            if not before or self.mode == "parallel":
                return []
            return [Ref([before[-1].number], before[-1].name, before[-1].name, before[-1].name)]
        if all(e.group != entry.group for e in self.entries) and self.chance(3):
            return []  # the first of its group need not say
        count = self.form(entry)
        refs: list[Ref] = []
        for _ in range(count):
            ref = self.ref(entry)
            if ref is None:
                continue
            if entry.form == "dict":
                is_own = entry.key is not None or self.chance(3)  # which only orders, unless a parameter has that name
                ref.label = ref.name if is_own else f"p{len(refs)}"
                if any(other.label == ref.label for other in refs):
                    continue
            elif any(other.name == ref.name for other in refs):
                continue
            refs.append(ref)
        if entry.form == "single" and not refs:
            entry.form = "list"
        for ref in refs:
            if ref.is_family:
                self.frozen.add(ref.name)
        entry.refs = refs
        return refs

    def form(self, entry: Entry) -> int:
        """How it names its parents; returns how many they are."""
        entry.form = (
            self.one_of("list", "dict") if entry.when == "any" else self.one_of("single", "list", "list", "dict")
        )
        least = 2 if entry.when == "any" else 0
        return 1 if entry.form == "single" else self.draw(st.integers(least, 4))

    def ref(self, entry: Entry) -> Ref | None:
        candidates = [e for e in self.entries if not (e.key and entry.key)]
        if not candidates:
            return None
        mapped = [e for e in candidates if e.each is not None]
        handlers = [e for e in candidates if e.when in ("failure", "always")]
        likely = [each for each in (mapped, handlers) if each]  # what has the most rules
        target = self.one_of(*(self.one_of(*likely) if likely and self.chance(2) else candidates))
        if target.key is not None:
            members = [e.number for e in self.entries if e.key is not None]
            how = self.one_of("name", "step", "id")
            if how == "id":
                return Ref([target.number], target.task_id, target.task_id, target.name)
            return Ref(
                members, target.name if how == "name" else target.number, target.name, target.name, is_family=True
            )
        shared = sum(e.name == target.name for e in self.entries) > 1
        if self.chance(2) or (shared and target.task_id == target.name):
            return Ref([target.number], target.number, target.name, target.name)
        return Ref([target.number], target.task_id, target.task_id, target.name)

    def map(self, entry: Entry, refs: list[Ref]) -> None:
        entry.behaviours = [OK if self.chance(2) else self.one_of(*BEHAVIOURS) for _ in range(3)]
        if len(refs) == 1 and self.chance(2):
            entry.each, entry.each_written = [], True
            return
        over = [ref.label for ref in refs if self.chance(2)] or [refs[0].label]
        entry.each = over
        entry.each_written = over[0] if len(over) == 1 and self.chance(2) else over

    def fill(self, entry: Entry, refs: list[Ref]) -> None:
        """Parameters by the names of parents, the single one that is left over, both contexts, or nothing."""
        if self.chance(3):
            entry.constant = entry.number
        if entry.key is not None:
            entry.constant = None  # one step for all members
            return
        by_name = {ref.label if entry.form == "dict" else ref.name: ref for ref in refs}
        if len(by_name) < len(refs):
            by_name = {}  # two parents of one name, behind a list without `after`
        only_orders = all(ref.label == ref.name for ref in refs) or entry.form != "dict"
        if len(refs) == 1 and entry.when != "any" and only_orders and self.chance(3):
            entry.fills["only"] = (refs[0].label, False)
            return
        entry.wants_previous = self.chance(2)
        for name, ref in by_name.items():
            if not self.chance(3):
                entry.fills[name] = (ref.label, self.draw(st.booleans()))
        unknown = [ref for ref in refs if ref.label not in entry.fills and ref.label != ref.name]
        if entry.form == "dict" and unknown:
            entry.wants_previous = True
        needed = {label for label, has_default in entry.fills.values() if not has_default}
        if entry.when == "any" and len(needed) == len(refs):  # one may be missing
            name = self.one_of(*entry.fills)
            entry.fills[name] = (entry.fills[name][0], True)


@st.composite
def planned(draw: Any, *, places: Any = PLACES) -> tuple[Plan, str, str]:
    mode, executor = draw(st.sampled_from(places))
    is_graph = draw(st.sampled_from((True, True, False)))
    return Drawing(draw, is_graph=is_graph, mode=mode).plan(), mode, executor


def run_and_judge(plan: Plan, mode: str, executor: str) -> None:
    calls: list[Any] | None = None if executor == "process" else []
    events: list[tuple[str, str, str, str]] = []
    names_after = any(e.form != "implied" for e in plan.entries)
    plan.is_graph = names_after

    def listen(event: Any) -> None:
        task = getattr(event, "task", None)
        if task is not None:
            events.append((type(event).__name__, task.task_id, str(task.status), str(task.result)))

    with build(plan, calls=calls, listeners=(listen,)) as workflow:
        start = {} if plan.start_constant is None else {"constant": plan.start_constant}
        run = workflow.start(
            mode, executor=executor, max_workers=3, keep_going=plan.keep_going, params=start or None
        ).wait(60)
    judge = Judge(plan, mode, events)
    judge.read()
    judge.finish(run, calls)


@given(planned())
@settings(SETTINGS, max_examples=500)
def test_each_task_runs_exactly_when_the_rules_say(drawn):
    run_and_judge(*drawn)


@given(
    planned(places=tuple((mode, "process") for mode in ("sequential", "sequential_group", "background", "parallel")))
)
@settings(SETTINGS, max_examples=8)
def test_so_it_does_in_worker_processes(drawn):
    run_and_judge(*drawn)


def test_the_judge_finds_what_is_not_as_the_rules_say():
    """A judge that lets everything pass would be no proof."""
    plan = Plan(
        [Entry(0, "a", "a", "default", form="list"), Entry(1, "b", "b", "default", form="single")], 1, False, True
    )
    plan.entries[1].refs = [Ref([0], "a", "a", "a")]
    ran = ["TaskQueued", "TaskStarted", "AttemptStarted", "AttemptEnded", "TaskEnded"]
    told = [(kind, task_id, "Completed", "success") for task_id in ("b", "a") for kind in ran]
    with pytest.raises(AssertionError, match="b was decided before a had ended"):
        Judge(plan, "parallel", told).read()
