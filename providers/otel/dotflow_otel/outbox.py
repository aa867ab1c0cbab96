"""The way out for spans: a bounded queue before an exporter, in which nothing is lost without being counted."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_SCHEDULE_DELAY
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

__all__ = ["Outbox"]

_DEFAULT_CAPACITY = 2048
_BREATH_SECONDS = 0.0005  # one for a batch of 512, while the exporter has not begun with it
_exporting = threading.local()


class Outbox(SpanProcessor):
    """The SDK's batch processor, with the spans that do not get through counted.

    The SDK's queue drops the oldest span when it is full. This one refuses the newest before that happens, which can be
    counted exactly. And where the queue fills only because the program leaves the exporter's thread no time to run (it
    takes a moment of the interpreter's lock, which a busy program may never let go), the program takes a breath.

    `taken` counts the spans that it has taken in so far.
    """

    def __init__(self, exporter: SpanExporter, where: str, delay: float | None = None) -> None:
        """`delay`: seconds that a span waits at most for others, unless `OTEL_BSP_SCHEDULE_DELAY` says so."""
        self._where = where
        self._capacity = _capacity()
        self._exporter = _WatchedExporter(exporter)
        millis = None if delay is None or OTEL_BSP_SCHEDULE_DELAY in os.environ else delay * 1000
        self._batch = BatchSpanProcessor(self._exporter, max_queue_size=self._capacity, schedule_delay_millis=millis)
        self.taken = 0
        self._refused = 0
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: only spans that have ended are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span in, or count it if there is no room."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        with self._lock:
            waiting = self.taken - self._exporter.handed
            if waiting >= self._capacity:
                self._refused += 1
                return
            self.taken += 1
        self._batch.on_end(span)
        if waiting * 4 > self._capacity and not self._exporter.is_busy:
            time.sleep(_BREATH_SECONDS)

    @property
    def is_waiting(self) -> bool:
        """Whether spans have been taken in that are neither sent nor given up yet."""
        return self.taken > self._exporter.settled

    def give_up(self, taken: int) -> None:
        """Count as lost what is not sent yet of the first so many that were taken in. It will not be tried again."""
        self._exporter.give_up(taken)

    def take_lost(self) -> Iterator[tuple[int, str]]:
        """How many spans were lost since this was last asked, and why."""
        with self._lock:
            refused, self._refused = self._refused, 0
        if refused:
            yield refused, f"{self._capacity} others were waiting to be sent to {self._where}"
        if failed := self._exporter.take_failed():
            yield failed, f"not delivered to {self._where}"

    def shutdown(self) -> None:
        """Send what is there and shut the exporter down, which may still be busy with what was given up."""
        if self.is_waiting or not self._exporter.is_busy:
            self._batch.shutdown()  # type: ignore[no-untyped-call]
        else:
            threading.Thread(target=self._batch.shutdown, name="dotflow-otel-shutdown", daemon=True).start()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what is there; `timeout_millis` is milliseconds, and the SDK does not keep to it."""
        return self._batch.force_flush(timeout_millis) if self.is_waiting else True


class _WatchedExporter(SpanExporter):
    """Passes batches on, and counts those that did not get through.

    The exporters of the SDK log every failed try. Here the engine tells of a loss once, so what they log while they
    work for us is held back; exporters of the application log as before.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self.handed = 0
        self.is_busy = False
        self._exporter = exporter
        self._given_up = 0  # so many of the first ones, whether or not they had been handed on before
        self._failed = 0
        self._lock = threading.Lock()
        logging.getLogger(type(exporter).__module__).addFilter(_not_ours)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass the batch on; count it if it fails. Called by one thread at a time."""
        end = self.handed + len(spans)
        left = spans[max(0, self._given_up - self.handed) :]
        _exporting.on = self.is_busy = True
        result = SpanExportResult.FAILURE
        try:
            if left:
                result = self._exporter.export(left)
        finally:
            _exporting.on = self.is_busy = False
            with self._lock:
                self._failed += 0 if result is SpanExportResult.SUCCESS else max(0, end - self.settled)
                self.handed = end
        return result

    @property
    def settled(self) -> int:
        """How many spans have got through, have failed or were given up."""
        return max(self.handed, self._given_up)

    def give_up(self, end: int) -> None:
        """Count those of the first `end` spans as lost that are not settled yet."""
        with self._lock:
            self._failed += max(0, end - self.settled)
            self._given_up = max(end, self._given_up)

    def take_failed(self) -> int:
        """How many spans were not delivered since this was last asked."""
        with self._lock:
            failed, self._failed = self._failed, 0
            return failed

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; `timeout_millis` is milliseconds."""
        return self._exporter.force_flush(timeout_millis)


def _capacity() -> int:
    """`OTEL_BSP_MAX_QUEUE_SIZE` (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)."""
    text = os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE, "").strip()
    return int(text) if text.isdigit() and int(text) > 0 else _DEFAULT_CAPACITY


def _not_ours(record: logging.LogRecord) -> bool:
    del record
    return not getattr(_exporting, "on", False)
