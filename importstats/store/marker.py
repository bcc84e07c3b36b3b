"""The marker: a small file that says that a folder is a store, and which format it has."""

from __future__ import annotations

import json
from typing import Final

from importstats.errors import StoreError
from importstats.store.files import Files

FORMAT_VERSION: Final = (1, 0)

_MARKER: Final = "_importstats.json"


class Marker:
    """A store's marker. It is read once: a store does not change its format while it is in use."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._is_checked = False

    def exists(self) -> bool:
        """Whether the store has a marker. Raises StoreError if the folder cannot be read."""
        return self._files.exists(_MARKER)

    def check(self, *, create: bool = False) -> None:
        """Raise StoreError unless this is a readable store; if there is none, ``create`` it."""
        if self._is_checked:
            return
        try:
            content = self._files.read(_MARKER)
            if not content.size and not self._files.is_local:
                raise FileNotFoundError  # A writer has begun it, see Files.is_not_yet_whole.
            marker = json.loads(content.to_pybytes())
            major, minor = (int(part) for part in str(marker["importstats_store"]).split("."))
        except FileNotFoundError:
            if not create:
                raise StoreError(
                    f"no store at {self._files.uri}: it has no {_MARKER}; check the path, or "
                    "collect first"
                ) from None
            version = {"importstats_store": ".".join(map(str, FORMAT_VERSION))}
            self._files.put(_MARKER, json.dumps(version).encode() + b"\n")
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._files.uri}/{_MARKER} is damaged; if this is a store, delete that file and "
                "append"
            ) from error
        else:
            if major > FORMAT_VERSION[0]:
                raise StoreError(
                    f"the store at {self._files.uri} has format {major}.{minor}, newer than this "
                    f"importstats can read ({FORMAT_VERSION[0]}); upgrade importstats"
                )
        self._is_checked = True
