"""A run as a text: what came after what, why a task did not run, and large runs in a few lines."""

from __future__ import annotations

import io
import sys

import pytest

from dotflow import Config, DotFlow, action
from dotflow.errors import Skip
from dotflow.model import tree
from dotflow.testing import FakeClock


@action
def files():
    return ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv", "f.csv"]


@action
def convert(name):
    if name in ("b.csv", "c.csv", "d.csv", "f.csv"):
        raise ValueError(f"bad row in {name}\nand a second line")
    return name


@action
def publish(name):
    return name


@action
def plain():
    return None


@action
def broken():
    raise OSError("down")


@action
def nothing_new():
    raise Skip("no new data")


def workflow(name="g"):
    return DotFlow(Config(clock=FakeClock()), name=name)


def lines_of(run, **keywords):
    first, *lines, last = run.tree(**keywords).splitlines()
    assert first.startswith("workflow ")
    assert last == f"trace {run.trace_id}"
    return [" ".join(line.split()) for line in lines]


def test_what_comes_after_the_line_above_says_nothing_of_it():
    made = workflow()
    made.task.add([plain, plain, plain])
    run = made.start()
    assert run.tree().splitlines() == [
        "workflow g  completed in 0 µs",
        "├─ ✓ plain           0 µs",
        "├─ ✓ plain-2         0 µs",
        "└─ ✓ plain-3         0 µs",
        f"trace {run.trace_id}",
    ]


def test_other_parents_are_named_and_many_are_counted():
    made = workflow()
    made.task.add(plain, name="a", after=[]).add(plain, name="b", after=[]).add(plain, name="c", after="a")
    made.task.add(plain, name="d", after=[]).add(plain, name="join", after=["a", "b", "c", "d"])
    made.task.add(plain, name="behind", after="join")
    assert lines_of(made.start()) == [
        "├─ ✓ a 0 µs",
        "├─ ✓ b 0 µs after nothing",
        "├─ ✓ c 0 µs after a",
        "├─ ✓ d 0 µs after nothing",
        "├─ ✓ join 0 µs after a, b, c and 1 more",
        "└─ ✓ behind 0 µs",
    ]


def test_where_nothing_waits_for_anything_nothing_is_said_of_it():
    made = workflow()
    made.task.add([plain, plain])
    assert lines_of(made.start("parallel", executor="inline")) == ["├─ ✓ plain 0 µs", "└─ ✓ plain-2 0 µs"]


def test_why_a_task_did_not_run():
    made = workflow()
    made.task.add(broken).add(plain, name="load", after="broken").add(
        plain, name="alert", after="broken", when="failure"
    )
    made.task.add(nothing_new, after=[]).add(plain, name="gated", after=nothing_new)
    made.task.add(plain, name="quiet", after="alert", when="failure")
    assert lines_of(made.start(keep_going=True)) == [
        "├─ ✗ broken 0 µs",
        "│ attempt 1: OSError: down",
        "├─ · load not started upstream_failed: broken did not end well",
        "├─ ✓ alert 0 µs when=failure after broken",
        "├─ – nothing_new 0 µs skipped: no new data after nothing",
        "├─ – gated skipped nothing_new skipped",
        "└─ – quiet skipped no parent failed when=failure after alert",
    ]


def test_a_mapped_task_is_one_line_with_the_errors_of_its_first_items():
    made = workflow()
    made.task.add(files).add(convert, after=files, each=True, key=str).add(publish, after="convert", each=True)
    assert lines_of(made.start(keep_going=True)) == [
        "├─ ✓ files 0 µs",
        "├─ ✗ convert ×6 0 µs 2 ✓ 4 ✗",
        "│ [b.csv] ValueError: bad row in b.csv",
        "│ [c.csv] ValueError: bad row in c.csv",
        "│ [d.csv] ValueError: bad row in d.csv",
        "│ and 1 more",
        "└─ ✗ publish ×6 0 µs 2 ✓ 4 ·",
        "[b.csv] upstream_failed: convert[b.csv] did not end well",
        "[c.csv] upstream_failed: convert[c.csv] did not end well",
        "[d.csv] upstream_failed: convert[d.csv] did not end well",
        "and 1 more",
    ]


def test_a_mapped_task_that_got_no_items_says_why():
    made = workflow()
    made.task.add(plain).add(publish, after=plain, each=True)
    run = made.start()
    last = lines_of(run)[-1]
    assert last.startswith("attempt 1: ItemsError: each='plain' runs over the items of a list")


def test_a_small_family_is_shown_and_a_large_one_is_counted():
    made = workflow()
    for key in ("eu", "us"):
        made.task.add(plain, name="small", key=key, after=[])
    for key in range(20):
        made.task.add(broken if key == 7 else plain, name="large", key=key, after=[])
    made.task.add(plain, name="join", after=["small", "large"])
    assert lines_of(made.start(keep_going=True)) == [
        "├─ ✓ small[eu] 0 µs",
        "├─ ✓ small[us] 0 µs after nothing",
        "├─ ✗ large[*] ×20 0 µs 19 ✓ 1 ✗ after nothing",
        "│ large[7] OSError: down",
        "└─ · join not started upstream_failed: large[7] did not end well after small[eu], small[us], large[*]",
    ]


