"""Where the server is, and how to speak to it."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from ._ids import rfc3339

DEFAULT_URL: Final = "http://127.0.0.1:4318"
CONNECT_S: Final = 5.0


@dataclass(frozen=True)
class Address:
    """The server's URL, or the path of its unix socket."""

    url: str
    socket: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """`http://…`, `https://…`, or `unix:/path/to/socket`. ValueError where it is none of them."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix://") if text.startswith("unix://") else text.removeprefix("unix:")
            if not path.startswith("/"):
                raise ValueError(f"the server's address {text!r} must have the whole path of the socket")
            return cls("http://localhost", path)
        url = httpx.URL(text)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"the server's address {text!r} is no http, https or unix address")
        return cls(text, None)

    def is_local(self) -> bool:
        """Whether no proxy can have a part in it."""
        host = httpx.URL(self.url).host
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def settings(address: Address, api_key: str | None, timeout: float, verify: ssl.SSLContext | bool) -> dict[str, Any]:
    """What both kinds of client of httpx are made with."""
    headers = {"accept": "application/json", "user-agent": "annals-python"}
    if api_key:
        api_key = api_key.strip()
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("the API key has characters that no key has")
        headers["authorization"] = f"Bearer {api_key}"
    return {
        "base_url": address.url,
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_S)),
        "verify": verify,
        "trust_env": not address.is_local(),
        "follow_redirects": False,
    }


def from_environment(name: str, given: str | None) -> str | None:
    """What was given, else what the environment has; an empty text is nothing."""
    return (given if given is not None else os.environ.get(name)) or None


def spool_folder(given: str | os.PathLike[str] | None) -> Path | None:
    """The spool's folder, given or from ANNALS_SPOOL."""
    value = given if given is not None else os.environ.get("ANNALS_SPOOL")
    return Path(value).expanduser().absolute() if value else None


def query(**fields: object) -> httpx.QueryParams:
    """The parameters of a request: those that are there, as texts; a list is given one by one."""
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
    """A text as one part of a path."""
    return quote(text, safe="")
