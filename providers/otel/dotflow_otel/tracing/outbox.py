"""The way out for spans: a bounded queue before an exporter, in which nothing is lost without being counted."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from dotflow.names.spans import RUN_TRIGGER
from dotflow_otel.export.deliveries import Counted, Deliveries, Gate
from dotflow_otel.options import number_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

__all__ = ["Outbox"]

# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#batch-span-processor
_DEFAULT_CAPACITY = 2048
_DEFAULT_BATCH = 512
_ROOM_FOR_RUNS = 64
_BREATH_SECONDS = 0.0005  # one for a batch of 512, while the exporter has not begun with it


class Outbox(Counted, SpanProcessor):
    """The SDK's batch processor, with the spans that do not get through counted.

    The SDK's queue drops the oldest span when it is full. This one refuses the newest before that happens, which can be
    counted exactly. And where the queue fills only because the program leaves the exporter's thread no time to run (it
    takes a moment of the interpreter's lock, which a busy program may never let go), the program takes a breath.

    The span of a run ends last, so it would be the first to find no room, and what is left of its trace would have no
    root: a little room is kept for those.
    """

    def __init__(self, exporter: SpanExporter, where: str, delay: float | None = None) -> None:
        """`delay`: seconds that a span waits at most for others, unless `OTEL_BSP_SCHEDULE_DELAY` says so."""
        self._deliveries = Deliveries(exporter)
        self._gate = Gate(self._deliveries, number_in(OTEL_BSP_MAX_QUEUE_SIZE, _DEFAULT_CAPACITY), where, _more_for)
        millis = None if delay is None or OTEL_BSP_SCHEDULE_DELAY in os.environ else delay * 1000
        # The SDK makes no processor at all whose batches are larger than its queue.
        batch = min(number_in(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, _DEFAULT_BATCH), self._gate.capacity)
        # Below a whole batch the exporter has no reason to begin, so there is nothing to wait for.
        self._breathe_from = min(batch, self._gate.capacity - 1)
        self._batch = BatchSpanProcessor(
            _WatchedExporter(exporter, self._deliveries),
            max_queue_size=self._gate.capacity + _ROOM_FOR_RUNS,
            schedule_delay_millis=millis,
            max_export_batch_size=batch,
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: only spans that have ended are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span in, or count it if there is no room."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        waiting = self._gate.enter(span)
        if waiting is None:
            return
        self._batch.on_end(span)
        if waiting >= self._breathe_from and not self._deliveries.is_busy:
            time.sleep(_BREATH_SECONDS)

    def shutdown(self) -> None:
        """Send what is there and shut the exporter down, which may still be busy with what was given up."""
        self._gate.close()
        if self.is_waiting or not self._deliveries.is_busy:
            self._batch.shutdown()  # type: ignore[no-untyped-call]
        else:
            threading.Thread(target=self._batch.shutdown, name="dotflow-otel-shutdown", daemon=True).start()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what is there; `timeout_millis` is milliseconds, and the SDK does not keep to it."""
        return self._batch.force_flush(timeout_millis) if self.is_waiting else True


class _WatchedExporter(SpanExporter):
    """Passes batches on, watched."""

    def __init__(self, exporter: SpanExporter, deliveries: Deliveries) -> None:
        self._exporter = exporter
        self._deliveries = deliveries

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass the batch on; count it if it fails."""
        result = self._deliveries.hand(spans, self._exporter.export, SpanExportResult.SUCCESS)
        return SpanExportResult.FAILURE if result is None else result

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; `timeout_millis` is milliseconds."""
        return self._exporter.force_flush(timeout_millis)


def _more_for(span: ReadableSpan) -> int:
    return _ROOM_FOR_RUNS if RUN_TRIGGER in (span.attributes or ()) else 0
