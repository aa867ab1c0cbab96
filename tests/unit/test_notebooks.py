"""What a notebook shows of a run and of a workflow: HTML that holds nothing but a table, whatever tasks are called."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from dotflow import Config, DotFlow, action
from dotflow.testing import FakeClock

XSS = "\"'><script>alert(1)</script><img src=x onerror=alert(1)> &lt;"
_VOID = {"br", "img", "hr", "input", "meta", "link"}


class Page(HTMLParser):
    """The cells of the rows, the tags and their attributes; an `AssertionError` if a tag is not closed as it was opened."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.rows, self.text, self._open = set(), set(), [], "", []
        self.styles = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles += [value for name, value in attrs if name == "style"]
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data.replace("\xa0", " ")


@action
def files():
    return ["a", XSS]


@action
def convert(name):
    if name == XSS:
        raise ValueError(XSS)
    return name


@action(retry=3, timeout=30)
def load():
    return None


def workflow(name="g"):
    made = DotFlow(Config(clock=FakeClock()), name=name, workflow_id="nightly")
    made.task.add(files).add(convert, after=files, each=True, key=str)
    made.task.add(load, after=files).add(load, after="convert", name="alert", when="failure")
    return made


def test_a_run_is_a_table_with_the_signs_and_reasons_of_its_tree():
    run = workflow().start()
    page = Page(run._repr_html_())
    assert page.rows == [
        ["", "task", "duration", ""],
        ["✓", "files", "0 µs", ""],
        ["✗", "convert ×2", "0 µs", f"1 ✓ 1 ✗[{XSS}] ValueError: {XSS}"],
        ["·", "load", "not started", "after files"],
        ["✓", "alert", "0 µs", "when=failure  after convert"],
    ]
    assert "workflow g failed in 0 µs" in page.text
    assert f"trace {run.trace_id}" in page.text


def test_a_workflow_is_a_table_of_what_was_added():
    page = Page(workflow()._repr_html_())
    module = files.__module__
    assert page.rows == [
        ["task", "step", ""],
        ["files", f"{module}.files", ""],
        ["convert", f"{module}.convert", "each"],
        ["load", f"{module}.load", "retry=3  timeout=30 s  after files"],
        ["alert", f"{module}.load", "retry=3  timeout=30 s  when=failure  after convert"],
    ]
    assert "workflow g 4 tasks" in page.text
    assert "workflow id nightly" in page.text


def test_names_and_errors_are_text_and_nothing_else():
    made = workflow(XSS)
    made.task.add(load, name=XSS, after=[], group_name=XSS)
    run = made.start(keep_going=True)
    for html in (run._repr_html_(), made._repr_html_()):
        page = Page(html)
        assert page.tags <= {"div", "span", "strong", "code", "table", "thead", "tbody", "tr", "th", "td"}
        assert page.attributes <= {"class", "style", "title"}
        assert XSS in page.text


def test_a_text_in_colour_has_a_background_of_its_own():
    """Else it would be black on the black of a dark theme."""
    run = workflow().start()
    coloured = [style for style in Page(run._repr_html_()).styles if "color:" in style.replace("background", "")]
    assert coloured
    assert all("background:#" in style for style in coloured)


def test_a_workflow_that_does_not_fit_together_is_shown_all_the_same():
    made = DotFlow()
    made.task.add(files).add(load).add(load, name="c", after="load")
    assert [row[0] for row in Page(made._repr_html_()).rows] == ["task", "files", "load", "c"]


@pytest.mark.parametrize("count", [0, 5000])
def test_one_with_no_tasks_and_one_with_very_many(count):
    made = DotFlow()
    if count:
        made.task.add([load] * count)
    assert len(Page(made._repr_html_()).rows) == (32 if count else 1)
    assert len(Page(made.start("parallel", executor="inline")._repr_html_()).rows) == (32 if count else 1)
