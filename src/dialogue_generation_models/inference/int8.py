"""Linear layers in 8 bits: whole-number products, scales for each weight row and each token.

- Weights have one scale an output channel, made once. Activations have one scale a token, made as they come,
  so a token's result never depends on what else is in the batch.
- Products and their sums are whole numbers, and exact: what is lost is lost in rounding to 8 bits alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..models.layers import TiedHead

if TYPE_CHECKING:
    from ..models import Model

_LARGEST = 127.0


class Int8Linear(nn.Module):
    """A linear layer whose weights are kept and multiplied in 8 bits; it cannot be trained."""

    weight: Tensor  # int8 [C_in, C_out]
    scale: Tensor  # [C_out]
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        rounded, scale = quantize_rows(weight.detach().float())
        self.register_buffer("weight", rounded.t().contiguous())
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", None if bias is None else bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """[..., C_in] → [..., C_out]."""
        rounded, scale = quantize_rows(x.flatten(0, -2))  # [N, C_in], [N, 1]
        result = torch._int_mm(rounded, self.weight) * (scale * self.scale)
        if self.bias is not None:
            result += self.bias
        return result.view(*x.shape[:-1], -1)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to whole numbers of 8 bits: float [N, C] → int8 [N, C] and scales [N, 1].

    A row that is not finite keeps a scale that is not finite, so that it stays one.
    """
    scale = x.abs().amax(dim=1, keepdim=True) / _LARGEST
    return (x / scale.clamp(min=torch.finfo(x.dtype).tiny)).round().to(torch.int8), scale


def pack_int8(model: Model) -> Model:
    """Replace a model's linear layers and its head by 8-bit ones, in place; return the model."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, Int8Linear(child.weight, child.bias))
            elif isinstance(child, TiedHead):
                setattr(module, name, Int8Linear(model.token_embedding.weight, None))
    return model.eval()
