"""The formats of `dgm export`, and the one way into them: a whole folder or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..checkpoint.folder import (
    CARD,
    ModelFolder,
    check_replaceable,
    find_folder,
    load_folder,
    replacing_folder,
)
from . import Format


@dataclass(frozen=True)
class Export:
    """What was written."""

    path: Path
    files: list[str]
    """Names, sorted."""


def export(name_or_path: str, to: Format, output: Path) -> Export:
    """Write a model for another engine, which computes the same within float32's rounding.

    Args:
        name_or_path: a model's name or a model folder.
        to: the engine's format.
        output: the folder to write; absent or empty.

    Raises:
        CheckpointError: the format cannot hold the model exactly, `output` holds files, or the disk refuses.
        ModelNotFoundError, ConfigError, TokenizerError: see `load_folder`.
        MissingExtraError: the format's library is not installed.
    """
    check_replaceable(output, set())
    folder = load_folder(find_folder(name_or_path), device="cpu", precision="float32")
    with replacing_folder(output, set()) as place:
        usage = _write(folder, to, place)
        (place / CARD).write_bytes(_card(folder, to, usage).encode())
        files = sorted(file.name for file in place.iterdir())
    return Export(output, files)


def _write(folder: ModelFolder, to: Format, place: Path) -> str:
    if to == "ctranslate2":
        from .ctranslate2 import write_ctranslate2

        return write_ctranslate2(folder, place)
    if to == "onnx":
        from .onnx import write_onnx

        return write_onnx(folder, place)
    from .huggingface import write_transformers

    return write_transformers(folder, place)


def _card(folder: ModelFolder, to: Format, usage: str) -> str:
    card = folder.path / CARD
    name = folder.path.resolve().name
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# {name}\n"
    return f"{text.rstrip()}\n\n## Use\n\nExported by `dgm export --format {to}`.\n\n{usage}\n"
