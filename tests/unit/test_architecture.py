"""`docs/architecture.md` and the folders' own words, compared with the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.tree
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
FOLDERS = sorted(
    path.parent.relative_to(ROOT)
    for top in ("dotflow", "providers", "grafana")
    for path in (ROOT / top).rglob("__init__.py")
)


@pytest.fixture
def import_graph():
    pytest.importorskip("grimp", reason="SKIPPED: install the development dependencies on Python 3.11 or newer")
    from support import import_graph

    return import_graph


def test_the_diagram_shows_the_imports(import_graph):
    assert import_graph.written(PAGE.read_text(encoding="utf-8")) == import_graph.diagram(), "run: make diagram"


def test_no_folder_imports_itself_by_way_of_others(import_graph):
    assert import_graph.circles() == []


def test_an_arrow_that_follows_from_others_is_left_out_and_no_other(import_graph):
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": set(), "e": {"a", "d"}}
    assert import_graph.reduced(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set(), "e": {"a"}}


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_folder_says_what_lives_there_and_what_must_not(folder):
    says = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert re.search(r"^Here: ", says, re.MULTILINE)
    assert re.search(r"\bNot here: ", says)


def test_every_folder_of_the_core_is_in_the_table():
    listed = re.findall(r"^\| `([^`]+)/` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name in listed if name.startswith("dotflow")} == {
        folder.as_posix() for folder in FOLDERS if folder.parts[0] == "dotflow"
    }


@pytest.mark.parametrize("folder", ["engine", "executors"])
def test_the_modules_that_are_explained_are_those_of_the_folder(folder):
    section = re.search(
        rf"^These are the modules of `dotflow/{folder}/`\.\n(.*?)^## ",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert section is not None
    modules = {path.stem for path in (ROOT / "dotflow" / folder).glob("*.py")} - {"__init__"}
    assert set(re.findall(r"\*\*`(\w+)`\*\*", section[1])) == modules
