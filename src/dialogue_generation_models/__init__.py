"""Small open-domain dialogue models in Korean and Japanese.

    import dialogue_generation_models as dgm

    bot = dgm.load("gpt-mini-ko")
    bot.reply(["최근에 영화 본 거 있어?"], seed=0)[0].text

The public names are those in `__all__`; each is imported when first used, so that `dgm --help` and
programs that need one part do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .chat import Chatbot as Chatbot
    from .chat import Reply as Reply
    from .chat import load as load
    from .config.decoding import PRESETS as PRESETS
    from .config.decoding import DecodingConfig as DecodingConfig
    from .config.registry import list_models as list_models
    from .dialogue import Dialogue as Dialogue
    from .dialogue import Turn as Turn
    from .errors import DialogueModelError as DialogueModelError

_HOMES = {
    "Chatbot": "chat",
    "Reply": "chat",
    "load": "chat",
    "PRESETS": "config.decoding",
    "DecodingConfig": "config.decoding",
    "list_models": "config.registry",
    "Dialogue": "dialogue",
    "Turn": "dialogue",
    "DialogueModelError": "errors",
}

__all__ = [
    "PRESETS",
    "Chatbot",
    "DecodingConfig",
    "Dialogue",
    "DialogueModelError",
    "Reply",
    "Turn",
    "__version__",
    "list_models",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
