"""Spans as OTLP JSON, one export request a line.

The format of OpenTelemetry's file exporter, which the Jaeger UI and the Collector's `otlpjsonfile` receiver read:
https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
"""

from __future__ import annotations

import base64
import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["OtlpJsonFileExporter"]

# Protobuf's own JSON writes bytes as base64; OTLP's JSON wants the ids of traces and spans in hex:
# https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
_HEX_FIELDS = frozenset({"traceId", "spanId", "parentSpanId"})


class OtlpJsonFileExporter(SpanExporter):
    """Appends each batch of spans to a file, as one line. One that does not fit on the disk is taken back.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered and appending: a line is one system call, so those of several processes never mix.
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the batch, whole, and hand it to the operating system."""
        request = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
        line = json.dumps(_with_hex_ids(request), separators=(",", ":"))
        with self._lock:
            return SpanExportResult.FAILURE if self._file.closed else self._append(line.encode() + b"\n")

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _append(self, line: bytes) -> SpanExportResult:
        written = self._file.write(line)
        if written == len(line):
            return SpanExportResult.SUCCESS
        self._take_back(written or 0)
        return SpanExportResult.FAILURE

    def _take_back(self, written: int) -> None:
        """Cut a torn line off; where another process has written since, or it is no plain file, end it instead."""
        with suppress(OSError):
            end = self._file.seek(0, os.SEEK_CUR)  # where our own write ended
            if end == os.fstat(self._file.fileno()).st_size:
                self._file.truncate(end - written)
                return
        with suppress(OSError):
            self._file.write(b"\n")


def _with_hex_ids(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: base64.b64decode(value).hex() if key in _HEX_FIELDS else _with_hex_ids(value)
            for key, value in node.items()
        }
    return [_with_hex_ids(item) for item in node] if isinstance(node, list) else node
