"""A Pushgateway: where a program that ends leaves its series."""

from __future__ import annotations

import base64
import http.client
import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from prometheus_client import generate_latest

from dotflow.errors import InvalidOption
from dotflow.names.metrics import WORKFLOW
from dotflow.toolkit.text import is_text

if TYPE_CHECKING:
    from dotflow_prometheus.selection import Snapshot

__all__ = ["NotDelivered", "Pushgateway"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"  # a gateway knows no other for sure
_BAD_REQUEST: Final = 400
_REASON_LENGTH: Final = 300


class NotDelivered(Exception):
    """What was not taken, and why, in words that hold no credentials."""


class Pushgateway:
    """One gateway, and in it a group for each workflow: `{job=..., workflow=...}`.

    A push replaces the metrics that it names and leaves the others of its group (POST, not PUT), so what the gateway knows
    and this process does not, such as the last success, stays: https://github.com/prometheus/pushgateway#api

    Args:
        url: of the gateway; may hold user and password.
        auth: user and password, if the URL holds none.
        job: the value of the label `job`.

    Raises:
        InvalidOption: an option that makes no sense. The text never shows credentials.
    """

    def __init__(self, url: object, auth: object, job: object) -> None:
        if not is_text(job):
            raise InvalidOption(f"pushgateway_job={job!r}: a text, the label `job` of what is pushed")
        self._base, in_url = _parsed(url)
        given = _checked_auth(auth)
        if in_url and given:
            raise InvalidOption("pushgateway_auth=: the URL has a user already; give one of them")
        self._secret = in_url or given
        self._job = job
        self._opener = urllib.request.build_opener(_NoRedirect)

    def push(self, workflow: str, series: Snapshot, deadline: float) -> None:
        """Replace the metrics of a workflow's group by `series`, before `deadline` (monotonic), or give up.

        Where they do not know the last success, which the gateway may, what they do not name is left as it is.

        A server that sends a byte from time to time can make it longer.

        Raises:
            NotDelivered: telling why.
        """
        request = self._request(workflow, generate_latest(series), "PUT" if series.knows_success else "POST")
        try:
            with self._opener.open(request, timeout=max(0.001, deadline - time.monotonic())):
                return
        except urllib.error.HTTPError as error:
            with error:
                raise NotDelivered(self._refusal(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host that cannot be a name
            raise NotDelivered(_failure(error)) from None

    def group(self, workflow: str) -> str:
        """The URL of a workflow's group; the way to delete it is `curl -X DELETE` on it."""
        return f"{self._base}/metrics/{_segment('job', self._job)}/{_segment(WORKFLOW, workflow)}"

    def __str__(self) -> str:
        return self._base

    def __repr__(self) -> str:
        return f"Pushgateway({self._base})"

    def _request(self, workflow: str, body: bytes, method: str) -> urllib.request.Request:
        headers = {"Content-Type": _TEXT_FORMAT}
        if self._secret:
            headers["Authorization"] = f"Basic {base64.b64encode(self._secret.encode()).decode()}"
        # The scheme of the URL is http or https, checked at construction.
        return urllib.request.Request(self.group(workflow), data=body, headers=headers, method=method)  # noqa: S310

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        # Of the answer only what the gateway says of the metrics: a proxy may repeat what it was sent.
        reason = f"HTTP {error.code} {http.client.responses.get(error.code, '')}".strip()
        if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            return f"{reason}: check pushgateway_auth, or the user and password of the URL"
        if error.code == _BAD_REQUEST:
            return f"{reason}: {self._said(error)}"
        return reason

    def _said(self, error: urllib.error.HTTPError) -> str:
        try:
            text = " ".join(error.read(_REASON_LENGTH).decode("utf-8", "replace").split())
        except (OSError, http.client.HTTPException):
            return "no reason given"
        secrets = [self._secret, *self._secret.partition(":")[2:]] if self._secret else []
        return "the reason is not shown" if any(secret and secret in text for secret in secrets) else text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, which is answered well and pushes nothing."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None, so that the redirect is an error."""


def _parsed(url: object) -> tuple[str, str]:
    """The base URL without credentials, and the credentials as `user:password`; empty if there are none."""
    if not isinstance(url, str):
        raise InvalidOption(f"pushgateway=: a URL, such as 'http://localhost:9091', not {type(url).__name__}")
    wrong = InvalidOption(
        "pushgateway=: not the URL of a Pushgateway; write it as 'http://localhost:9091' or"
        " 'https://user:password@host/prefix', without query"
    )
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None  # the cause would show the credentials
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not _is_printable(url):
        raise wrong
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}", f"{user}:{password}" if user or password else ""


def _checked_auth(auth: object) -> str:
    """`user:password`; empty for None. What was given is not shown."""
    if auth is None:
        return ""
    pair = tuple(auth) if isinstance(auth, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(each, str) for each in pair) or not pair[0] or ":" in pair[0]:  # noqa: PLR2004
        raise InvalidOption(
            "pushgateway_auth=: user and password as two texts, ('user', 'password'); no ':' in the user"
        )
    return ":".join(pair)


def _segment(label: str, value: str) -> str:
    """A label in the path; base64 for a value that means something there, such as '/', '..' or nothing at all."""
    if _PLAIN.fullmatch(value):
        return f"{label}/{value}"
    return f"{label}@base64/{base64.urlsafe_b64encode(value.encode()).decode() or '='}"


def _failure(error: Exception) -> str:
    """Why nothing was answered, without texts of which nobody knows what is in them."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "no end in time"
    if isinstance(reason, OSError):
        return reason.strerror or getattr(reason, "verify_message", "") or type(reason).__name__
    return type(reason).__name__ if isinstance(reason, Exception) else "not reachable"


def _is_printable(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url
