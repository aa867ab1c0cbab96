"""The real Mermaid reads the drawings of workflows and runs, whatever tasks are called."""

from __future__ import annotations

import pytest

from dotflow import DotFlow, action
from support import mermaid

pytestmark = pytest.mark.built

NASTY = [
    *("end", "graph", "subgraph", "direction LR", "a direction  TB b", "class t0 failed", "style t0 fill:#f00"),
    *("linkStyle 0 stroke:red", "click t0 call alert()", "flowchart TD", "default", "A:::x", "%% comment"),
    *('"', "'", "`md`", '"`md`"', "**bold**", "__init__", "1. list", "2) list", "- dash", "# head", "> quote"),
    *('a"]; click t0 "javascript:alert(1)"', "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<br/>"),
    *("[b", "b] x", "{c}", "(d)", "((e", "[/f/", "|pipe|", "a-->b", "o--o x", "---", "~~~", "@{ shape: procs }"),
    *(
        "#35; #quot; #lt;",
        "&lt;b&gt; &amp; &#60;",
        "$$x^2$$",
        "$",
        "back\\slash",
        "C:\\new",
        '%%{init: {"theme":"x"}}%%',
    ),
    *(
        "日本語 ñ 😀",
        "ﬂ°°60¶ßb",
        "ﬂ°lt¶ß",
        "it's; ok;",
        "https://example.com/a_b",
        "accTitle: x",
        "a;b",
        "a&b",
        "a & b",
    ),
    "tab\tand\nline",
]


@action
def plain():
    return None


@action
def files():
    return ["a", "b", "c"]


@action
def convert(name):
    if name == "b":
        raise ValueError("no")
    return name


@action
def join(left, right):
    return left, right


@pytest.fixture(scope="module")
def home():
    found = mermaid.find()
    if found is None:
        pytest.skip("SKIPPED: no node and npm to get Mermaid with: no drawing was read by it")
    return found


def test_every_name_is_shown_as_it_is(home):
    workflow = DotFlow()
    for name in NASTY:
        workflow.task.add(plain, name=name, after=[])
        workflow.task.add(plain, name=f"family {name.rstrip(']')}", key=name, after=name)
    run = workflow.start()
    of_workflow, of_run = mermaid.read(home, [workflow.mermaid(), run.mermaid()])
    shown = [one.encode("unicode_escape").decode() if not one.isprintable() else one for one in NASTY]
    shown[-1] = "tab\\tand\\nline"
    expected = [name for one in shown for name in (one, f"family {one.rstrip(']')}[{one}]")]
    nodes = [of_workflow.nodes[f"t{number}"] for number in range(len(expected))]
    assert nodes == [(name,) for name in expected]
    assert [of_run.nodes[f"t{number}"][0] for number in range(len(expected))] == expected
    assert set(of_workflow.nodes) == {f"t{number}" for number in range(len(expected))}
    edges = [(f"t{2 * number}", f"t{2 * number + 1}", "", "normal") for number in range(len(NASTY))]
    assert of_workflow.edges == of_run.edges == edges
    assert set(of_run.subgraphs) == {f"family {one.rstrip(']')}" for one in shown}
    assert all(classes == ["completed"] for classes in of_run.classes.values())


def test_a_graph_is_read_as_it_is(home):
    workflow = DotFlow()
    workflow.task.add(files).add(convert, after=files, each=True)
    for key in ("eu", "us"):
        workflow.task.add(plain, name="region", key=key, after=files)
    for key in range(20):
        workflow.task.add(plain, name="shard", key=key, after=files)
    workflow.task.add(join, after={"left": "region", "right": "shard"})
    workflow.task.add(plain, name="alert", after=["convert", "join"], when="failure")
    run = workflow.start(keep_going=True)
    of_workflow, of_run = mermaid.read(home, [workflow.mermaid(), run.mermaid()])
    assert of_workflow.edges == of_run.edges
    assert of_run.edges == [
        ("t0", "t1", "each", "normal"),
        ("t0", "t2", "", "normal"),
        ("t0", "t3", "", "normal"),
        ("t0", "t4", "", "normal"),
        ("t2", "t5", "left", "normal"),
        ("t3", "t5", "left", "normal"),
        ("t4", "t5", "right", "normal"),
        ("t1", "t6", "failure", "dotted"),
        ("t5", "t6", "failure", "dotted"),
    ]
    assert {title: sorted(nodes) for title, nodes in of_run.subgraphs.items()} == {"region": ["t2", "t3"]}
    assert of_run.nodes["t1"][:2] == ("convert ×3", "2 ✓ 1 ✗")
    assert of_run.nodes["t4"][:2] == ("shard[*] ×20", "20 ✓")
    assert (of_run.classes["t1"], of_run.classes["t6"]) == (["failed"], ["completed"])
    assert of_workflow.nodes["t1"] == ("convert",)
