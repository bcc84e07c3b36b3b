"""Group manifests: the jobs of one load or restore, as `submit` writes them down."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from importstats.errors import UsageError
from importstats.store.files import Files
from importstats.text import excerpt

LOAD_FORMAT: Final = "importstats.load/1"


class GroupFile(msgspec.Struct, kw_only=True):
    """A job's source file, and its rows if they are known."""

    file: str
    rows: int | None = None


class GroupJob(msgspec.Struct, kw_only=True):
    """A group's job.

    Attributes
    ----------
    job_id : str
    source_uri, db_name, collection_name : str or None
        ``None`` if they are not known.
    files : list of GroupFile
        Empty if they are not known.
    """

    job_id: str
    source_uri: str | None = None
    db_name: str | None = None
    collection_name: str | None = None
    files: list[GroupFile] = []


class GroupManifest(msgspec.Struct, kw_only=True):
    """A group's jobs, in the order in which they were submitted."""

    format: Literal["importstats.load/1"]
    jobs: list[GroupJob]


def read_group(path: str | Path) -> GroupManifest:
    """A group from a file that `submit --save` wrote, or from a text with one job id per line.

    Raises
    ------
    UsageError
        The file cannot be read, is neither of these, or has no jobs.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the group {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the group {path} is not UTF-8 text; check the path") from None
    if text.lstrip().startswith(("{", "[")):
        try:
            found = msgspec.json.decode(text, type=GroupManifest)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"{path} is not a group of jobs: {excerpt(str(error), 200)}; `importstats submit "
                "--save` writes one, or give a text with a job id a line"
            ) from None
    else:
        ids = [line.strip() for line in text.splitlines() if line.strip()]
        found = GroupManifest(format=LOAD_FORMAT, jobs=[GroupJob(job_id=each) for each in ids])
    if not found.jobs:
        raise UsageError(f"the group {path} has no jobs")
    return found


def write_group(path: Path, jobs: list[GroupJob]) -> None:
    """Write a group's manifest, whole and durable.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    manifest = GroupManifest(format=LOAD_FORMAT, jobs=jobs)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    absolute = path.absolute()
    Files(absolute.parent, None).put(absolute.name, text)
