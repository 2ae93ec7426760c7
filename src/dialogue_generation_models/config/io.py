"""Configurations in files: TOML and JSON, overrides from the command line, and released key names.

The keys of the released configuration files (`n_positions`, `d_model`, `sept_token_id`, …) are mapped
here and nowhere else.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, OptionError
from .model import EvolvedTransformerConfig, GPTConfig, MeenaConfig, ModelConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_FILE_BYTES = 4_000_000
T = TypeVar("T")

_KINDS: dict[str, type[ModelConfig]] = {
    "gpt": GPTConfig,
    "meena": MeenaConfig,
    "evolved_transformer": EvolvedTransformerConfig,
}

# Released key → our field.
_SPECIAL_IDS = {f"{name}_token_id": f"{name}_id" for name in ("pad", "unk", "bos", "eos", "sept")}
_GPT_KEYS = {
    **_SPECIAL_IDS,
    "vocab_size": "vocab_size",
    "n_positions": "n_ctx",
    "n_ctx": "n_ctx",
    "n_ctxt": "n_ctx",  # so spelled in the released files
    "n_embd": "n_embd",
    "n_inner": "n_inner",
    "n_layer": "n_layer",
    "n_head": "n_head",
}
_MEENA_KEYS = {
    **_SPECIAL_IDS,
    "vocab_size": "vocab_size",
    "max_position_embeddings": "n_ctx",
    "max_encoder_length": "n_encoder_ctx",
    "d_model": "n_embd",
    "encoder_layers": "n_encoder_layer",
    "encoder_attention_heads": "n_encoder_head",
    "encoder_ffn_dim": "n_encoder_inner",
    "decoder_layers": "n_decoder_layer",
    "decoder_attention_heads": "n_decoder_head",
    "decoder_ffn_dim": "n_decoder_inner",
}


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a `.toml` or `.json` file that holds one table.

    Raises:
        ConfigError: the file cannot be read, or is not what its name says.
    """
    is_toml = path.suffix == ".toml"
    try:
        if not path.is_file():
            raise ConfigError(f"There is no configuration file {path}; check the path.")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(f"{path} is far too large for a configuration; check the path.")
        text = path.read_text(encoding="utf-8-sig")
        data = tomllib.loads(text) if is_toml else json.loads(text, parse_constant=_refuse)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:
        language = "TOML" if is_toml else "JSON"
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"{path} is not valid {language}: {reason}.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a table of names and values.")
    return data


def configure(
    make: Callable[[dict[str, Any]], T],
    table: dict[str, Any],
    change: Callable[[dict[str, Any]], dict[str, Any]],
) -> T:
    """Make a configuration of what a file says and the command line changes; tell whose fault it is.

    Args:
        make: makes it of a table.
        table: as read from a file; empty without one.
        change: gives the table with what the command line says.

    Raises:
        ConfigError: the file is wrong by itself.
        OptionError: what the command line says is wrong.
    """
    try:
        return make(change(table))
    except OptionError:
        make(table)
        raise
    except ConfigError as error:
        with suppress(ConfigError):
            make(table)
            raise OptionError(str(error)) from None
        raise


def set_field(table: dict[str, Any], name: str, value: object) -> None:
    """Set a value by its dotted name, in place; tables on the way are made.

    Raises:
        OptionError: the name leads nowhere.
    """
    *path, last = [part.strip() for part in name.split(".")]
    place: Any = table
    for part in path:
        is_table = isinstance(place, dict)
        place = place.setdefault(part, {}) if is_table else place[_index(place, part, name)]
    place[last if isinstance(place, dict) else _index(place, last, name)] = value


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set values by their dotted names, as in `--set stages.0.steps=100`; the input stays as it is.

    A number in a name counts the entries of a list from 0. A value is read as TOML; what is not TOML
    is taken as text, so quotes may be left out.

    Raises:
        OptionError: an override has no name or no `=`, or its name leads nowhere.
    """
    result = copy.deepcopy(dict(data))
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals or not all(part.strip() for part in name.split(".")):
            raise OptionError(f"Cannot read --set {override!r}; write it as name.field=value.")
        set_field(result, name, _parse_value(value))
    return result


def model_config_from_dict(data: Mapping[str, Any]) -> ModelConfig:
    """Make a model configuration from our own field names; `kind` says which one.

    Raises:
        ConfigError: naming the field that is wrong.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(f"The field 'kind' must be one of {', '.join(_KINDS)}.")
    return _KINDS[kind](**data)


def model_config_from_original(data: Mapping[str, Any]) -> ModelConfig:
    """Make a model configuration from the keys of a released configuration file.

    Raises:
        ConfigError: naming the key that is unknown, missing or wrong.
    """
    is_meena = "d_model" in data or "decoder_layers" in data
    keys = _MEENA_KEYS if is_meena else _GPT_KEYS
    fields: dict[str, Any] = {}
    for key, value in data.items():
        if key not in keys:
            raise ConfigError(f"Unknown key '{key}'; remove it if the model does not depend on it.")
        if fields.setdefault(keys[key], value) != value:
            raise ConfigError(f"The keys for '{keys[key]}' disagree: {fields[keys[key]]}, {value}.")
    return MeenaConfig(**fields) if is_meena else GPTConfig(**fields)


def read_model_config(path: Path) -> ModelConfig:
    """Read a model's configuration file, with our names (it has `kind`) or with released ones.

    Raises:
        ConfigError: naming the file, and the field that is wrong.
    """
    data = read_config_file(path)
    read = model_config_from_dict if "kind" in data else model_config_from_original
    try:
        return read(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _index(place: Any, part: str, name: str) -> int:
    """Where in a list a part of an override's name points."""
    if not isinstance(place, list):
        raise OptionError(f"--set {name.strip()}: '{part}' is a field of something without fields.")
    if not part.isdecimal() or len(part) > 9 or int(part) >= len(place):
        raise OptionError(f"--set {name.strip()}: '{part}' must be a number below {len(place)}.")
    return int(part)


def _parse_value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text.strip()}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
