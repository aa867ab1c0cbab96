"""Endpoints on the loopback that decode the real protobuf of log records, and what else tests of logs need."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult

from dotflow import Config, DotFlow, action
from support.otlp import OtlpEndpoint, attributes_of, value_of

mine = logging.getLogger("mine")


@action(name="talk")
def talk():
    """Writes a line of its own."""
    mine.info("read %d rows", 300, extra={"rows": 300})


@action
def quiet():
    """Writes none."""
    return 1


@dataclass(frozen=True)
class ReceivedRecord:
    """A log record as it came over the wire; ids as lower-case hex, empty if there is none."""

    event: str
    body: Any
    severity: int
    severity_text: str
    time_ns: int
    observed_ns: int
    trace_id: str
    span_id: str
    flags: int
    attributes: dict[str, Any]
    dropped_attributes: int
    scope: str
    resource: dict[str, Any] = field(repr=False)


class LogsEndpoint(OtlpEndpoint):
    """An `OtlpEndpoint` for `/v1/logs`. While `gate` is closed, it takes requests and does not answer them."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(status)
        self.records: list[ReceivedRecord] = []
        self.refused = 0
        self.gate = threading.Event()
        self.gate.set()

    def __exit__(self, *exception: object) -> None:
        self.gate.set()
        super().__exit__(*exception)

    @property
    def events(self) -> list[str]:
        """The engine's own, in the order in which they came."""
        return [record.event for record in self.records if record.event]

    @property
    def lines(self) -> list[ReceivedRecord]:
        """Those of steps."""
        return [record for record in self.records if not record.event]

    def of(self, event: str) -> ReceivedRecord:
        (record,) = [record for record in self.records if record.event == event]
        return record

    def line(self, body: str) -> ReceivedRecord:
        (record,) = [record for record in self.lines if record.body == body]
        return record

    def _take(self, path: str, body: bytes) -> int:
        assert path == "/v1/logs", path
        found = decode(ExportLogsServiceRequest.FromString(body))
        self.gate.wait(20)
        with self._lock:
            self.requests += 1
            if self.status == 200:
                self.records += found
            else:
                self.refused += len(found)
            return self.status


def decode(request: ExportLogsServiceRequest) -> list[ReceivedRecord]:
    return [
        ReceivedRecord(
            event=record.event_name,
            body=value_of(record.body),
            severity=record.severity_number,
            severity_text=record.severity_text,
            time_ns=record.time_unix_nano,
            observed_ns=record.observed_time_unix_nano,
            trace_id=record.trace_id.hex(),
            span_id=record.span_id.hex(),
            flags=record.flags,
            attributes=attributes_of(record.attributes),
            dropped_attributes=record.dropped_attributes_count,
            scope=scoped.scope.name,
            resource=attributes_of(resource.resource.attributes),
        )
        for resource in request.resource_logs
        for scoped in resource.scope_logs
        for record in scoped.log_records
    ]


@contextmanager
def grpc_endpoint():
    """A collector for gRPC: its URL, and the list of what it receives."""
    import grpc
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

    received = []

    class Service(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request, context):  # noqa: N802 - its name in the protocol
            received.extend(decode(request))
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", received
    server.stop(None).wait()


@contextmanager
def logging_with(*handlers: logging.Handler, level=None):
    """The root logger as a program has set it up, pytest's own handlers put aside; checks that it is left like that."""
    root = logging.getLogger()
    found, level_found = root.handlers[:], root.level
    before = level or (logging.INFO if handlers else logging.WARNING)
    root.handlers[:] = handlers
    root.setLevel(before)
    try:
        yield root
        assert root.handlers == list(handlers), "a handler was left behind"
        assert root.level == before
        assert all(not handler.filters for handler in handlers)
    finally:
        root.handlers[:], root.level = found, level_found


class Kept(logging.Handler):
    """A handler of the application's own."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


class InMemory(LogRecordExporter):
    """Keeps records, and the names of their scopes."""

    def __init__(self):
        self.records = []
        self.is_shut_down = False

    def export(self, batch):
        self.records += [(each.log_record, each.instrumentation_scope.name) for each in batch]
        return LogRecordExportResult.SUCCESS

    def shutdown(self):
        self.is_shut_down = True

    def force_flush(self, timeout_millis=0):
        return True


def in_memory():
    """A logger provider of the application's, and its exporter."""
    exporter, provider = InMemory(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    return provider, exporter


def run(log, *steps, handlers=(), level=None, start=None, **config):
    """Run the steps with this log, with `logging` set up like this, and close everything."""
    with logging_with(*handlers, level=level), DotFlow(Config(log=log, **config), name="etl", workflow_id="w") as flow:
        flow.task.add(list(steps))
        return flow.start(**(start or {}))
