"""What CONTRIBUTING.md says is so: its paths, commands and lists, and the files that call the same commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dotflow import providers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parents[2]
PAGES = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
PACKAGES = sorted(path.name for path in ROOT.glob("providers/*/dotflow_*"))


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def targets():
    """What each target of the Makefile needs, by its name."""
    rules = re.findall(r"^([\w-]+):([^=\n]*)$", read("Makefile"), re.MULTILINE)
    return {name: needed.split() for name, needed in rules}


def called(text):
    """The make targets that a text calls."""
    return {name for line in re.findall(r"\bmake((?: [a-z][a-z-]*)+)", text) for name in line.split()}


# --- paths and commands


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", read(page))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_file_that_it_names_is_there():
    """The paths of other pages have a test of their own; these are files at the root, or below a folder named before."""
    named = re.findall(r"`([\w.*-]+\.(?:md|toml|py|yaml|yml)|\.[\w-]+/[\w./-]+)`", read("CONTRIBUTING.md"))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists() and not any(ROOT.glob(f"[!.]*/**/{name}"))] == []


def test_every_command_that_it_names_is_a_target():
    code = "\n".join(re.findall(r"`[^`\n]+`|^\$ .*$", read("CONTRIBUTING.md"), re.MULTILINE))
    assert called(code) >= {"check", "lint", "typing", "test"}
    assert called(code) <= targets().keys()


def test_make_check_is_what_it_says():
    assert targets()["check"] == ["lint", "typing", "test"]


# --- the list of a provider's places


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(read("pyproject.toml"))


def test_the_packages_were_found():
    assert len(PACKAGES) >= 8


@pytest.mark.parametrize("package", PACKAGES)
def test_a_provider_is_in_every_list(package, project):
    name = package.removeprefix("dotflow_")
    folder = f"providers/{name}"
    tool, extras = project["tool"], project["project"]["optional-dependencies"]
    contracts = tool["importlinter"]["contracts"]
    core, knowing, circles, independent = (
        next(each for each in contracts if each["name"].startswith(start))
        for start in (
            "The core imports no provider's",
            "Providers know",
            "No circles",
            "Provider packages are independent",
        )
    )
    assert (ROOT / folder / package / "py.typed").is_file()
    assert (ROOT / folder / "README.md").is_file()
    assert name in extras
    assert name in re.split(r"[\[\],]", extras["all"][0])
    assert f"{folder}/{package}" in tool["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert f"{folder}/{package}" in tool["mypy"]["files"]
    assert f"$MYPY_CONFIG_FILE_DIR/{folder}" in tool["mypy"]["mypy_path"]
    assert package in tool["importlinter"]["root_packages"]
    assert package in circles["ancestors"]
    assert package in core["forbidden_modules"]
    assert f"dotflow.providers -> {package}" in core["ignore_imports"]
    assert package in knowing["source_modules"]
    assert package in independent["modules"]
    assert folder in tomllib.loads(read("ruff.toml"))["src"]
    assert package in {module for module, _ in providers._DOOR.values()}
    assert f"`{name}`" in read("README.md")


# --- who calls the same commands


WORKFLOWS = sorted(path.name for path in ROOT.glob(".github/workflows/*"))


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_workflow_calls_the_same_commands_and_may_write_nothing(workflow):
    found = yaml.safe_load(read(f".github/workflows/{workflow}"))
    assert found["permissions"] == {"contents": "read"}
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    assert all(
        step["with"]["persist-credentials"] is False
        for step in steps
        if step.get("uses", "").startswith("actions/checkout@")
    )
    commands = [step["run"] for step in steps if "run" in step]
    assert commands
    for command in commands:
        assert called(command) <= targets().keys()
        assert re.fullmatch(r'make( [a-z-]+)+|(sudo env "PATH=\$PATH" )?\.ci/run', command), command


def test_the_hooks_before_a_commit_call_the_same_commands():
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert {name for entry in entries for name in called(entry)} == {"lint", "typing"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="check-jsonschema is not installed on Python 3.10")
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", [f".github/workflows/{name}" for name in WORKFLOWS]),
        ("custom.github-workflows-require-timeout", [f".github/workflows/{name}" for name in WORKFLOWS]),
        ("vendor.github-issue-forms", [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml"]),
        ("vendor.github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_what_github_reads_has_its_form(schema, files):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
