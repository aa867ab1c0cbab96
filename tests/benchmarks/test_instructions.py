"""The guard that counts instructions: when it is red, when it is green, and when it says that it did not look."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.benchmark_scripts import FOLDER, script

pytestmark = pytest.mark.tree

PACKAGES = {"orjson": "3.13.0"}
BASELINE = {"packages": PACKAGES, "instructions_a_task": {"adding a task": 10_000, "bare": 50_000}}


def compared(packages=PACKAGES, **counted):
    figures = {"adding a task": counted["adding"], "bare": counted["bare"]}
    lines, red = script("instructions").compared(BASELINE, figures, packages)
    return "\n".join(lines), red


@pytest.mark.parametrize(("adding", "bare"), [(10_000, 50_000), (10_300, 48_500), (9_700, 51_500)])
def test_three_percent_either_way_is_green(adding, bare):
    text, red = compared(adding=adding, bare=bare)
    assert not red
    assert "RED" not in text


@pytest.mark.parametrize(("bare", "change"), [(52_000, "+4.00%"), (48_000, "-4.00%"), (51_501, "+3.00%")])
def test_more_is_red_and_says_which_and_what_to_do(bare, change):
    text, red = compared(adding=10_000, bare=bare)
    assert red
    (line,) = [line for line in text.splitlines() if "RED" in line]
    assert line.split()[0] == "bare"
    assert change in line
    assert "make bench-baseline" in text
    assert "orjson" not in text


def test_a_red_figure_names_the_packages_that_are_not_the_baselines():
    text, _ = compared(adding=11_000, bare=50_000, packages={"orjson": "4.0.0"})
    assert "3.13.0 -> 4.0.0" in text


def test_a_python_with_no_baseline_or_another_build_is_not_compared():
    guard = script("instructions")
    here = guard.build()
    assert "no entry for Python" in guard.why_not({}, here)
    stored = {guard.minor_version(): {"build": {**here, "compiler": "another"}}}
    assert "compiler another, here " in guard.why_not(stored, here)
    assert not guard.why_not({guard.minor_version(): {"build": here}}, here)


def test_without_valgrind_it_says_so_in_one_line_and_passes(tmp_path):
    command = [sys.executable, FOLDER / "instructions.py"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "instructions a task: NOT CHECKED: valgrind is not installed (on Debian: apt-get install valgrind)"
    ]

    done = subprocess.run([*command, "--move-baseline"], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    assert done.returncode == 1, "a baseline that was not written is no success"


def test_the_count_of_a_file_of_callgrinds():
    assert script("instructions").total("version: 1\nevents: Ir\nfn=(1) a\n1 2\ntotals: 25783736\n") == 25_783_736


def test_the_stored_baseline_has_every_case():
    for python, stored in json.loads((FOLDER / "instructions.json").read_text(encoding="utf-8")).items():
        assert stored["build"]["python"].startswith(f"{python}.")
        assert set(stored["instructions_a_task"]) == {"adding a task", "bare", "all three signals"}
        assert set(stored["packages"]) == set(script("instructions").PACKAGES)
