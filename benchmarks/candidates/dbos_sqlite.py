"""DBOS: a workflow of steps, each kept in SQLite before the next begins: that is what it is for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dbos import DBOS, DBOSConfig
from measure import figures, report

if TYPE_CHECKING:
    from collections.abc import Callable


@DBOS.step()
def noop() -> None:
    """The work, which is none."""


@DBOS.workflow()
def workflow(tasks: int) -> None:
    for _ in range(tasks):
        noop()


def prepare(tasks: int) -> Callable[[], object]:
    return lambda: workflow(tasks)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config: DBOSConfig = {
            "name": "bench",
            "system_database_url": f"sqlite:///{Path(folder) / 'bench.sqlite'}",
            "log_level": "ERROR",
            "enable_otlp": False,
        }
        DBOS(config=config)
        DBOS.launch()
        found = figures(prepare, tasks=200)
        DBOS.destroy()
    report(found)


if __name__ == "__main__":
    main()
