"""A model's repeated blocks: what is compiled, recomputed and sharded one by one."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the layers that stand in a model's lists of layers."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return [block for blocks in lists for block in blocks]


def recompute_activations(model: nn.Module) -> None:
    """Let each block forget what it computed and compute it again for the gradient.

    Costs about a third more time, and leaves of each block only its input in memory (Chen et al. 2016,
    arXiv 1604.06174). The names of the weights stay as they are.
    """
    for block in blocks_of(model):
        forward = partial(checkpoint, block.forward, use_reentrant=False)
        block.forward = forward


def compile_blocks(model: nn.Module) -> None:
    """Compile each block; they are alike, so one compilation serves all of a kind.

    The whole model is not compiled: which places it gives logits for changes with each batch.
    """
    for block in blocks_of(model):
        block.compile()
