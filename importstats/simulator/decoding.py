"""Requests, decoded as strictly as the server decodes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any, Final

# Numbers of Milvus' package merr, and of its REST layer.
SERVICE_NOT_READY: Final = 1
COLLECTION_NOT_FOUND: Final = 100
DATABASE_NOT_FOUND: Final = 800
INVALID_PARAMETER: Final = 1100
UNAUTHENTICATED: Final = 1800
NOT_JSON: Final = 1801
MISSING_PARAMETER: Final = 1802
IMPORT_FAILED: Final = 2100
PERMISSION_DENIED: Final = 65535
CLOUD_WRONG_CLUSTER: Final = 80002

_MOST_FILES: Final = 1024
_FILE_TYPES: Final = {
    ".json": "JSON",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".npy": "",
}


class ApiError(Exception):
    """An error, whose answer has a number and a message."""

    def __init__(
        self, code: int | str, message: str, http_status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        super().__init__(message)
        self.answer = {"code": code, "message": message}
        self.http_status = http_status


def json_object(posted: bytes) -> dict[str, Any]:
    """The object that was posted.

    Raises
    ------
    ApiError
        Something else was posted.
    """
    try:
        body = json.loads(posted or b"{}")
    except ValueError as error:
        raise _bad_json(str(error)) from error
    if not isinstance(body, dict):
        raise _bad_json(f"json: cannot unmarshal {_go_type(body)} into Go value")
    return body


def job_id_of(body: Mapping[str, Any]) -> str:
    """The text ``jobId``, which a request must have."""
    return _required_text(body, "JobIDReq", "jobId", "JobID")


def create_request(body: Mapping[str, Any]) -> tuple[str, list[tuple[str, ...]], dict[str, str]]:
    """Collection, files and options of a `create` request.

    Raises
    ------
    ApiError
        A field is of another type (1801), missing (1802), or a file cannot be imported (2100).
    """
    collection = _required_text(body, "ImportReq", "collectionName", "CollectionName")
    files = [paths for paths in _decoded_paths(body.get("files")) if paths]
    if "files" not in body or body["files"] is None:
        raise _missing("ImportReq", "Files")
    options = _texts_by_name(body.get("options"))
    if not files:
        raise ApiError(INVALID_PARAMETER, "import request is empty: invalid parameter")
    if len(files) > _MOST_FILES:
        raise import_failed(
            f"The max number of import files should not exceed {_MOST_FILES}, but got {len(files)}"
        )
    if options.get("backup") != "true" and options.get("l0_import") != "true":
        for paths in files:
            _check_type(paths)
    return collection, files, options


def cloud_create_request(body: Mapping[str, Any]) -> tuple[str, list[tuple[str, ...]]]:
    """Collection and files of a `create` request of the cloud, which names files in three ways."""
    collection = _required_text(body, "ImportReq", "collectionName", "CollectionName")
    for name in ("objectUrls", "dataPaths", "files"):
        if body.get(name):
            return collection, [paths for paths in _decoded_paths(body[name]) if paths]
    url = body.get("objectUrl")
    if not url:
        raise _missing("ImportReq", "ObjectUrl")
    return collection, [(str(url),)]


def optional_text(body: Mapping[str, Any], struct: str, name: str) -> str:
    """A text field that may be missing."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(value, struct, name, "string")
    return value


def import_failed(message: str, code: int = IMPORT_FAILED) -> ApiError:
    """An error of the import itself, in the server's words."""
    return ApiError(code, f"{message}: importing data failed")


def _required_text(body: Mapping[str, Any], struct: str, name: str, go_name: str) -> str:
    value = optional_text(body, struct, name)
    if not value:
        raise _missing(struct, go_name)
    return value


def _decoded_paths(files: Any) -> list[tuple[str, ...]]:
    if files is None:
        return []
    if not isinstance(files, list):
        raise _wrong_type(files, "ImportReq", "files", "[][]string")
    for paths in files:
        if not isinstance(paths, list):
            raise _wrong_type(paths, "ImportReq", "files", "[]string")
        for path in paths:
            if not isinstance(path, str):
                raise _wrong_type(path, "ImportReq", "files", "string")
    return [tuple(paths) for paths in files]


def _texts_by_name(options: Any) -> dict[str, str]:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise _wrong_type(options, "ImportReq", "options", "map[string]string")
    for value in options.values():
        if not isinstance(value, str):
            raise _wrong_type(value, "ImportReq", "options", "string")
    return options


def _check_type(paths: tuple[str, ...]) -> None:
    printed = f"[{' '.join(paths)}]"
    suffixes = [PurePosixPath(path).suffix for path in paths]
    for path, suffix in zip(paths, suffixes, strict=True):
        if suffix != suffixes[0]:
            raise import_failed(f"inconsistency in file types, ({paths[0]}) vs ({path})")
    if suffixes[0] not in _FILE_TYPES:
        raise import_failed(f"unexpected file type, files={printed}")
    kind = _FILE_TYPES[suffixes[0]]
    if kind and len(paths) > 1:
        raise import_failed(f"for {kind} import, accepts only one file")


def _missing(struct: str, go_name: str) -> ApiError:
    return ApiError(
        MISSING_PARAMETER,
        f"missing required parameters, error: Key: '{struct}.{go_name}' "
        f"Error:Field validation for '{go_name}' failed on the 'required' tag",
    )


def _wrong_type(value: Any, struct: str, name: str, wanted: str) -> ApiError:
    return _bad_json(
        f"json: cannot unmarshal {_go_type(value)} into Go struct field {struct}.{name} "
        f"of type {wanted}"
    )


def _bad_json(why: str) -> ApiError:
    return ApiError(NOT_JSON, f"can only accept json format request, error: {why}")


def _go_type(value: Any) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "bool"),
        (str, "string"),
        (int, "number"),
        (float, "number"),
        (list, "array"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


Handler = Callable[[Mapping[str, Any], str], dict[str, Any]]
