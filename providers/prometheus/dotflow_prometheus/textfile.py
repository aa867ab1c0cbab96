"""A file for node_exporter's textfile collector."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import write_to_textfile
from prometheus_client.parser import text_string_to_metric_families

from dotflow.names import metrics as names
from dotflow_prometheus.selection import KEPT, for_textfile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from dotflow_prometheus.selection import Snapshot

__all__ = ["Textfile"]


class Textfile:
    """Written as a whole and then renamed, so that nobody reads half of it.

    https://github.com/prometheus/node_exporter#textfile-collector
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # a step may change the directory

    def select(self, families: Iterable[Metric], owner: str) -> Snapshot:
        """What to write: everything, and what the file says of last runs that this process does not know."""
        return for_textfile(families, owner, self._earlier())

    def write(self, series: Snapshot) -> None:
        """Replace the file.

        Raises:
            OSError: it cannot be written; the file is as it was.
        """
        write_to_textfile(os.fspath(self.path), series)

    def _earlier(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        # Whatever is wrong with a file that is about to be replaced, it is no reason not to replace it.
        with suppress(Exception):
            lines = self.path.read_text(encoding="utf-8").split("\n")
            kept = "".join(f"{line}\n" for line in lines if line.startswith(KEPT))
            for family in text_string_to_metric_families(kept):
                for sample in family.samples:
                    if math.isfinite(sample.value):
                        found[sample.name, sample.labels[names.WORKFLOW]] = sample.value
        return found

    def __str__(self) -> str:
        return os.fspath(self.path)
