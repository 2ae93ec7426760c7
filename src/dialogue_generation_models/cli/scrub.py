"""`dgm scrub`: personal data out of chat lines and dialogue lines."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..config.privacy import ScrubConfig
from ..data.chats import Chat, Message, parse_chat
from ..data.importers.jsonl import DIALOGUE_KEYS, parse_dialogue, read_records
from ..data.privacy.roster import collect_rosters
from ..data.privacy.scrub import Edited, ScrubReport, edit_chats
from ..errors import DataError, UsageError
from ..files import replacing
from .progress import show_count
from .replies_file import check_output

app = typer.Typer(add_completion=False)


@app.command()
def scrub(
    source: Annotated[
        Path,
        typer.Option(
            "--input", "-i", metavar="FILE", help="Chat or dialogue lines (.jsonl, .jsonl.zst)."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File for the scrubbed lines.")
    ],
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="NAME",
            help="pseudonym: other names for people, <PHONE> and the like for the rest; "
            "placeholder: <NAME> too; drop: no message that holds any.",
        ),
    ] = "pseudonym",
    name_models: Annotated[
        bool,
        typer.Option(
            "--name-models/--no-name-models",
            help="Look for third persons with the name models of the data extra, too.",
        ),
    ] = True,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="KIND", help="Leave this kind, such as url; may be repeated."
        ),
    ] = None,
    is_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON on standard output.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
) -> None:
    """Take personal data out of chats; the rest of each line stays as it is.

    The file is read twice: first for the names of each room, then to replace them, and numbers,
    addresses and the like, in messages, senders and titles. What was found is told in counts only.
    """
    if mode not in ("pseudonym", "placeholder", "drop"):
        raise UsageError(f"There is no mode '{mode}'; use pseudonym, placeholder or drop.")
    config = ScrubConfig(mode=mode, name_models=name_models, keep=keep or [])  # type: ignore[arg-type]
    check_output(output, overwrite=overwrite)
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError("The output file is the input; name another file.")
    report = ScrubReport()
    lines = 0

    def counted() -> Iterator[Chat]:
        nonlocal lines
        for _, chat in _read(source):
            lines += 1
            yield chat

    rosters = collect_rosters(counted())
    if not lines:
        raise DataError(f"{source.name} holds no lines; nothing was written.")
    with replacing(output) as partial:
        _write(partial, show_count(_scrubbed(source, rosters, config, report), lines, 0))
    _show(report, as_json=is_json)


def _read(source: Path) -> Iterator[tuple[dict[str, Any], Chat]]:
    """Yield each line as it is, and as a chat; a dialogue is a room of its own unless its meta names one."""
    for number, record in read_records(source):
        where = f"{source.name}, line {number}"
        if _keys(record)[0] == "speaker" and "messages" in record:
            yield record, parse_chat(record, where)
            continue
        dialogue = parse_dialogue(record, where)
        room = dialogue.meta.get("room")
        name = room if isinstance(room, str) else f"\0{number}"
        messages = tuple(Message(None, turn.speaker, turn.text) for turn in dialogue.turns)
        yield record, Chat(name, "", "", messages)


def _keys(record: dict[str, Any]) -> tuple[str, str]:
    """How a line's messages name speaker and text."""
    if "conversations" in record and not {"turns", "messages"} & record.keys():
        return "from", "value"
    entries = record.get("messages")
    if "turns" in record or not isinstance(entries, list):
        return "speaker", "text"
    by_role = bool(entries) and isinstance(entries[0], dict) and "role" in entries[0]
    return ("role", "content") if by_role else ("speaker", "text")


def _scrubbed(
    source: Path, rosters: dict[str, Any], config: ScrubConfig, report: ScrubReport
) -> Iterator[str]:
    waiting: deque[dict[str, Any]] = deque()

    def chats() -> Iterator[Chat]:
        for record, chat in _read(source):
            waiting.append(record)
            yield chat

    for number, edited in enumerate(edit_chats(chats(), rosters, config, report), start=1):
        record = _updated(waiting.popleft(), edited, number)
        # A dialogue line without turns is none; a chat line may be empty.
        if any(record[key] for key in DIALOGUE_KEYS if key in record) or "source" in record:
            yield json.dumps(record, ensure_ascii=False)


def _updated(record: dict[str, Any], edited: Edited, number: int) -> dict[str, Any]:
    """The line with its new texts; every other field as it was."""
    field = next(key for key in DIALOGUE_KEYS if key in record)
    speaker, text = _keys(record)
    entries = [
        {**entry, speaker: new[0], text: new[1]}
        for entry, new in zip(record[field], edited.messages, strict=True)
        if new is not None
    ]
    changes: dict[str, Any] = {field: entries}
    if field == "messages" and speaker == "speaker":
        changes.update(
            (k, v) for k, v in (("id", edited.id), ("title", edited.title)) if record.get(k)
        )
    elif isinstance(record.get("id"), str) and edited.has_personal_data(record["id"]):
        changes["id"] = f"dialogue-{number:06d}"
    return {**record, **changes}


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _show(report: ScrubReport, *, as_json: bool) -> None:
    """Print the counts: JSON on standard output, or a table on the error stream."""
    if as_json:
        print(json.dumps({**vars(report), "counts": dict(report.counts)}))
        return
    for kind, count in report.counts.most_common():
        print(f"{kind:<16}{count:>12}", file=sys.stderr)
    for name in ("messages", "touched", "dropped"):
        print(f"{name:<16}{getattr(report, name):>12}", file=sys.stderr)
