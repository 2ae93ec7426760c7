"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) through peft, the one file that knows it.

- Every linear layer gets an adapter; embeddings, and the head that is tied to them, stay as they are.
- Only adapters are trained. Merged, W + scale · B A takes the place of W, and the model is a plain one again.
- An adapter alone is a folder as peft writes it: `adapter_config.json` and `adapter_model.safetensors`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..config.io import read_config_file
from ..config.training import LoRAConfig
from ..errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    from ..models import Model

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."  # how peft names weights in files
_NAME = "default"


def attach(model: Model, config: LoRAConfig) -> Model:
    """Put a fresh adapter on every linear layer of a model, in place, and let only those learn.

    A fresh adapter changes nothing: its B is zero.

    Raises:
        MissingExtraError: peft is not installed.
    """
    peft = _peft()
    network: nn.Module = model
    linear = [name for name, module in network.named_modules() if type(module) is nn.Linear]
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=linear,
        bias="none",
    )
    peft.inject_adapter_in_model(settings, network)
    return model


def merge(model: Model) -> Model:
    """Add the adapters to the weights that they are on, and take them off, in place.

    Raises:
        CheckpointError: an adapter holds NaN or infinity.
    """
    for layer in _adapted(model).values():
        try:
            layer.merge(safe_merge=True)
        except ValueError:
            raise CheckpointError(
                "The adapter holds NaN or infinity; use an earlier checkpoint of the training."
            ) from None
    return _take_off(model)


def unmerge(model: Model, folder: Path) -> Model:
    """Subtract an adapter from a model that it was merged into, in place: the base is left, but for rounding.

    Args:
        model: merged, in the precision that it was merged in.
        folder: of the adapter.

    Raises:
        CheckpointError: the folder holds no adapter of such a model.
    """
    load_adapter(model, folder)
    for layer in _adapted(model).values():
        layer.merged_adapters.append(_NAME)
        layer.unmerge()
    return _take_off(model)


def save_adapter(model: Model, config: LoRAConfig, folder: Path, base: str) -> None:
    """Write the adapters of a model as peft does.

    Args:
        model: with adapters.
        config: theirs.
        folder: made if it is not there.
        base: name of the model that they are for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": sorted(_adapted(model)),
        "bias": "none",
    }
    weights = {
        _PREFIX + name.replace(f".{_NAME}.", "."): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if ".lora_" in name
    }
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def load_adapter(model: Model, folder: Path) -> Model:
    """Put a saved adapter on a model, in place.

    Raises:
        CheckpointError: the folder holds no adapter of such a model.
    """
    settings = read_config_file(folder / CONFIG)
    try:
        config = LoRAConfig(
            rank=settings["r"],
            alpha=float(settings["lora_alpha"]),
            dropout=float(settings["lora_dropout"]),
        )
        stored = load_file(folder / WEIGHTS)
        attach(model, config)
        _fill(model, stored)
    except (KeyError, ValueError, RuntimeError, OSError, SafetensorError):
        raise CheckpointError(
            f"The folder {folder} holds no adapter of such a model; give the base that it was made for."
        ) from None
    return model


def _fill(model: Model, stored: Mapping[str, Tensor]) -> None:
    places = {
        _PREFIX + name.replace(f".{_NAME}.", "."): parameter
        for name, parameter in model.named_parameters()
        if ".lora_" in name
    }
    if places.keys() != stored.keys():
        raise ValueError("other layers")
    for name, parameter in places.items():
        parameter.data.copy_(stored[name])


def _adapted(model: Model) -> dict[str, Any]:
    """Return the layers that have an adapter, by their names."""
    from peft.tuners.lora import LoraLayer

    network: nn.Module = model
    return {
        name: module for name, module in network.named_modules() if isinstance(module, LoraLayer)
    }


def _take_off(model: Model) -> Model:
    network: nn.Module = model
    for name, layer in _adapted(model).items():
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, layer.get_base_layer())
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    del network.peft_config  # peft's mark that adapters are on
    return model


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtraError("peft", "train") from None
    return peft
