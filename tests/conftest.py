"""What all tests share."""

import pytest
from hypothesis import settings

# A shared machine is slow at times; a test must not fail of that.
settings.register_profile("importstats", deadline=None)
settings.load_profile("importstats")


@pytest.fixture(autouse=True)
def _no_server_from_the_environment(monkeypatch):
    """A developer's own server and token must not reach a test."""
    for name in ("MILVUS_URI", "MILVUS_TOKEN", "ZILLIZ_CLOUD_URI", "ZILLIZ_CLOUD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
