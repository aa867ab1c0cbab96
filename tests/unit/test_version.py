"""What is installed, as the package itself sees it."""

from __future__ import annotations

import warnings
import zipfile

import pytest

from dotflow.version import warn_of_the_other


def told(folder):
    """What is warned of when the package in `folder` is imported."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_the_other([str(folder / "dotflow")])
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("dotflow-1.0.1.dist-info", "1.0.1"),
        ("dotflow-2.0.0rc1.dist-info", "2.0.0rc1"),
        ("Dotflow-1.0.dist-info", "1.0"),
        ("dotflow-1.0-py3.12.egg-info", "1.0"),
    ],
)
def test_the_other_distribution_is_known_by_what_its_installers_leave(tmp_path, folder, version):
    (tmp_path / folder).mkdir()
    (message,) = told(tmp_path)
    assert message.startswith(f"dotflow {version} is installed in the same place as dotflow-sdk.")
    assert str(tmp_path / "dotflow") in message


@pytest.mark.parametrize(
    "folder",
    [
        "dotflow_sdk-0.1.0.dist-info",
        "dotflow-sdk-0.1.0.dist-info",
        "dotflow-1.0.1.data",
        "dotflow",
        "mydotflow-1.0.dist-info",
        "dotflow_otel-1.0.dist-info",
    ],
)
def test_what_has_a_similar_name_is_not_taken_for_it(tmp_path, folder):
    (tmp_path / folder).mkdir()
    assert told(tmp_path) == []


def test_a_package_in_an_archive_or_in_no_folder_has_nothing_beside_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("dotflow-1.0.1.dist-info/METADATA", "")
    assert told(tmp_path / "all.zip") == []
    assert told(tmp_path / "nowhere") == []
