"""What type checkers must accept, and the typos that they must refuse: `tests/typing`.

Each line of `refused.py` has an ignore, and one that is not needed is an error. So a typo that a checker does not see
fails here.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dotflow.model.modes import EXECUTORS, MODES, ON_INPUT_CHANGE, ExecutorName, Mode, OnInputChange, When
from dotflow.model.wiring import WHEN
from dotflow.options import ScheduleKeywords, StartOptions

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "typing"


def check(*command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.tree
def test_mypy_accepts_what_is_right_and_refuses_what_is_not():
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("SKIPPED: no mypy here: it was not asked")
    done = check("mypy", str(EXAMPLES))
    assert done.returncode == 0, done.stdout


@pytest.fixture
def pyright():
    if importlib.util.find_spec("pyright") is None or shutil.which("node") is None:
        pytest.skip("SKIPPED: no pyright, or no node to run it with: it was not asked")

    def ask(folder):
        return check("pyright", "--project", str(folder), "--pythonpath", sys.executable)

    return ask


@pytest.mark.tree
def test_pyright_accepts_what_is_right_and_refuses_what_is_not(pyright):
    done = pyright(EXAMPLES)
    assert done.returncode == 0, done.stdout


@pytest.mark.tree
def test_pyright_says_which_words_there_are(pyright, tmp_path):
    """The same lines without their ignores, so that this test is known to see anything."""
    for name in ("refused.py", "pyrightconfig.json"):
        text = (EXAMPLES / name).read_text().replace('"../.."', f'"{ROOT}"')
        (tmp_path / name).write_text("\n".join(line.partition("  # type: ignore")[0] for line in text.splitlines()))
    done = pyright(tmp_path)
    refused = {int(line.split(":")[1]) for line in done.stdout.splitlines() if " - error: " in line}
    expected = (EXAMPLES / "refused.py").read_text().splitlines()
    assert {number for number, line in enumerate(expected, 1) if "# type: ignore" in line} <= refused
    assert 'No parameter named "executr"' in done.stdout


def test_the_words_for_a_checker_are_those_that_are_taken():
    for words, taken in ((Mode, MODES), (ExecutorName, EXECUTORS), (OnInputChange, ON_INPUT_CHANGE), (When, WHEN)):
        assert words.__args__ == tuple(taken)


def test_the_keywords_for_a_checker_are_those_that_are_taken():
    assert set(ScheduleKeywords.__annotations__) == set(StartOptions.__dataclass_fields__)
