"""In which numbers a model answers, and what fits the processor best."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, get_args

import torch

from ..errors import OptionError
from .native import find_kernels

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = ("auto", *get_args(Precision))


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """Settle a precision for a device.

    auto is bfloat16 on a GPU, int8 on a processor for which there are kernels, else float32.

    Raises:
        OptionError: there is no such precision, or not on this device.
    """
    if wanted not in PRECISIONS:
        names = ", ".join(PRECISIONS)
        raise OptionError(f"Precision {wanted!r} is not available; choose one of {names}.")
    if wanted == "int8" and device.type != "cpu":
        raise OptionError("Precision int8 is for processors; choose bfloat16 on a GPU.")
    if wanted == "auto":
        if device.type != "cpu":
            return "bfloat16"
        return "float32" if find_kernels() is None else "int8"
    return cast(Precision, wanted)
