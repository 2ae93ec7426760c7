"""How chats become dialogues."""

from __future__ import annotations

from .schema import Config
from .training import Positive


class SessionConfig(Config):
    """Where one dialogue of a chat ends and the next begins."""

    gap_minutes: Positive = 30.0
    """A longer silence begins a new dialogue."""
    me: str | None = None
    """Learn only this person's messages as replies; all by default."""