def test_items_that_a_resumed_run_has_taken_over_are_counted():
    made = workflow()
    made.task.add(files).add(convert, after=files, each=True, key=str)
    made.start(keep_going=True)
    assert lines_of(made.start(resume=True, keep_going=True))[1] == "└─ ✗ convert ×6 0 µs 2 ✓ 4 ✗ (2 restored)"


def test_of_many_tasks_the_first_the_last_and_the_failed_are_shown():
    made = workflow()
    for number in range(500):
        made.task.add(broken if number == 250 else plain, name=f"t{number}", after=[])
    run = made.start(keep_going=True)
    lines = lines_of(run)
    assert len(lines) == 20 + 1 + 2 + 1 + 10
    assert lines[20:24] == [
        "├─ … 230 tasks: 230 ✓",
        "├─ ✗ t250 0 µs",
        "│ attempt 1: OSError: down",
        "├─ … 239 tasks: 239 ✓",
    ]
    assert len(lines_of(run, full=True)) == 501


def test_many_failed_attempts_are_counted():
    @action(retry=50)
    def never():
        raise OSError("down")

    made = workflow()
    made.task.add(never)
    assert lines_of(made.start()) == [
        "└─ ✗ never 0 µs 50 attempts",
        "attempt 1: OSError: down",
        "attempt 2: OSError: down",
        "… 46 more failed attempts",
        "attempt 49: OSError: down",
        "attempt 50: OSError: down",
    ]


def test_no_name_and_no_message_gets_a_line_of_its_own_or_moves_the_cursor():
    @action(name="a\nb\x1b[2J")
    def odd():
        raise ValueError("\x1b[31m" + "x" * 1000)

    made = workflow("two\nlines")
    made.task.add(odd)
    first, task, error, _ = made.start().tree().splitlines()
    assert first.startswith("workflow two\\nlines  failed")
    assert task.startswith("└─ ✗ a\\nb\\x1b[2J ")
    assert error.strip().startswith("attempt 1: ValueError: \\x1b[31mxxx")
    assert len(error) < 250


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", None, "no-such-encoding"])
def test_it_is_plain_where_the_output_can_take_nothing_else(monkeypatch, encoding):
    made = workflow("größe 日本")
    made.task.add(files).add(convert, after=files, each=True, key=str).add(nothing_new, after=[])
    run = made.start(keep_going=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", _Odd(encoding))
        text = run.tree()
    text.encode(encoding if encoding in ("ascii", "cp1252") else "ascii")
    assert "|- x convert x6" in text
    assert "`- - nothing_new" in text
    assert "\\u65e5" in text


class _Odd(io.StringIO):
    def __init__(self, encoding):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding


def test_a_run_that_has_not_ended_can_be_looked_at():
    seen = []
    made = DotFlow(Config(clock=FakeClock(), listeners=[lambda event: seen.append(event.run.tree())]), name="g")
    made.task.add(files).add(convert, after=files, each=True)
    made.start()
    assert seen[0].splitlines()[:3] == [
        "workflow g  in progress",
        "├─ · files    not started",
        "└─ · convert  not started",
    ]
    assert any("… convert ×6" in text for text in seen)


@pytest.mark.parametrize(
    ("duration", "text"),
    [(None, "-"), (0.00042, "420 µs"), (0.0123, "12.3 ms"), (4.56, "4.56 s"), (125, "2 min 5 s"), (3720, "1 h 2 min")],
)
def test_durations_are_written_as_a_person_would(duration, text):
    assert tree.seconds(duration) == text


def test_a_run_that_a_step_started_stands_below_its_task_with_why_it_failed():
    @action
    def outer():
        for number in range(5):
            inner = DotFlow(name=f"inner-{number}")
            inner.task.add(plain).add(broken if number == 4 else plain, name="second")
            inner.start().raise_for_status()

    made = workflow()
    made.task.add(outer).add(plain)
    lines = lines_of(made.start())
    assert lines[0] == "├─ ✗ outer 0 µs"
    assert lines[1].startswith("│ attempt 1: RunFailed: ")
    assert [line.partition(" in ")[0] for line in lines[2:]] == [
        "│ … 2 more runs before",
        *("│ workflow inner-2 completed", "│ ├─ ✓ plain 0 µs", "│ └─ ✓ second 0 µs"),
        *("│ workflow inner-3 completed", "│ ├─ ✓ plain 0 µs", "│ └─ ✓ second 0 µs"),
        *("│ workflow inner-4 failed", "│ ├─ ✓ plain 0 µs", "│ └─ ✗ second 0 µs"),
        "│ attempt 1: OSError: down",
        "└─ · plain not started upstream_failed: outer did not end well",
    ]
