"""Whoever does what a text of ours says gets `dotflow-sdk`. The distribution `dotflow` is another project."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parents[2]
OTHER = "dotflow"

# Made by tools, or not text.
_NOT_OURS = {".git", ".venv", "node_modules", "dist", "build", "out", "__pycache__"}
_CACHES = re.compile(r"\.\w+_cache|\.hypothesis|.*\.egg-info")
_BINARY = {".gz", ".pyc", ".png", ".zip"}

_COMMAND = re.compile(
    r"""(?<![\w-])(?:pip3?|pipx|uv|poetry|pdm|rye|conda|mamba)["',\s]+(?:[\w./=-]+["',\s]+)*?(?:install|add|inject|download|wheel|--with)\b"""
    r"|(?<![\w-])uvx\b",
    re.IGNORECASE,
)
_END_OF_COMMAND = re.compile(r"#|&&|;|\||`|, then\b")
_WORDS = re.compile(r"""[\s"',()\[\]]+""")
# Alone or with a version, perhaps at the end of a sentence.
_THE_OTHER = re.compile(rf"{OTHER}(?:[=<>~!@].*)?\.?", re.IGNORECASE)
_TOLD = (
    re.compile(rf"(?<![\w./-]){OTHER}\[[a-z{{]", re.IGNORECASE),  # with extras
    re.compile(rf"(?<![\w./-]){OTHER}\s*(?:===?|~=|>=|<=|!=)\s*v?\d", re.IGNORECASE),  # with a version
    re.compile(rf"(?<!un)install (?:the (?:package|distribution) )?['\"`]?{OTHER}(?![\w/:-]|\.\w)", re.IGNORECASE),
    re.compile(rf"pypi\.org/(?:project|simple)/{OTHER}(?![\w-])", re.IGNORECASE),
)
_LISTS = re.compile(r"(?:.*requirements.*\.(?:txt|in)|constraints.*\.txt|environment.*\.ya?ml|Pipfile)", re.IGNORECASE)
_LISTED = re.compile(rf"""^\s*-?\s*['"]?{OTHER}(?:\s|\[|[=<>~!@;'"]|$)""", re.IGNORECASE | re.MULTILINE)

# Who means the other one: the comparison with it, in an environment of its own.
_MEANT = {Path("benchmarks/peers.py"): re.compile(rf"\b{OTHER}==1\.0\.1\b")}


def texts():
    """Every file of the tree that holds text, by its path from the root."""
    for folder, inner, names in os.walk(ROOT):
        here = Path(folder)
        inner[:] = [name for name in inner if name not in _NOT_OURS and not _CACHES.fullmatch(name)]
        inner[:] = [name for name in inner if not (here / name / "pyvenv.cfg").exists()]
        for path in (here / name for name in names):
            if path.suffix not in _BINARY and path.is_file():
                yield path.relative_to(ROOT), path.read_bytes().decode("utf-8", "replace")


def told_by(path, text):
    """The words of a text that tell to install the other one."""
    text = _MEANT[path].sub("", text) if path in _MEANT else text
    found = [command for command in commands(text) if any(map(_THE_OTHER.fullmatch, _WORDS.split(command)))]
    found += [match[0] for told in _TOLD for match in told.finditer(text)]
    if _LISTS.fullmatch(path.name):
        found += [match[0] for match in _LISTED.finditer(text)]
    if path.name == "pyproject.toml":
        found += [line for line in requirements(tomllib.loads(text)) if _LISTED.match(line)]
    return found


def commands(text):
    """What each command of a text would install: the words behind it."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in _COMMAND.finditer(line):
            yield _END_OF_COMMAND.split(line[command.end() :])[0]


def requirements(project):
    """Everything that a pyproject.toml requires."""
    about = project.get("project", {})
    yield from about.get("dependencies", ())
    yield from project.get("build-system", {}).get("requires", ())
    for group in (*about.get("optional-dependencies", {}).values(), *project.get("dependency-groups", {}).values()):
        yield from (line for line in group if isinstance(line, str))


def test_no_text_would_install_the_other_project():
    found = {str(path): told for path, text in texts() if (told := told_by(path, text))}
    assert found == {}


def test_the_whole_tree_was_read():
    read = {str(path) for path, _ in texts()}
    assert {"README.md", "pyproject.toml", "Makefile", ".ci/run", "stack/demo/Dockerfile", "dotflow/errors.py"} <= read
    assert {"docs/notifications.md", "providers/slack/README.md", "tests/unit/test_what_to_install.py"} <= read


def test_our_own_name_is_the_one_that_is_built():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert about["name"] == f"{OTHER}-sdk"
    assert about["optional-dependencies"]["all"][0].startswith(f"{OTHER}-sdk[")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("README.md", "pip install {}"),
        ("README.md", "Run `pip install {}`."),
        ("README.md", "$ python -m pip install --upgrade {} redis"),
        ("README.md", "pip install redis {}"),
        ("README.md", "pip install redis \\\n  {}"),
        ("README.md", 'pip install "{}"'),
        ("README.md", "pip install {}==1.0.1"),
        ("README.md", "pip install '{}>=1'"),
        ("README.md", "pip3 install {}"),
        ("README.md", "pip install {}[slack]"),
        ("README.md", 'the extra "{}[slack]"'),
        ("README.md", "uv add {}"),
        ("README.md", "uv pip install {}"),
        ("README.md", "uv run --with {} program.py"),
        ("README.md", "uvx {}"),
        ("README.md", "poetry add {}"),
        ("README.md", "pipx install {}"),
        ("README.md", "conda install {}"),
        ("README.md", "You need to install {}."),
        ("README.md", "https://pypi.org/project/{}/"),
        ("dotflow/errors.py", "f'needs an extra: pip install \"{}[{{extra}}]\"'"),
        ("tests/conftest.py", '["pip", "install", "{}"]'),
        ("Dockerfile", "RUN pip install --no-cache-dir {}"),
        ("requirements.txt", "redis\n{}\n"),
        ("docs/requirements-dev.txt", "{}[otel]"),
        ("environment.yml", "dependencies:\n  - {}\n"),
        ("pyproject.toml", '[project]\ndependencies = ["{}"]'),
        ("pyproject.toml", '[project.optional-dependencies]\nall = ["{}[otel]"]'),
        ("pyproject.toml", '[dependency-groups]\ndev = ["{} >=1"]'),
        ("benchmarks/peers.py", 'PEERS = ["{}>=1"]'),
    ],
)
def test_what_would_install_it_is_found(path, text):
    assert told_by(Path(path), text.format(OTHER))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("README.md", "pip install {}-sdk"),
        ("README.md", 'pip install "{}-sdk[slack]" s3fs'),
        ("README.md", "git clone <this repository> {0} && cd {0}\npip install ."),
        ("README.md", "pip uninstall {}, then pip install --force-reinstall --no-deps {}-sdk"),
        ("README.md", "pip install '.[all]'  # {} needs Python 3.10"),
        ("dotflow/errors.py", "import {}\n{}.record('rows', 1)"),
        ("dotflow/errors.py", 'labels["{0}"], {0}["x"]'),
        ("pyproject.toml", '[tool.mypy]\nfiles = ["{}"]'),
        ("benchmarks/peers.py", 'PEERS = ["{}==1.0.1"]'),
    ],
)
def test_what_would_not_is_left_alone(path, text):
    assert told_by(Path(path), text.format(OTHER, OTHER)) == []
