from __future__ import annotations

from collections.abc import Iterator

import pytest

from .support import Server, serving


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANNALS_URL", "ANNALS_API_KEY", "ANNALS_SPOOL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
