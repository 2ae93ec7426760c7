"""The model folder: one directory that training, chat, serving and export share.

    config.json             the model's shape, with its `kind`
    model.safetensors       the weights; nothing in a folder is ever unpickled
    tokenizer.model         SentencePiece; may be absent, then the model speaks ids only
    generation_config.json  how it answers unless told otherwise
    README.md               the model card

A folder is written beside its place under another name and moved there whole.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from safetensors import SafetensorError

from ..config.decoding import DecodingConfig
from ..config.io import read_config_file, read_model_config
from ..config.model import ModelConfig
from ..config.registry import ModelEntry, get_entry
from ..errors import (
    CheckpointError,
    ConfigError,
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    WithdrawnModelError,
)
from ..files import PARTIAL, previous_of, put_in_place
from ..tokenizer.tokenizer import Tokenizer
from .tensors import build_empty, check_tensor, fill, hash_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from ..models import Model

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.model"
DECODING = "generation_config.json"
CARD = "README.md"
_FILES = {CONFIG, WEIGHTS, TOKENIZER, DECODING, CARD}


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds."""

    model: Model
    tokenizer: Tokenizer | None
    decoding: DecodingConfig
    path: Path


def find_folder(name_or_path: str) -> Path:
    """Find the folder of a model: a path, or the name of a model that comes with the package.

    Raises:
        CheckpointError: there is something at this path, but it is no model folder.
        WithdrawnModelError: the name is that of a published model.
        ModelNotFoundError: the name is unknown, or its weights are not in this package.
    """
    path = Path(name_or_path)
    if os.path.isfile(path / CONFIG) or os.path.isdir(previous_of(path)):
        return path
    has_separator = any(mark and mark in name_or_path for mark in (os.sep, os.altsep))
    if has_separator or path.suffix == ".pth":
        _refuse_path(path)
    try:
        entry = get_entry(name_or_path)
    except ModelNotFoundError:
        if name_or_path and os.path.exists(path):
            _refuse_path(path)
        raise
    bundled = importlib.resources.files(__package__.rpartition(".")[0]) / "bundled" / entry.name
    if isinstance(bundled, Path) and (bundled / CONFIG).is_file():
        return bundled
    raise _explain_absence(entry)


def load_folder(
    path: Path,
    *,
    device: str | None = None,
    precision: Precision = "auto",
    is_mapped: bool = False,
) -> ModelFolder:
    """Load a model folder.

    Args:
        path: the folder.
        device: "cpu", "cuda", "cuda:1", …; by default CUDA where there is one.
        precision: of the weights in memory. auto: bfloat16 on CUDA, else float32.
        is_mapped: leave the weights in the file and in its precision, for somebody who converts them.

    Raises:
        ModelNotFoundError: there is no such folder.
        ConfigError, CheckpointError, TokenizerError: a file in it is damaged or belongs to another.
        OptionError: there is no such device or precision.
    """
    place = pick_device(device)
    dtype = _pick_dtype(precision, place)
    found = _present(path)
    config = read_model_config(found / CONFIG)
    tokenizer = _load_tokenizer(found / TOKENIZER, config)
    decoding = _load_decoding(found / DECODING)
    tensors = read_tensors(found / WEIGHTS)
    source = f"The weight file {found / WEIGHTS}"
    empty = build_empty(config, len(tensors), source)
    model = fill(empty, tensors, source, device=place, dtype=None if is_mapped else dtype)
    return ModelFolder(model, tokenizer, decoding, found)


def hash_weights(path: Path) -> str:
    """Return the SHA-256 by which a model folder's weights are known, whatever the folder is called.

    Raises:
        ModelNotFoundError: there is no such folder.
        CheckpointError: its weights are damaged.
    """
    return hash_tensors(_present(path) / WEIGHTS)


