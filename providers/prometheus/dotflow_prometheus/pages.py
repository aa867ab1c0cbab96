"""The page of metrics, as WSGI and ASGI applications."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, make_asgi_app, make_wsgi_app
from prometheus_client.exposition import choose_encoder, gzip_accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.registry import Collector

    from dotflow_prometheus.exposition import Exposition

__all__ = ["OwnRegistry", "Page"]

# The lowest: three times as fast as the default, for a page that is one tenth larger and is sent over a local network.
_COMPRESSION: Final = 1


class OwnRegistry(CollectorRegistry):
    """A registry that knows whether it holds more than the one collector of its provider."""

    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    @property
    def has_others(self) -> bool:
        """Whether somebody else registered something."""
        return self._held > 1

    def register(self, collector: Collector) -> None:
        """As in any registry."""
        super().register(collector)
        self._held += 1

    def unregister(self, collector: Collector) -> None:
        """As in any registry."""
        super().unregister(collector)
        self._held -= 1


class Page:
    """Everything in a provider's own registry.

    What is written here is what scrapers ask for; whatever else can be asked for (`name[]=`, other methods), and a
    registry that others use too, is left to prometheus_client.
    """

    def __init__(self, registry: OwnRegistry, text: Exposition, openmetrics: Exposition) -> None:
        self._registry = registry
        self._text = text
        self._openmetrics = openmetrics

    def wsgi_app(self) -> Callable[..., Any]:
        """The page as a WSGI application."""
        whole = make_wsgi_app(self._registry)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if self._is_special(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING")):
                answer: Iterable[bytes] = whole(environ, start_response)
                return answer
            headers, body = self._answer(environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", ""))
            start_response("200 OK", headers)
            return [body]

        return app

    def asgi_app(self) -> Callable[..., Any]:
        """The page as an ASGI application."""
        whole = make_asgi_app(self._registry)

        async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
            if scope["type"] != "http" or self._is_special(scope["method"], scope["path"], scope.get("query_string")):
                await whole(scope, receive, send)
                return
            asked = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
            headers, body = self._answer(asked.get(b"accept", ""), asked.get(b"accept-encoding", ""))
            encoded = [(name.encode(), value.encode()) for name, value in headers]
            await send({"type": "http.response.start", "status": 200, "headers": encoded})
            await send({"type": "http.response.body", "body": body})

        return app

    def _answer(self, accept: str, accept_encoding: str) -> tuple[list[tuple[str, str]], bytes]:
        _, content_type = choose_encoder(accept)
        is_openmetrics = content_type.startswith("application/openmetrics-text")
        body = (self._openmetrics if is_openmetrics else self._text).write()
        headers = [("Content-Type", content_type)]
        if gzip_accepted(accept_encoding):
            return [*headers, ("Content-Encoding", "gzip")], gzip.compress(body, _COMPRESSION)
        return headers, body

    def _is_special(self, method: str, path: str, query: object) -> bool:
        return method != "GET" or path == "/favicon.ico" or bool(query) or self._registry.has_others
