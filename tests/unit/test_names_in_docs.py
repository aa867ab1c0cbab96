"""What a page names exists: every path of the source tree, every module of dotflow, and everything in one."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from dotflow.names import metrics, spans
from dotflow_datadog import names as datadog

pytestmark = pytest.mark.tree
ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "providers/*/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # It also names what is gone.
)
_PATH = re.compile(
    r"(?<![\w./-])(?:\.\./)*((?:dotflow|providers|tests|docs|examples|benchmarks|grafana|stack)/[\w./*-]*)"
)
_NAME = re.compile(r"(?<![\w./-])(dotflow(?:_[a-z]+)?(?:\.[A-Za-z_]\w*)+)")

_METRICS = tuple(metric.name for metric in metrics.METRICS)
_OTHERS = {value for names in (spans, datadog) for value in vars(names).values() if isinstance(value, str)}


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_path_on_a_page_is_there(page):
    assert missing_paths(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_name_on_a_page_is_there(page):
    assert missing_names(page.read_text(encoding="utf-8")) == []


def test_what_is_not_there_is_found():
    assert missing_paths("in `dotflow/engine/contain.py`, docs/*.md, `providers/*/` and tests/unit.") == [
        "dotflow/engine/contain.py"
    ]
    assert missing_paths("see [there](../../docs/nowhere.md)") == ["docs/nowhere.md"]
    assert missing_names(
        "`dotflow.toolkit.Batcher`, `dotflow.digest.Digest`, dotflow.run.id and dotflow.task.completed.etl.load"
    ) == ["dotflow.digest.Digest"]
    assert missing_names("`dotflow.Config.nothing` and `dotflow_otel.spans`") == [
        "dotflow.Config.nothing",
        "dotflow_otel.spans",
    ]


def missing_paths(page: str) -> list[str]:
    """Paths of the source tree that are not there. A `*` may stand for anything."""
    return sorted({path for path in _PATH.findall(page) if not any(ROOT.glob(path.rstrip("./")))})


def missing_names(page: str) -> list[str]:
    """Dotted names that are neither a module, nor in one, nor the name of a metric, an attribute or an operation."""
    return sorted({name for name in _NAME.findall(page) if not _is_telemetry(name) and not _is_code(name)})


def _is_telemetry(name: str) -> bool:
    if name in _OTHERS or f"{name}.".startswith(spans.RECORDED_PREFIX):
        return True
    # In statsd the values of the labels follow the name.
    return any(name == metric or name.startswith(f"{metric}.") for metric in _METRICS)


def _is_code(name: str) -> bool:
    module, *attributes = _imported(name.split("."))
    for attribute in attributes:
        if not hasattr(module, attribute):
            return False
        module = getattr(module, attribute)
    return True


def _imported(parts: list[str]) -> list[object]:
    """The longest module that the parts begin with, and the parts that are left."""
    for count in range(len(parts), 0, -1):
        try:
            return [importlib.import_module(".".join(parts[:count])), *parts[count:]]
        except ModuleNotFoundError:
            continue
    return [None, *parts]