def save_folder(
    path: Path,
    model: Model,
    tokenizer: Tokenizer | None,
    decoding: DecodingConfig,
    *,
    card: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model folder, whole or not at all; an older model folder in its place is replaced.

    Args:
        path: the folder; it may be absent, empty, or a model folder without other files.
        model: on any device, in any precision.
        tokenizer: left out if None.
        decoding: how the model answers by default.
        card: the model card, Markdown with YAML front matter.
        dtype: of the weights on disk.

    Raises:
        CheckpointError: something else is in this place, weights are NaN, or the disk refuses.
        TokenizerError: the tokenizer has more pieces than the model.
    """
    weights = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    for name, tensor in weights.items():
        check_tensor(name, tensor, tuple(tensor.shape), "The model")
    if tokenizer is not None:
        _check_tokenizer(tokenizer, model.config, "The tokenizer")
    with replacing_folder(path) as partial:
        (partial / CONFIG).write_bytes(to_json(model.config.model_dump(mode="json")))
        write_tensors(partial / WEIGHTS, weights)
        (partial / DECODING).write_bytes(to_json(decoding.model_dump(mode="json")))
        if tokenizer is not None:
            (partial / TOKENIZER).write_bytes(tokenizer.to_bytes())
        (partial / CARD).write_bytes(card.encode())


@contextmanager
def replacing_folder(path: Path, files: set[str] | None = None) -> Iterator[Path]:
    """Give an empty folder to write in; put it in the place of `path` when the block ends well.

    Args:
        path: where the folder will be.
        files: names that an older folder there may hold; it is not replaced if it holds others.
            By default those of a model folder.

    Raises:
        CheckpointError: something else is in this place, or the disk refuses.
    """
    place = path.resolve()
    check_replaceable(place, _FILES if files is None else files)
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: its folders are closed to other users whatever the umask says.
        partial.mkdir()
        yield partial
        put_in_place(partial, place)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"Cannot write {path}: {reason}; nothing was changed, choose another folder or free space."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(path: Path, files: set[str] = _FILES) -> None:
    """Refuse a place that holds anything but an empty folder or a folder with these files alone.

    Raises:
        CheckpointError: something else is there; its name is not told, which may be an export's.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise CheckpointError(f"{path} is a file; choose another folder for the output.")
    try:
        other = sorted(entry.name for entry in path.iterdir() if entry.name not in files)
    except OSError as error:
        raise CheckpointError(f"Cannot write {path}: {error.strerror}.") from None
    if other:
        raise CheckpointError(
            f"The folder {path} holds {len(other)} other file(s); move them away, or choose a new folder."
        )


def _present(path: Path) -> Path:
    """Return where a model folder is: in its place, or beside it if a replacement was cut off.

    Raises:
        ModelNotFoundError: it is nowhere.
    """
    found = path if path.is_dir() or not previous_of(path).is_dir() else previous_of(path)
    if not found.is_dir():
        raise ModelNotFoundError(f"There is no model folder {path}; check the path.")
    return found


def _load_tokenizer(path: Path, config: ModelConfig) -> Tokenizer | None:
    if not os.path.lexists(path):
        return None
    tokenizer = Tokenizer.from_file(path)
    _check_tokenizer(tokenizer, config, f"The tokenizer {path}")
    return tokenizer


def _check_tokenizer(tokenizer: Tokenizer, config: ModelConfig, source: str) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise TokenizerError(
            f"{source} has {tokenizer.vocab_size} pieces, but the model only {config.vocab_size}; "
            "give the tokenizer that belongs to the model."
        )


def _load_decoding(path: Path) -> DecodingConfig:
    if not path.exists():
        return DecodingConfig()
    try:
        return DecodingConfig(**read_config_file(path))
    except OptionError as error:
        raise ConfigError(f"{path}: {error}") from None


def pick_device(device: str | None) -> torch.device:
    """Find a device by its name; by default CUDA where there is one.

    Raises:
        OptionError: there is no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise OptionError(f"There is no device {device!r} here; choose cpu or cuda.") from None


def _pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision not in get_args(Precision):
        names = ", ".join(get_args(Precision))
        raise OptionError(f"Precision {precision!r} is not available; choose one of {names}.")
    is_bfloat16 = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.bfloat16 if is_bfloat16 else torch.float32


def _refuse_path(path: Path) -> None:
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is not a model folder: it has no {CONFIG}.")
    if os.path.exists(path):
        raise CheckpointError(
            f"{path} is a file, not a model folder; a released .pth becomes one with `dgm convert`."
        )
    raise ModelNotFoundError(f"There is no model folder {path}; check the path.")


def _explain_absence(entry: ModelEntry) -> ModelNotFoundError:
    if entry.weights == "withdrawn":
        return WithdrawnModelError(
            f"The weights of {entry.name} were withdrawn by their publisher in 2021 and cannot be "
            f"downloaded: convert your own copy with `dgm convert {entry.file} --config CONFIG.json "
            f"-o DIR`, or train a model with `dgm train {entry.recipe}`."
        )
    if entry.recipe is not None:
        return ModelNotFoundError(
            f"The model {entry.name} does not come with this package; "
            f"train it with `dgm train {entry.recipe}`."
        )
    return ModelNotFoundError(
        f"The model {entry.name} is known by its shape alone; its weights are not in this package, "
        f"see `dgm models show {entry.name}`."
    )


def to_json(fields: Mapping[str, object]) -> bytes:
    """Lay out a JSON file, UTF-8."""
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
