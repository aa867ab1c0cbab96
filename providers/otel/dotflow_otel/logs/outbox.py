"""The way out for log records: a bounded queue before an exporter, in which nothing is lost without being counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.environment_variables import (
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_MAX_QUEUE_SIZE,
    OTEL_BLRP_SCHEDULE_DELAY,
)

from dotflow_otel.export.deliveries import Counted, Deliveries, Gate
from dotflow_otel.options import number_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

__all__ = ["LogOutbox"]

# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#batch-logrecord-processor
_CAPACITY = 2048
_BATCH = 512
_DELAY_MILLIS = 1000
_BREATH_SECONDS = 0.0005
_BREATHS = 200  # for a batch at most


class LogOutbox(Counted, LogRecordProcessor):
    """The SDK's batch processor, with the records that do not get through counted.

    The SDK's queue drops the oldest record when it is full; this one refuses the newest before that happens. To encode a
    record takes longer than to make one, so before it comes to that, who makes them takes a breath with each and lets the
    exporter's thread run: a tenth of a second for a batch at most, so a collector that stalls costs no more than that.

    A flush that does not come to its end gives up what it was to send: it is counted, once, and not sent later.
    """

    def __init__(self, exporter: LogRecordExporter, where: str, delay: float | None = None) -> None:
        """`delay`: seconds that a record waits at most for others, unless `OTEL_BLRP_SCHEDULE_DELAY` says so."""
        self._deliveries = Deliveries(exporter)
        self._gate = Gate(self._deliveries, number_in(OTEL_BLRP_MAX_QUEUE_SIZE, _CAPACITY), where)
        self._batch = BatchLogRecordProcessor(
            _WatchedExporter(exporter, self._deliveries),
            schedule_delay_millis=number_in(OTEL_BLRP_SCHEDULE_DELAY, round(delay * 1000) if delay else _DELAY_MILLIS),
            max_export_batch_size=min(number_in(OTEL_BLRP_MAX_EXPORT_BATCH_SIZE, _BATCH), self._gate.capacity),
            max_queue_size=self._gate.capacity,
        )
        self._breaths = 0
        self._breaths_for = 0

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Take a record in, or count it if there is no room."""
        waiting = self._gate.enter(log_record)
        if waiting is None:
            return
        self._batch.on_emit(log_record)
        if waiting * 2 > self._gate.capacity:
            self._give_way()

    def shutdown(self) -> None:
        """Send what is there and shut the exporter down."""
        self._gate.close()
        self._batch.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what is there; `timeout_millis` is milliseconds, and the SDK does not keep to it."""
        return self._batch.force_flush(timeout_millis)

    def _give_way(self) -> None:
        settled = self._deliveries.handed
        if settled != self._breaths_for:
            self._breaths_for, self._breaths = settled, 0
        if self._breaths < _BREATHS:
            self._breaths += 1
            time.sleep(_BREATH_SECONDS)


class _WatchedExporter(LogRecordExporter):
    """Passes batches on, watched."""

    def __init__(self, exporter: LogRecordExporter, deliveries: Deliveries) -> None:
        self._exporter = exporter
        self._deliveries = deliveries

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Pass the batch on; count it if it fails."""
        result = self._deliveries.hand(batch, self._exporter.export, LogRecordExportResult.SUCCESS)
        return LogRecordExportResult.FAILURE if result is None else result

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; `timeout_millis` is milliseconds."""
        return self._exporter.force_flush(timeout_millis)
