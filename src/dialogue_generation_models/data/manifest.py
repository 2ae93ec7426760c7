"""The last step: what a data set says of itself, and its move to its place.

    train/ valid/ text/   shards
    tokenizer.model       what its ids mean
    speakers.json         pseudonyms of rooms and speakers, by the numbers in the shards
    speakers.key          makes a pseudonym of a name; keep it to yourself
    manifest.json         sources, settings, counts, hashes
    report.html           the same in pictures

A manifest holds no text, no name, and no file name but those of corpora with a licence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import put_in_place, write_whole
from .importers.account import NO_MESSAGE, list_unparsed
from .lettering import identify
from .report import render
from .shards import hash_file
from .steps import Job, read_json
from .tokenising import SPLITS

MANIFEST = "manifest.json"
REPORT = "report.html"
TOKENIZER = "tokenizer.model"
SPEAKERS = "speakers.json"
KEY = "speakers.key"
FORMAT = 1
STATE = "state.json"
TEXT_STEPS = ("read", "count", "clean", "near", "keys", "select", "shards")
"""Folders of the work folder; some hold what people said."""


def finish(job: Job, rank: int) -> None:
    """Write the manifest and the report, and move the data set to its place.

    Raises:
        DataError: nothing is left to learn from.
    """
    folder = job.work / "data"
    if not folder.exists():  # an earlier run was cut off after the move
        return
    manifest = _manifest(job)
    if not manifest["counts"]:
        unread = unread_files(manifest)
        raise DataError(
            f"Nothing was read to learn from ({unread[0].rstrip('.')})."
            if unread
            else "Nothing is left to learn from: no message was read, or the filters dropped them all "
            "(try the profile unfiltered)."
        )
    shutil.copyfile(job.tokenizer, folder / TOKENIZER)
    write_manifest(folder, manifest, read_json(job.file("select", "people.json")))
    key = folder / KEY
    key.touch(mode=0o600)
    key.write_text(job.key.hex() + "\n", encoding="ascii")
    if job.config.review:
        _write_review(job)
    put_in_place(folder, job.output)
    for name in TEXT_STEPS:
        shutil.rmtree(job.work / name, ignore_errors=True)


def write_manifest(folder: Path, manifest: dict[str, Any], people: Mapping[str, Any]) -> None:
    """Write what describes a data set, with the hashes of its files as they are."""
    write_whole(folder / SPEAKERS, json.dumps(people, ensure_ascii=False) + "\n")
    shards = sorted(path for split in SPLITS for path in (folder / split).glob("*.npy"))
    described = [*shards, folder / TOKENIZER, folder / SPEAKERS]
    hashes = {path.relative_to(folder).as_posix(): hash_file(path) for path in described}
    complete = {**manifest, "files": hashes}
    write_whole(folder / MANIFEST, json.dumps(complete, ensure_ascii=False, indent=1) + "\n")
    write_whole(folder / REPORT, render(complete))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a data set.

    Raises:
        DataError: there is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
        manifest["files"], manifest["sources"], manifest["tokenizer"]["sha256"]
    except FileNotFoundError:
        raise DataError(f"{folder} is no prepared data set; it has no {MANIFEST}.") from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {(error.strerror or 'damaged').lower()}.") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged; prepare the data set again.") from None
    if version != FORMAT:
        raise DataError(
            f"{folder} has format {version}, and this version reads {FORMAT}; prepare it again."
        )
    return dict(manifest)


def unread_files(manifest: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the files that could not be read, each by its place in its source."""
    return [
        f"{source['name']}, file {place}: {file['problem']}"
        for source in manifest["sources"]
        for place, file in enumerate(source["read"].get("files", ()), start=1)
        if file["problem"]
    ]


def describe_reading(manifest: Mapping[str, Any]) -> list[str]:
    """Return what was left out of the files that were read, in sentences without a name."""
    notes = (empty_sources, unparsed_files, rooms_without_owner)
    return [line for note in notes for line in note(manifest)]


