"""Where the server is, and how to speak to it."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

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


def query(**fields: object) -> Mapping[str, str]:
    """The parameters of a request: those that are there, as texts."""
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for name, value in fields.items()
        if value is not None
    }


def path_part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")
