"""The address of the server, and the clients of httpx that send requests to it."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from ._ids import rfc3339

DEFAULT_URL: Final = "http://127.0.0.1:4318"
CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Address:
    """The server's URL, or the path of its Unix socket."""

    url: str
    socket: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `http://…`, `https://…` or `unix:/path/to/socket`. Any other text raises ValueError."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix://") if text.startswith("unix://") else text.removeprefix("unix:")
            if not path.startswith("/"):
                raise ValueError(f"the server's address {text!r} needs the absolute path of the socket")
            return cls("http://localhost", path)
        url = httpx.URL(text)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"the server's address {text!r} is not an http, https or unix address")
        return cls(text, None)

    def is_local(self) -> bool:
        """Returns whether the server is on this machine, so that no proxy is used."""
        host = httpx.URL(self.url).host
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def sync_http(
    url: str | None,
    api_key: str | None,
    timeout: float,
    verify: ssl.SSLContext | bool,
    transport: httpx.BaseTransport | None,
) -> httpx.Client:
    """Opens a client for threads. The environment has the URL and the key if they are None."""
    address = _address(url)
    if transport is None and address.socket is not None:
        transport = httpx.HTTPTransport(uds=address.socket)
    return httpx.Client(**_settings(address, api_key, timeout, verify), transport=transport)


def async_http(
    url: str | None,
    api_key: str | None,
    timeout: float,
    verify: ssl.SSLContext | bool,
    transport: httpx.AsyncBaseTransport | None,
) -> httpx.AsyncClient:
    """Opens a client for asyncio. The environment has the URL and the key if they are None."""
    address = _address(url)
    if transport is None and address.socket is not None:
        transport = httpx.AsyncHTTPTransport(uds=address.socket)
    return httpx.AsyncClient(**_settings(address, api_key, timeout, verify), transport=transport)


def _address(url: str | None) -> Address:
    return Address.parse(_from_environment("ANNALS_URL", url) or DEFAULT_URL)


def _settings(address: Address, api_key: str | None, timeout: float, verify: ssl.SSLContext | bool) -> dict[str, Any]:
    headers = {"accept": "application/json", "user-agent": "annals-python"}
    key = _from_environment("ANNALS_API_KEY", api_key)
    if key:
        key = key.strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("the API key has characters that cannot be part of a key")
        headers["authorization"] = f"Bearer {key}"
    return {
        "base_url": address.url,
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT_S)),
        "verify": verify,
        "trust_env": not address.is_local(),
        "follow_redirects": False,
    }


def _from_environment(name: str, given: str | None) -> str | None:
    """Returns the given value, or else that of the environment variable. An empty text counts as absent."""
    return (given if given is not None else os.environ.get(name)) or None


def spool_folder(given: str | os.PathLike[str] | None) -> Path | None:
    """Returns the given spool folder, or else that of ANNALS_SPOOL, as an absolute path."""
    value = given if given is not None else os.environ.get("ANNALS_SPOOL")
    return Path(value).expanduser().absolute() if value else None


def query(fields: Mapping[str, object]) -> httpx.QueryParams:
    """Returns the parameters of a request. A field that is None is left out; a list becomes several parameters."""
    return httpx.QueryParams(
        [
            (name, _parameter(one))
            for name, value in fields.items()
            if value is not None
            for one in (value if isinstance(value, (list, tuple)) else [value])
        ]
    )


def _parameter(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value)


def path_part(text: str) -> str:
    """Returns a text, quoted as one part of a path."""
    return quote(text, safe="")
