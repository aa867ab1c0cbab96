"""TLS for the endpoint, under the names that prometheus_client's `start_http_server` has."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from dotflow.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Path", "Tls"]

Path: TypeAlias = "str | os.PathLike[str]"


class Tls(NamedTuple):
    """The files of the endpoint's own certificate, and of who may sign those of its clients.

    https://prometheus.github.io/client_python/exporting/http/
    """

    certfile: Path | None = None
    keyfile: Path | None = None
    client_cafile: Path | None = None
    client_capath: Path | None = None
    client_auth_required: bool = False

    def context(self) -> ssl.SSLContext | None:
        """What a server wraps its sockets in; None if none of the options is given.

        Raises:
            InvalidOption: options that do not go together, or a file that cannot be used. Nothing is served half safe:
                prometheus_client would serve without TLS if the key is missing, and would not ask clients for a
                certificate if `client_auth_required` is.
        """
        if all(option is None for option in self[:-1]) and not self.client_auth_required:
            return None  # an empty text is no path, and no wish to be served without TLS
        self._check()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = f"certfile={_text(self.certfile)}, keyfile={_text(self.keyfile)}"
        _load(
            certificate, lambda: context.load_cert_chain(self.certfile or "", self.keyfile, password=_refuse_passphrase)
        )
        if self.client_auth_required:
            authority = f"client_cafile={_text(self.client_cafile)}, client_capath={_text(self.client_capath)}"
            _load(authority, lambda: self._load_authority(context))
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _check(self) -> None:
        if self.certfile is None or self.keyfile is None:
            raise InvalidOption("certfile=, keyfile=: TLS needs both, the certificate and its key, as files (PEM)")
        has_authority = self.client_cafile is not None or self.client_capath is not None
        if self.client_auth_required and not has_authority:
            raise InvalidOption(
                "client_auth_required=True: name those who may sign the clients' certificates, with client_cafile= (a file)"
                " or client_capath= (a directory as OpenSSL has them)"
            )
        if has_authority and not self.client_auth_required:
            raise InvalidOption(
                "client_cafile=, client_capath=: clients are asked for a certificate only with client_auth_required=True"
            )

    def _load_authority(self, context: ssl.SSLContext) -> None:
        if self.client_capath is not None and not os.path.isdir(self.client_capath):  # noqa: PTH112 - any path-like
            raise NotADirectoryError(0, "not a directory")  # OpenSSL would not say so before the first client comes
        context.load_verify_locations(self.client_cafile, self.client_capath)


def _load(what: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, TypeError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidOption(f"{what}: cannot be used: {reason or error}") from error


def _refuse_passphrase() -> str:
    """Asked for instead of the terminal, where OpenSSL would wait for an answer while the program stands still."""
    raise ValueError("the key has a passphrase; give one without")


def _text(path: Path | None) -> str:
    return "None" if path is None else repr(os.fspath(path) if isinstance(path, os.PathLike) else path)
