"""Every Python snippet of the README and of the docs runs, and prints what the page says that it prints.

The snippets of a page run in order, in one namespace; on a page of whole programs each runs by itself. A `text` block right
behind a snippet is its output. Times, ids and ports may differ.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "providers").glob("*/README.md")),
]
OF_WHOLE_PROGRAMS = {ROOT / "docs" / "patterns.md"}
_SNIPPET = re.compile(r"^```python\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_END = "--- end of a snippet ---"
_VARIES = [
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\d[\d.]* (ns|µs|ms|s|min|h)\b"), "<time>"),
    (re.compile(r"(127\.0\.0\.1):\d+"), r"\1:<port>"),
    (re.compile(r" +"), " "),
]
_LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_run_and_print_what_it_says(page, tmp_path):
    snippets = _SNIPPET.findall(page.read_text(encoding="utf-8"))
    if not snippets:
        assert page.name in ("architecture.md", "dashboards.md", "performance.md"), "a page without a snippet that runs"
        return
    programs = [[snippet] for snippet in snippets] if page in OF_WHOLE_PROGRAMS else [snippets]
    for number, program in enumerate(programs):
        folder = tmp_path / str(number)
        folder.mkdir()
        printed = run([code for code, _ in program], folder)
        for (_, said), is_printed in zip(program, printed, strict=True):
            assert not said or settled(is_printed) == settled(said)


def run(snippets, folder):
    """Run them as one program in this folder; what each of them prints."""
    program = folder / "page.py"
    text = "".join(f'{snippet}\nif __name__ == "__main__":\n    print({_END!r}, flush=True)\n' for snippet in snippets)
    program.write_text(text.replace("port=9464", "port=0"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program.name],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "only counted" not in done.stderr
    return done.stdout.split(f"{_END}\n")[:-1]


def settled(output):
    """Without what differs from run to run."""
    for pattern, instead in _VARIES:
        output = pattern.sub(instead, output)
    return [line.rstrip() for line in output.strip().splitlines()]


def test_an_output_that_differs_is_found():
    assert settled("✓ load   1.5 ms  2 ✓\n") == settled("✓ load  21 µs  2 ✓")
    assert settled("✓ load   1.5 ms  2 ✓\n") != settled("✓ load  21 µs  3 ✓")
    assert settled("one\n") != settled("one\ntwo\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link, _ in links if not (page.parent / link).exists()] == []
    anchored = [(page.parent / link if link else page, anchor) for link, anchor in links if anchor]
    assert [anchor for there, anchor in anchored if anchor not in anchors_of(there.read_text(encoding="utf-8"))] == []


def anchors_of(page):
    """What GitHub makes of its headings."""
    headings = _HEADING.findall(re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_an_anchor_is_made_as_github_makes_it():
    assert anchors_of("# Each of each, with a *bad* `file`\n```python\n# no heading\n```\n## current()\n") == {
        "each-of-each-with-a-bad-file",
        "current",
    }
