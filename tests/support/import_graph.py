"""The diagram in `docs/architecture.md`: which package of dotflow imports which, read from the code.

`python tests/support/import_graph.py` writes it again. A test compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- The diagram is made from the imports: `python tests/support/import_graph.py` writes it again. -->\n"
END = "<!-- End of the diagram. -->\n"

_PROVIDERS = sorted(path.name for path in (ROOT / "providers").glob("*/dotflow_*"))
_TOP = "dotflow"

Arrows = dict[str, set[str]]


def arrows(*, typing_too: bool = True) -> Arrows:
    """What imports what, by node: a folder of `dotflow/`, a file beside those folders, or all provider packages at once."""
    graph = grimp.build_graph(_TOP, *_PROVIDERS, exclude_type_checking_imports=not typing_too, cache_dir=None)
    found: Arrows = defaultdict(set)
    for module in sorted(graph.modules):
        found[_node(module)] |= {_node(other) for other in graph.find_modules_directly_imported_by(module)}
    return {node: others - {node} for node, others in found.items()}


def diagram() -> str:
    """The arrows in Mermaid. One that follows from others is left out, and one that only type checkers follow is dotted."""
    everything = arrows()
    at_run_time = reduced(arrows(typing_too=False))
    for_typing = reduced(everything)
    lines = ["```mermaid", "flowchart TD", '  subgraph dotflow["dotflow/"]']
    lines += [f'    {_id(node)}["{_label(node)}"]' for node in sorted(everything) if node != "providers/*"]
    lines += ["  end", '  providers_all["providers/*/"]']
    for node in sorted(everything):
        lines += [f"  {_id(node)} --> {_id(other)}" for other in sorted(at_run_time[node])]
        lines += [f"  {_id(node)} -.-> {_id(other)}" for other in sorted(for_typing[node] - _reach(at_run_time, node))]
    return "\n".join([*lines, "```", ""])


def circles() -> list[str]:
    """The nodes that import themselves by way of others. There should be none."""
    everything = arrows()
    return sorted(node for node in everything if node in _reach(everything, node))


def written(page: str) -> str:
    """The diagram that stands on the page."""
    return page.partition(BEGIN)[2].partition(END)[0]


def _node(module: str) -> str:
    first, *rest = module.split(".")
    if first != _TOP:
        return "providers/*"
    if not rest:
        return "__init__.py"
    return f"{rest[0]}/" if (ROOT / _TOP / rest[0]).is_dir() else f"{rest[0]}.py"


def _label(node: str) -> str:
    return f"{node} (the public names)" if node == "__init__.py" else node


def _id(node: str) -> str:
    return {"__init__.py": "public", "providers/*": "providers_all"}.get(
        node, node.removesuffix("/").removesuffix(".py")
    )


def reduced(all_arrows: Arrows) -> Arrows:
    """Only the arrows that do not follow from others. Needs a graph without circles."""
    return {
        node: {other for other in others if not any(other in _reach(all_arrows, third) for third in others - {other})}
        for node, others in all_arrows.items()
    }


def _reach(all_arrows: Arrows, start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for other in all_arrows[todo.pop()] - found:
            found.add(other)
            todo.append(other)
    return found


def main() -> None:
    """Write the diagram into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + diagram() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
