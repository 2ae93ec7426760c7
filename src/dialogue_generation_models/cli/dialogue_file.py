"""Writes a dialogue as one dialogue line (JSON Lines), whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ..dialogue import Dialogue
from ..errors import DataError
from ..files import replacing


def save_dialogue(dialogue: Dialogue, path: Path) -> None:
    """Write a dialogue into a new file; without an id it gets one made of its texts.

    Raises:
        DataError: the file exists already, or cannot be written.
    """
    try:
        if path.exists():
            raise FileExistsError
        with replacing(path, is_private=True) as partial:
            partial.write_bytes(f"{format_dialogue(dialogue)}\n".encode())
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
