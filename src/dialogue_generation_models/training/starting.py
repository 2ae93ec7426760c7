"""The weights that a training begins with, and those that it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ..checkpoint.folder import find_folder, hash_weights, load_folder
from ..checkpoint.tensors import build_empty, fill
from ..config.training import Recipe
from ..errors import CheckpointError, TrainingError
from ..models import build_model

if TYPE_CHECKING:
    from ..models import Model

_NO_SHAPE = {"dropout", "attention_dropout"}


def starting_model(recipe: Recipe) -> Model:
    """Build the recipe's model, with fresh weights or those of the model that it starts from.

    Raises:
        TrainingError: that model has another shape.
        ModelNotFoundError, CheckpointError: there is no such model, or it is damaged.
    """
    if recipe.start_from is None:
        return build_model(recipe.model)
    base = load_folder(find_folder(recipe.start_from), device="cpu", precision="float32").model
    shapes = [config.model_dump(exclude=_NO_SHAPE) for config in (base.config, recipe.model)]
    if shapes[0] != shapes[1]:
        raise TrainingError(
            f"The model {recipe.start_from} has another shape than the recipe's [model]; "
            "give the shape of its config.json."
        )
    model = _filled(recipe, base.state_dict(), f"The model {recipe.start_from}")
    if recipe.lora is None:
        return model
    from .lora import attach

    return attach(model, recipe.lora)


def base_hash(recipe: Recipe) -> str | None:
    """Return the SHA-256 of the weights that a training begins with; None for fresh ones.

    Raises:
        TrainingError: the recipe asks for others.
        ModelNotFoundError, CheckpointError: there is no such model, or it is damaged.
    """
    if recipe.start_from is None:
        return None
    found = hash_weights(find_folder(recipe.start_from))
    if recipe.start_from_sha256 not in (None, found):
        raise TrainingError(
            f"The model {recipe.start_from} has other weights (SHA-256 {found[:12]}…) than the recipe asks "
            "for; give the right model, or leave start_from_sha256 out."
        )
    return found


def trained_model(recipe: Recipe, tensors: Mapping[str, Tensor], source: str) -> Model:
    """Build the recipe's model with the weights that a training left, adapters merged into them.

    Args:
        recipe: what was run.
        tensors: the weights by name.
        source: begins the sentence of an error.

    Raises:
        CheckpointError: the weights are of another model, or not finite.
    """
    if recipe.lora is None:
        return _filled(recipe, tensors, source)
    from .lora import merge

    return merge(adapted_model(recipe, tensors, source))


def adapted_model(recipe: Recipe, tensors: Mapping[str, Tensor], source: str) -> Model:
    """Build the recipe's model with the weights and adapters that a training of adapters left.

    Raises:
        CheckpointError: they are of another model.
    """
    model = starting_model(recipe)
    try:
        model.load_state_dict(tensors)
    except RuntimeError:
        raise CheckpointError(f"{source} belongs to another model.") from None
    return model.eval()


def _filled(recipe: Recipe, tensors: Mapping[str, Tensor], source: str) -> Model:
    return fill(build_empty(recipe.model, len(tensors), source), tensors, source)
