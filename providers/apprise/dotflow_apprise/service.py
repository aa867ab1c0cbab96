"""One service behind one of apprise's URLs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, OverflowMode
from apprise.utils.parse import parse_urls

from dotflow.errors import DotflowError, InvalidOption
from dotflow_apprise.quiet import listening

if TYPE_CHECKING:
    from dotflow_apprise.message import Message

__all__ = ["AppriseError", "Service", "services_of"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,20})://", re.IGNORECASE)
_MANUAL = "https://github.com/caronc/apprise/wiki shows how each service writes it"
_SHORT_SLEEP = 1.0  # seconds that apprise may sleep between two requests of one message


class AppriseError(DotflowError, OSError):
    """A service did not take a message. Its text names the service, and nothing of its URL."""


class Service:
    """A service to write to; `gap` is the time (s) that it wants between two messages."""

    def __init__(self, plugin: NotifyBase, timeout: float) -> None:
        self.name = str(plugin.service_name)
        self.gap = float(plugin.request_rate_per_sec)  # which is seconds a request, whatever its name says
        if self.gap <= _SHORT_SLEEP:
            self.gap = 0.0
        plugin.request_rate_per_sec = min(plugin.request_rate_per_sec, _SHORT_SLEEP)
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, timeout)
        plugin.socket_read_timeout = min(plugin.socket_read_timeout, timeout)
        self._apprise = Apprise(asset=plugin.asset)
        self._apprise.add(plugin)

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            AppriseError: the service did not take it.
        """
        with listening() as heard:
            why = "" if self._is_taken(message) else heard.why or "apprise says no more"
        if why:
            raise AppriseError(f"{self.name} took no message: {why}")

    def _is_taken(self, message: Message) -> bool:
        try:
            taken = self._apprise.notify(
                body=message.body, title=message.title, notify_type=message.type, body_format=NotifyFormat.TEXT
            )
        except Exception:  # noqa: BLE001 - a plugin's own; its text, and its locals, may hold the URL
            return False
        return bool(taken)


def services_of(urls: object, timeout: float) -> list[Service]:
    """The services of some URLs: a list of them, or one text with commas or blanks between them.

    Raises:
        InvalidOption: no URL, or one that apprise cannot read; which one, but not what it says.
    """
    given = _listed(urls)
    if not given or given == [""]:
        raise InvalidOption(f"urls is empty: give at least one URL of a service; {_MANUAL}")
    with listening():
        return [Service(_plugin(url, number), timeout) for number, url in enumerate(given)]


def _listed(urls: object) -> list[object]:
    if isinstance(urls, str):
        return [*(parse_urls(urls) or [urls.strip()])]  # type: ignore[no-untyped-call]
    return list(urls) if isinstance(urls, Iterable) else [urls]


def _plugin(url: object, number: int) -> NotifyBase:
    plugin = _instantiate(url) if isinstance(url, str) else None
    if plugin is None:
        scheme = _SCHEME.match(url) if isinstance(url, str) else None
        what = f"this {scheme[1]}:// URL" if scheme else "what stands there"
        raise InvalidOption(f"urls[{number}]: apprise cannot read {what}; {_MANUAL}")
    if "overflow=" not in str(url).lower():
        plugin.overflow_mode = OverflowMode.TRUNCATE  # or a service refuses what is longer than it takes
    return plugin


def _instantiate(url: str) -> NotifyBase | None:
    try:
        with warnings.catch_warnings():
            # The first URL loads every plugin, and one imports a deprecated module: under -W error, none would load.
            warnings.simplefilter("ignore")
            # No time limit of apprise's own: it would call from a pool of threads that the end of a program waits for.
            return Apprise.instantiate(url, asset=AppriseAsset(service_timeout=0))
    except Exception:  # noqa: BLE001 - a plugin's own, whose text may hold the URL
        return None
