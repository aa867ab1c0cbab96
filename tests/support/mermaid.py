"""The real Mermaid, which npm puts once into a cache outside the tree: what it reads in the text of a flowchart."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from support.cached import folder, made_by

VERSION = "11.17.2"
_JSDOM = "29.1.1"
_READ = Path(__file__).with_name("mermaid_read.mjs")


class Flowchart(NamedTuple):
    """What Mermaid has read: the texts of the nodes and their classes by id, the arrows, and the titles of subgraphs."""

    nodes: dict[str, tuple[str, ...]]
    classes: dict[str, list[str]]
    edges: list[tuple[str, str, str, str]]
    subgraphs: dict[str, list[str]]


def find() -> Path | None:
    """The folder with the package, installed if need be; None where there is no node, or npm cannot install it."""
    if shutil.which("node") is None:
        return None
    home = folder() / f"npm-mermaid-{VERSION}"
    package = home / "node_modules" / "mermaid" / "package.json"
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(home)]
    found = made_by(
        [*install, f"mermaid@{VERSION}", f"jsdom@{_JSDOM}"],
        package,
        f"mermaid {VERSION}",
        "some seconds, npm downloads it",
    )
    return home if found else None


def read(home: Path, texts: list[str]) -> list[Flowchart]:
    """What Mermaid reads in each text; an `AssertionError` with its message if it does not take one."""
    program = home / _READ.name  # beside its node_modules, where node looks for packages
    program.write_text(_READ.read_text())
    done = subprocess.run(
        ["node", program], input=json.dumps(texts), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [_flowchart(found) for found in json.loads(done.stdout)]


def _flowchart(found: dict[str, Any]) -> Flowchart:
    return Flowchart(
        {node["id"]: _shown(node["text"]) for node in found["nodes"]},
        {node["id"]: node["classes"] for node in found["nodes"]},
        [(edge["start"], edge["end"], " ".join(_shown(edge["text"])), edge["stroke"]) for edge in found["edges"]],
        {" ".join(_shown(group["title"])): group["nodes"] for group in found["subgraphs"]},
    )


def _shown(text: str) -> tuple[str, ...]:
    """The lines that a browser shows: Mermaid's own escapes, then those of HTML; what has no width is left out."""
    decoded = text.replace("\ufb02\xb0\xb0", "&#").replace("\ufb02\xb0", "&").replace("\xb6\xdf", ";")
    assert "<" not in decoded.replace("<br>", "").replace("<br/>", ""), decoded
    return tuple(html.unescape(line).replace("\u200b", "") for line in decoded.replace("<br/>", "<br>").split("<br>"))
