"""The distribution `dotflow`, another project, in the environment: both write the folder `dotflow/`, and the first import says so."""

from __future__ import annotations

import sysconfig

import pytest

import dotflow
from support.wheels import Environment, make_wheel, wheel_of_dotflow

_IMPORT = "import sys\nimport dotflow\nimport dotflow.abc\nprint(dotflow.__file__)\n"

_IN_WORKERS = """
from dotflow import DotFlow, action

@action
def step():
    return __import__("os").getpid()

with DotFlow() as workflow:
    workflow.task.add([step, step])
    run = workflow.start(mode="parallel", executor="process", max_workers=2).raise_for_status()
    assert __import__("os").getpid() not in workflow.result_storage()
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Of the other, and of ours."""
    folder = tmp_path_factory.mktemp("wheels")
    of_the_other = {"dotflow/__init__.py": "NAME = 'the other'\n", "dotflow/core/action.py": "\n"}
    return make_wheel(folder, "dotflow", "1.0.1", of_the_other), wheel_of_dotflow(folder)


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / "venv")


def test_both_in_one_environment_are_told_of_once_with_what_to_do(environment, wheels, tmp_path):
    for wheel in wheels:
        environment.install(wheel)
    done = environment.run(_IMPORT, tmp_path)
    assert done.stdout.strip() == str(environment.packages / "dotflow" / "__init__.py")
    assert done.stderr.count("Warning:") == 1
    where = f"{tmp_path / 'program.py'}:2: UserWarning: "
    assert done.stderr.startswith(
        f"{where}dotflow 1.0.1 is installed in the same place as dotflow-sdk. It is another project"
    )
    assert f"the folder {environment.packages / 'dotflow'}" in done.stderr

    # What it says helps, and in that order: the first command takes files of ours along.
    assert "pip uninstall dotflow, then pip install --force-reinstall --no-deps dotflow-sdk" in done.stderr
    environment.pip("uninstall", "--yes", "dotflow")
    assert not (environment.packages / "dotflow" / "__init__.py").exists()
    environment.install(wheels[1], options=["--force-reinstall"])
    assert environment.run(_IMPORT, tmp_path).stderr == ""


def test_worker_processes_do_not_say_it_again(environment, wheels, tmp_path):
    for wheel in wheels:
        environment.install(wheel)
    environment.add_to_path(sysconfig.get_path("purelib"))  # cloudpickle is there
    assert environment.run(_IN_WORKERS, tmp_path).stderr.count("dotflow 1.0.1 is installed") == 1


def test_ours_alone_says_nothing(environment, wheels, tmp_path):
    environment.install(wheels[1])
    assert environment.run(_IMPORT, tmp_path).stderr == ""


def test_the_other_in_another_folder_of_the_path_writes_nothing_of_ours(environment, wheels, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    environment.install(wheels[1])
    environment.install(wheels[0], options=["--target", elsewhere])
    environment.add_to_path(elsewhere)
    assert (elsewhere / "dotflow-1.0.1.dist-info").is_dir()
    done = environment.run(f"{_IMPORT}print(sys.path[-1])\n", tmp_path)
    assert done.stdout.split() == [str(environment.packages / "dotflow" / "__init__.py"), str(elsewhere)]
    assert done.stderr == ""


def test_an_editable_install_of_ours_says_nothing(environment, tmp_path):
    """As pip makes one: the metadata in site-packages, and the folder of the source in the path."""
    (environment.packages / f"dotflow_sdk-{dotflow.__version__}.dist-info").mkdir()
    environment.add_to_path(dotflow.__path__[0].removesuffix("/dotflow"))
    done = environment.run(_IMPORT, tmp_path)
    assert done.stdout.strip() == dotflow.__file__
    assert done.stderr == ""
