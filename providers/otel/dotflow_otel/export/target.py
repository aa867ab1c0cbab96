"""Where telemetry goes and how: the endpoint, the protocol and the resource, by argument or by the `OTEL_*` variables.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import logging
import math
import os
import re
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from dotflow.errors import InvalidChoice, InvalidOption, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource

__all__ = ["Signal", "Target", "close_at_exit", "resource_for", "target_of", "within", "without_credentials"]

Signal = Literal["traces", "metrics", "logs"]

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
PROTOCOLS: Final = (HTTP, GRPC)

_PACKAGES = {
    HTTP: ("opentelemetry.exporter.otlp.proto.http", "otel"),
    GRPC: ("opentelemetry.exporter.otlp.proto.grpc", "otel-grpc"),
}
_EXPORTERS = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}


class Target(NamedTuple):
    """Where a signal is sent: the full URL for OTLP over HTTP, the base URL for gRPC."""

    signal: Signal
    url: str
    protocol: str

    def exporter(self, seconds: float) -> Any:
        """The SDK's exporter for this signal, which gives up a batch after three quarters of `seconds`.

        So it has given up before a flush does, and the flush can tell what was lost. Sooner, if `OTEL_EXPORTER_OTLP_TIMEOUT`
        or that of the signal says so (seconds, as the SDK takes them).

        Raises:
            MissingExtra: (an `ImportError`) the extra `otel-grpc` is not installed.
        """
        package, extra = _PACKAGES[self.protocol]
        module, name = _EXPORTERS[self.signal]
        try:
            made = getattr(importlib.import_module(f"{package}.{module}"), name)
        except ModuleNotFoundError as error:
            raise MissingExtra(f"OTLP over {self.protocol}", extra) from error
        reader = logging.getLogger("opentelemetry.util.re")
        reader.addFilter(_without_header)
        try:
            return made(endpoint=self.url, timeout=min(0.75 * seconds, _timeout_in_environment(self.signal)))
        finally:
            reader.removeFilter(_without_header)

    @property
    def name(self) -> str:
        """The URL without credentials, for messages."""
        return without_credentials(self.url)

    def __repr__(self) -> str:
        return f"Target({self.signal} to {self.name} by {self.protocol})"


def target_of(signal: Signal, endpoint: str | None = None, protocol: str | None = None) -> Target | None:
    """Where a signal goes: to the endpoint given, else to what the environment names for it or for all, else nowhere.

    `OTEL_EXPORTER_OTLP_<SIGNAL>_ENDPOINT` is taken as it is; to a base URL the path of the signal is added.

    Raises:
        InvalidOption: the endpoint given is no http(s) URL.
        InvalidChoice: a protocol that is not known.
        MissingExtra: (an `ImportError`) the extra `otel-grpc` is not installed, and would be needed.
    """
    target = _chosen(signal, endpoint, protocol)
    if target is not None:
        _check_installed(target.protocol)
    return target


def _chosen(signal: Signal, endpoint: str | None, protocol: str | None) -> Target | None:
    if protocol is not None and protocol not in PROTOCOLS:
        raise InvalidChoice("protocol", protocol, PROTOCOLS)
    protocol = protocol or _protocol_in_environment(signal)
    if endpoint:
        _check(endpoint)
        return Target(signal, _full_url(endpoint, signal, protocol), protocol)
    if os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
        return None  # the SDK leaves this variable to `opentelemetry-instrument`
    of_signal = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if of_signal:
        return Target(signal, of_signal, protocol)
    of_all = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return Target(signal, _full_url(of_all, signal, protocol), protocol) if of_all else None


def resource_for(service_name: str | None) -> Resource:
    """The resource of a provider of ours: `OTEL_*` as the SDK reads it, with a name in place of `unknown_service`."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    found = _detected()
    unnamed = str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    name = service_name or ("dotflow" if unnamed else None)
    return found.merge(Resource({SERVICE_NAME: name})) if name else found


def _detected() -> Resource:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    try:
        return Resource.create()
    except RuntimeError:
        # The SDK asks its detectors in threads of a pool, and there are none any more: a run in the background begins
        # when its program has come to its end. What the environment says can be had without.
        return OTELResourceDetector().detect()


def within(seconds: float, name: str, call: Callable[[], object]) -> None:
    """Call something of the SDK's that may take far longer than it promises.

    Raises:
        TimeoutError: it takes longer than `seconds`; it goes on in a daemon thread, which delays nobody.
    """
    failures: list[Exception] = []

    def work() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # from Python 3.12 on none starts at the end of a program; the exporter's own timeout remains
        work()
    else:
        thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError(f"{name}: no end within {seconds:g} s")
    if failures:
        raise failures[0]


class _Closable(Protocol):
    def close(self, seconds: float) -> None: ...


def close_at_exit(closable: _Closable, seconds: float) -> None:
    """Close it at the end of the program, within `seconds`, unless it is gone by then.

    The SDK's own exit handler would wait far longer for a collector that does not answer.
    """
    atexit.register(_close, weakref.ref(closable), seconds)


def _close(closable: weakref.ref[_Closable], seconds: float) -> None:
    alive = closable()
    if alive is not None:
        with suppress(TimeoutError):  # told at the end of the run already
            alive.close(seconds)


def _timeout_in_environment(signal: Signal) -> float:
    general = "OTEL_EXPORTER_OTLP_TIMEOUT"
    given = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT") or os.environ.get(general, "")
    try:
        seconds = float(given)
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf


def _protocol_in_environment(signal: Signal) -> str:
    found = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", HTTP
    )
    return GRPC if found.strip().lower() == GRPC else HTTP


def without_credentials(url: object) -> str:
    """A URL as it may be shown: without user, password, query and fragment, also where it is none."""
    scheme, mark, rest = str(url).rpartition("://")
    place, *tail = re.split("[?#]", rest, maxsplit=1)
    if tail and "@" in tail[0]:  # it may be a password that has a question mark in it
        return f"{scheme}{mark}..."
    return scheme + mark + place.rpartition("@")[2]


def _without_header(record: logging.LogRecord) -> bool:
    """The SDK quotes a header of `OTEL_EXPORTER_OTLP_HEADERS` that it cannot read, and with it the key that is in it."""
    record.args = tuple("..." for _ in record.args or ())
    return True


def _check_installed(protocol: str) -> None:
    package, extra = _PACKAGES[protocol]
    try:
        is_there = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        is_there = False
    if not is_there:
        raise MissingExtra(f"OTLP over {protocol}", extra)


def _check(endpoint: object) -> None:
    try:
        parts = urlsplit(endpoint if isinstance(endpoint, str) else "")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket too few
        is_url = False
    if not is_url:
        shown = without_credentials(endpoint)
        raise InvalidOption(f"endpoint={shown!r}: a base URL such as http://localhost:4318 (OTLP over HTTP)")


def _full_url(base: str, signal: Signal, protocol: str) -> str:
    path = f"/v1/{signal}"
    base, mark, query = base.partition("?")
    base = base.rstrip("/")
    return (base if protocol == GRPC or base.endswith(path) else base + path) + mark + query
