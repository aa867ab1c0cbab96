"""The options of the provider, checked."""

from __future__ import annotations

import logging
import os

from prometheus_client import CollectorRegistry

from dotflow.errors import InvalidOption
from dotflow.model.action import check_seconds
from dotflow.names import logs
from dotflow_prometheus.pages import OwnRegistry
from dotflow_prometheus.pushgateway import Pushgateway
from dotflow_prometheus.textfile import Textfile

__all__ = [
    "check_host",
    "check_port",
    "check_seconds_above_0",
    "checked_gateway",
    "checked_registry",
    "checked_textfile",
]

_logger = logging.getLogger(logs.LOGGER)

_HIGHEST_PORT = 65535


def checked_registry(registry: object) -> CollectorRegistry:
    """The registry; a new one for None."""
    if registry is None:
        return OwnRegistry()
    if not isinstance(registry, CollectorRegistry):
        raise InvalidOption(f"registry={registry!r}: a prometheus_client.CollectorRegistry, or None for one of its own")
    return registry


def check_port(port: object) -> None:
    """Raise unless it is None or the number of a port."""
    if port is not None and not (_is_int(port) and 0 <= port <= _HIGHEST_PORT):  # type: ignore[operator]
        raise InvalidOption(f"port={port!r}: a whole number from 0 (any free port) to {_HIGHEST_PORT}, or None")


def check_host(host: object) -> None:
    """Raise unless it is a text."""
    if not isinstance(host, str) or not host.strip():
        raise InvalidOption(f"host={host!r}: a name or an address of this machine, for instance '127.0.0.1'")


def checked_gateway(url: object, auth: object, job: object) -> Pushgateway | None:
    """The gateway; None if there is no URL."""
    if url is not None:
        return Pushgateway(url, auth, job)
    if auth is not None:
        raise InvalidOption("pushgateway_auth=: there is no pushgateway= that it is for")
    return None


def check_seconds_above_0(name: str, seconds: object) -> None:
    """Raise unless it is a number of seconds above 0."""
    check_seconds(name, seconds)
    if not seconds:
        raise InvalidOption(f"{name}={seconds!r}: seconds, above 0")


def checked_textfile(path: object) -> Textfile | None:
    """The file; None for None."""
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)) or not str(path).strip():
        raise InvalidOption(f"textfile={path!r}: the path of a file")
    textfile = Textfile(path)
    if not textfile.path.parent.is_dir():
        raise InvalidOption(
            f"textfile={os.fspath(path)!r}: there is no directory {str(textfile.path.parent)!r}; make it"
        )
    if textfile.path.is_dir():
        raise InvalidOption(f"textfile={os.fspath(path)!r}: a directory; name the file in it")
    if textfile.path.exists() and not textfile.path.is_file():
        raise InvalidOption(f"textfile={os.fspath(path)!r}: a pipe, a socket or a device; name a file")
    if textfile.path.suffix != ".prom":
        _logger.warning("textfile=%r: node_exporter reads only files whose names end in .prom", os.fspath(path))
    return textfile


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
