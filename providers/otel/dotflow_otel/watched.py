"""An exporter that is watched: what it loses is counted, and its own log lines do not flood the application's."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["WatchedExporter"]

_exporting = threading.local()


class WatchedExporter(SpanExporter):
    """Passes batches on, and counts the spans that did not get through.

    The exporters of the SDK log every failed try. Here the engine tells of a loss once, so what they log while they
    work for us is held back; exporters of the application log as before. `where` is a URL or a path, for people.
    """

    def __init__(self, exporter: SpanExporter, where: str) -> None:
        self.where = where
        self._exporter = exporter
        self._lost = 0
        self._lock = threading.Lock()
        logging.getLogger(type(exporter).__module__).addFilter(_not_ours)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass the batch on; count it if it fails."""
        _exporting.on = True
        try:
            result = self._exporter.export(spans)
        except Exception:
            self._count(len(spans))
            raise
        finally:
            _exporting.on = False
        if result is not SpanExportResult.SUCCESS:
            self._count(len(spans))
        return result

    def take_lost(self) -> int:
        """How many spans were lost since this was last asked."""
        with self._lock:
            lost, self._lost = self._lost, 0
            return lost

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; `timeout_millis` is milliseconds."""
        return self._exporter.force_flush(timeout_millis)

    def _count(self, spans: int) -> None:
        with self._lock:
            self._lost += spans


def _not_ours(record: logging.LogRecord) -> bool:
    del record
    return not getattr(_exporting, "on", False)
