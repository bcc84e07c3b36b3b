"""Fixtures that several files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from posting import IMPORT, Post

from importstats.simulator import (
    SimulatorServer,
)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def post(session: requests.Session) -> Post:
    def send(
        server: SimulatorServer, call: str, token: str | None = None, **body: object
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"DB-Name": str(body.pop("db"))} if "db" in body else {}
        return session.post(
            f"{server.uri}{IMPORT}/{call}",
            json=body,
            headers=headers,
            timeout=10,
            allow_redirects=False,
        )

    return send
