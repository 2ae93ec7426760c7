"""Writes a dialogue as one dialogue line (JSON Lines), whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from ..dialogue import Dialogue
from ..errors import DataError


def save_dialogue(dialogue: Dialogue, path: Path) -> None:
    """Write a dialogue into a new file; without an id it gets one made of its texts.

    Raises:
        DataError: the file exists already, or cannot be written.
    """
    try:
        if path.exists():
            raise FileExistsError
        _write_new(path, format_dialogue(dialogue) + "\n")
    except FileExistsError:
        raise DataError(f"{path} exists already; choose another name.") from None
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise DataError(f"Cannot write {path}: {reason}.") from None


def format_dialogue(dialogue: Dialogue) -> str:
    """Return the dialogue line, without a line end."""
    turns = [{"speaker": turn.speaker, "text": turn.text} for turn in dialogue.turns]
    content = json.dumps(turns, ensure_ascii=False, sort_keys=True)
    name = dialogue.id or "chat-" + hashlib.sha256(content.encode()).hexdigest()[:12]
    record = {"id": name, "turns": turns, "meta": dict(dialogue.meta)}
    return json.dumps(record, ensure_ascii=False)


def _write_new(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A rename alone would overwrite a file that appeared in the meantime; the window is tiny.
        if path.exists():
            raise FileExistsError
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
