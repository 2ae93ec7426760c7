"""Loads a model folder in the numbers that it is to answer in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoint.folder import ModelFolder, load_folder
from .int8 import pack_int8
from .precision import Precision


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to answer."""

    folder: ModelFolder
    parameters: int
    """Numbers that training has set."""


def load_model(path: Path, precision: Precision, device: str | None = None) -> LoadedModel:
    """Load a model folder; see `load_folder` for what it raises.

    In 8 bits the full weights are never in memory together: each layer is read, packed and let go.
    """
    if precision == "int8":
        folder = load_folder(path, device=device, precision="float32", is_mapped=True)
    else:
        folder = load_folder(path, device=device, precision=precision)
    model = folder.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if precision == "int8":
        pack_int8(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.float32, copy=True)
    return LoadedModel(folder, parameters)
