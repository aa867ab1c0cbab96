"""The way out for log records: a bounded queue before an exporter, in which nothing is lost without being counted."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.environment_variables import (
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_MAX_QUEUE_SIZE,
    OTEL_BLRP_SCHEDULE_DELAY,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

__all__ = ["LogOutbox"]

# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#batch-logrecord-processor
_CAPACITY = 2048
_BATCH = 512
_DELAY_MILLIS = 1000
_BREATH_SECONDS = 0.0005
_BREATHS = 200  # for a batch at most
_exporting = threading.local()


class LogOutbox(LogRecordProcessor):
    """The SDK's batch processor, with the records that do not get through counted.

    The SDK's queue drops the oldest record when it is full; this one refuses the newest before that happens. To encode a
    record takes longer than to make one, so before it comes to that, who makes them takes a breath with each and lets the
    exporter's thread run: a tenth of a second for a batch at most, so a collector that stalls costs no more than that.

    A flush that does not come to its end gives up what it was to send: it is counted, once, and not sent later.
    """

    def __init__(self, exporter: LogRecordExporter, where: str, delay: float | None = None) -> None:
        """`delay`: seconds that a record waits at most for others, unless `OTEL_BLRP_SCHEDULE_DELAY` says so."""
        self._where = where
        self._capacity = _setting(OTEL_BLRP_MAX_QUEUE_SIZE, _CAPACITY)
        self._exporter = _WatchedExporter(exporter)
        self._batch = BatchLogRecordProcessor(
            self._exporter,
            schedule_delay_millis=_setting(OTEL_BLRP_SCHEDULE_DELAY, round(delay * 1000) if delay else _DELAY_MILLIS),
            max_export_batch_size=min(_setting(OTEL_BLRP_MAX_EXPORT_BATCH_SIZE, _BATCH), self._capacity),
            max_queue_size=self._capacity,
        )
        self._lock = threading.Lock()
        self._taken = 0
        self._refused = 0
        self._is_closed = False
        self._breaths = 0
        self._breaths_for = 0

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Take a record in, or count it if there is no room."""
        with self._lock:
            waiting = self._taken - self._exporter.settled
            if waiting >= self._capacity or self._is_closed:
                self._refused += 1
                return
            self._taken += 1
        self._batch.on_emit(log_record)
        if waiting * 2 > self._capacity:
            self._give_way()

    @property
    def is_waiting(self) -> bool:
        """Whether records have been taken in that are neither sent yet nor given up."""
        return self._taken > max(self._exporter.settled, self._exporter.given_up)

    @property
    def taken(self) -> int:
        """How many records have been taken in."""
        return self._taken

    def give_up(self, taken: int) -> None:
        """Count what is left of the first `taken` records as lost, and do not send it."""
        self._exporter.give_up(taken)

    def take_lost(self) -> Iterator[tuple[int, str]]:
        """How many records were lost since this was last asked, and why."""
        with self._lock:
            refused, self._refused = self._refused, 0
        if refused and self._is_closed:
            yield refused, "the log is closed"
        elif refused:
            yield refused, f"{self._capacity} others were waiting to be sent to {self._where}"
        if lost := self._exporter.take_lost():
            yield lost, f"not delivered to {self._where}"

    def shutdown(self) -> None:
        """Send what is there and shut the exporter down."""
        with self._lock:
            self._is_closed = True
        self._batch.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what is there; `timeout_millis` is milliseconds, and the SDK does not keep to it."""
        return self._batch.force_flush(timeout_millis)

    def _give_way(self) -> None:
        settled = self._exporter.settled
        if settled != self._breaths_for:
            self._breaths_for, self._breaths = settled, 0
        if self._breaths < _BREATHS:
            self._breaths += 1
            time.sleep(_BREATH_SECONDS)


class _WatchedExporter(LogRecordExporter):
    """Passes batches on, and counts the records that did not get through.

    Records come in the order in which they were taken in, so a count says which ones are meant: `settled` is how many
    have been dealt with, the first `given_up` are not wanted any more.

    What the SDK's exporters log while they work for us is held back, because the engine tells of a loss once; exporters
    of the application log as before.
    """

    def __init__(self, exporter: LogRecordExporter) -> None:
        self.settled = 0
        self.given_up = 0
        self._exporter = exporter
        self._lost = 0
        self._lock = threading.Lock()
        for base in type(exporter).__mro__:
            # gRPC's exporter logs in the module of a class that it shares with those of the other signals.
            if base.__module__.startswith("opentelemetry.exporter."):
                logging.getLogger(base.__module__).addFilter(_not_ours)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Pass the batch on; count it if it fails. Called by one thread at a time."""
        unwanted = min(len(batch), max(0, self.given_up - self.settled))
        wanted = batch[unwanted:]
        result = self._pass_on(wanted) if wanted else LogRecordExportResult.SUCCESS
        with self._lock:
            first, self.settled = self.settled, self.settled + len(batch)
            if result is not LogRecordExportResult.SUCCESS:
                self._lost += self.settled - min(self.settled, max(first, self.given_up))
        return result

    def give_up(self, taken: int) -> None:
        """Count those of the first `taken` records that are not settled as lost."""
        with self._lock:
            self._lost += max(0, taken - max(self.settled, self.given_up))
            self.given_up = max(taken, self.given_up)

    def take_lost(self) -> int:
        """How many records were lost since this was last asked."""
        with self._lock:
            lost, self._lost = self._lost, 0
            return lost

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; `timeout_millis` is milliseconds."""
        return self._exporter.force_flush(timeout_millis)

    def _pass_on(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        _exporting.on = True
        try:
            return self._exporter.export(batch)
        except Exception:  # noqa: BLE001 - counted, and told of by the engine
            return LogRecordExportResult.FAILURE
        finally:
            _exporting.on = False


def _setting(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    return int(value) if value.isdecimal() and int(value) > 0 else default


def _not_ours(record: logging.LogRecord) -> bool:
    del record
    return not getattr(_exporting, "on", False)