def empty_sources(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each source, or file of one, that was read and held no message."""
    lines: list[str] = []
    for source in manifest["sources"]:
        files = source["read"]["files"]
        empty = [
            f"{source['name']}, file {place}: {NO_MESSAGE}"
            for place, file in enumerate(files, start=1)
            if not file["problem"] and file["message"] == 0
        ]
        lines += empty
        is_read = not empty and not any(file["problem"] for file in files)
        if is_read and source["read"]["messages"] == 0:  # texts of spaces alone
            lines.append(f"{source['name']}: {NO_MESSAGE}")
    return lines


def unparsed_files(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each file of which lines were not understood, with the first of their numbers."""
    return [
        f"{source['name']}, file {place}: unparsed and left out: {count:,} "
        f"({list_unparsed(file['unparsed_lines'], count, file['format'])})."
        for source in manifest["sources"]
        for place, file in enumerate(source["read"]["files"], start=1)
        if (count := file["unparsed"])
    ]


def rooms_without_owner(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each source some rooms of which hold no message of `me`."""
    return [
        f"{source['name']}: {count:,} of {source['read']['rooms']:,} rooms have no message of --me; "
        "nothing of them is learnt."
        for source in manifest["sources"]
        if (count := source["read"].get("rooms_without_me"))
    ]


def add_up(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the numbers of tables, and of the tables in them, name by name."""
    total: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            if isinstance(value, Mapping):
                total[name] = add_up([total.get(name, {}), value])
            elif isinstance(value, int):
                total[name] = total.get(name, 0) + value
    return total


def _manifest(job: Job) -> dict[str, Any]:
    shards = [read_json(job.file("shards", f"{part:05d}.json")) for part in range(job.parts)]
    cleaned = [read_json(job.file("clean", f"{part:05d}.json")) for part in range(job.parts)]
    selection = read_json(job.file("select", "report.json"))
    total = add_up(shards)
    by_source = add_up(cleaned)
    sources = [
        {
            **_describe(job, source.number),
            **by_source.get(str(source.number), {}),
            "copies": {
                name: selection[name][str(source.number)]
                for name in ("copied_dialogues", "copied_replies", "copies_of_held_out")
            },
            "kept": total["sources"].get(str(source.number), {}),
        }
        for source in job.sources
    ]
    settings = job.config.model_dump(mode="json")
    settings.pop("sources")  # their patterns may be file names; what they say stands by each source
    settings["sessions"]["me"] = [identify(name, job.key) for name in job.config.sessions.me]
    return {
        "format": FORMAT,
        "tool": job.tool,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tokenizer": {"sha256": hash_file(job.tokenizer)},
        "vouched_for_by_user": job.has_consent,
        "settings": settings,
        "split": selection["split"],
        "counts": add_up(source["kept"] for source in sources),
        "turns_per_dialogue": _sorted(total["turns_per_dialogue"]),
        "letters_per_turn": _sorted(total["letters_per_turn"]),
        "sources": sources,
    }


def _describe(job: Job, number: int) -> dict[str, Any]:
    source = job.sources[number]
    fields = ("license", "consent", "all_adults", "reply_speaker", "repeat", "limit")
    return {
        "number": number,
        "kind": source.kind,
        "name": source.label,
        "files": [
            {
                "sha256": file.sha256,
                "bytes": file.bytes,
                **{name: getattr(said, name) for name in fields if getattr(said, name)},
            }
            for file, said in zip(source.files, source.statements, strict=True)
        ],
        "read": read_json(job.file("read", f"{number:05d}.json")),
    }


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: int(item[0])))


def _write_review(job: Job) -> None:
    from .review import review_file, write_review

    parts = [read_json(job.file("shards", f"{p:05d}.review.json")) for p in range(job.parts)]
    found = sorted({(rank, text) for part in parts for rank, text in part})[: job.config.review]
    write_review(review_file(job.output), [text for _, text in found])
