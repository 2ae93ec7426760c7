"""What is checked before an address is handed over: the compiled functions trust their pointers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LANES = 16
_MAX_WIDTH = 256


def check(name: str, tensor: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> None:
    """Refuse a tensor that the kernels would misread."""
    is_plain = tensor.dtype == dtype and tensor.device.type == "cpu" and tensor.is_contiguous()
    if not is_plain or tensor.shape != tuple(shape):
        wanted = f"contiguous {str(dtype).removeprefix('torch.')} {list(shape)} on the CPU"
        found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        raise ValueError(f"{name} must be {wanted}, not {found}")


def pointer(tensor: Tensor | None) -> int | None:
    """Return a tensor's address; None where there is no tensor."""
    return None if tensor is None else tensor.data_ptr()


def takes_heads(width: int) -> bool:
    """Whether the kernels take heads of so many numbers."""
    return width % _LANES == 0 and 0 < width <= _MAX_WIDTH
