"""docs/performance.md shows what benchmarks/results.json says, and nothing else."""

from __future__ import annotations

import json

import pytest

from support.benchmark_scripts import script

pytestmark = pytest.mark.tree


@pytest.fixture
def page():
    return script("performance_page")


def test_the_table_is_that_of_the_stored_figures(page):
    found = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    shown = page.section(page.PAGE.read_text(encoding="utf-8"))
    assert shown == page.table(found), "run: python benchmarks/performance_page.py"
    assert found["date"] in shown
    assert found["machine"] in shown


def test_the_stored_figures_have_every_line(page):
    names = [row["name"] for row in json.loads(page.RESULTS.read_text(encoding="utf-8"))["rows"]]
    assert names == [line.name for line in script("peers").LINES]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0213, "0.021"), (0.18, "0.18"), (0.951, "1.0"), (5.64, "5.6"), (9.96, "10"), (117.8, "118"), (4433.0, "4,433")],
)
def test_a_figure_is_as_exact_as_it_is_useful(page, value, text):
    assert page.written(value) == text


def test_a_new_table_takes_the_place_of_the_old_one_only(page):
    found = {
        "date": "2026-11-29",
        "python": "3.11.7",
        "machine": "2 cores",
        "load_average": 0.5,
        "rounds": 3,
        "rows": [],
    }
    old = f"before\n{page.BEGIN}old\n{page.END}after\n"
    new = page.renewed(old, found)
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert page.section(new) == page.table(found)


def test_a_page_without_the_marks_is_refused(page):
    with pytest.raises(ValueError, match="the two marks of the table are missing"):
        page.renewed("a page\n", {})
