"""The compiled functions that choose among the scores of a vocabulary, called with tensors.

Like those of `kernels.py` they trust their pointers, so everything is checked here.
"""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

_MOST_TOKENS = 2**24  # the kernels count in float32
_SMALLEST = 1e-30  # temperature; beyond it and its inverse, float32 ends


class Chooser:
    """Finds the best of many scores; all float32 on the CPU, NaN as low as -inf.

    A row's result depends on that row alone, bit for bit. Of scores that tie, the lower id is the better.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._best = library.dgm_best
        self._best.restype = ctypes.c_int
        self._best.argtypes = [pointer, number, number, number, pointer, pointer]
        self._log_total = library.dgm_log_total
        self._log_total.restype = None
        self._log_total.argtypes = [pointer, number, number, pointer]
        self._draw = library.dgm_draw
        self._draw.restype = ctypes.c_int
        self._draw.argtypes = [
            pointer, number, number, pointer, ctypes.c_float, number, ctypes.c_double,
            ctypes.c_float, pointer,
        ]  # fmt: skip

    def best(self, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find the best, best first: [B, V] → scores and ids, each [B, count].

        Raises:
            ValueError: the scores are of another kind, or a row has fewer than `count`.
        """
        scores = _checked(scores)
        rows, width = scores.shape
        if not 1 <= count <= width:
            raise ValueError(f"count must be from 1 to {width}, not {count}")
        top, ids = torch.empty(rows, count), torch.empty(rows, count, dtype=torch.int64)
        _require_memory(
            self._best(scores.data_ptr(), rows, width, count, top.data_ptr(), ids.data_ptr())
        )
        return top, ids

    def log_total(self, scores: Tensor) -> Tensor:
        """Log of the sum of exp over each row: [B, V] → [B]; NaN where there is NaN.

        Raises:
            ValueError: the scores are of another kind.
        """
        scores = _checked(scores)
        out = torch.empty(len(scores))
        self._log_total(scores.data_ptr(), *scores.shape, out.data_ptr())
        return out

    def draw(
        self,
        scores: Tensor,
        numbers: Tensor,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
    ) -> Tensor:
        """Draw a token of each row by inverting its cumulative distribution, from the best token on.

        Args:
            scores: [B, V]; a row without any number gives token 0.
            numbers: one in [0, 1) a row, float64 [B].
            temperature: above 0, divides the scores.
            top_k: 0 for no limit.
            top_p: 1 for no limit.
            min_p: 0 for no limit.

        Returns:
            [B].

        Raises:
            ValueError: the parts do not fit each other, or a limit is out of its range.
        """
        scores = _checked(scores)
        numbers = numbers.contiguous()
        if numbers.dtype != torch.float64 or numbers.shape != scores.shape[:1]:
            raise ValueError(f"numbers must be float64 [{len(scores)}] on the CPU")
        if numbers.device.type != "cpu":
            raise ValueError("numbers must be on the CPU")
        if not (temperature > 0.0 and top_k >= 0 and 0.0 <= top_p <= 1.0 and 0.0 <= min_p <= 1.0):
            raise ValueError("temperature, top_k, top_p or min_p is out of its range")
        tokens = torch.empty(len(scores), dtype=torch.int64)
        _require_memory(
            self._draw(
                scores.data_ptr(),
                *scores.shape,
                numbers.data_ptr(),
                1.0 / min(max(temperature, _SMALLEST), 1.0 / _SMALLEST),
                min(top_k, scores.shape[1]),
                top_p,
                math.log(min_p) if min_p > 0.0 else -math.inf,
                tokens.data_ptr(),
            )
        )
        return tokens


def _checked(scores: Tensor) -> Tensor:
    """Refuse scores that would be misread; lay the others out row by row."""
    if scores.dtype != torch.float32 or scores.device.type != "cpu" or scores.dim() != 2:
        raise ValueError("scores must be float32 [B, V] on the CPU")
    if not 1 <= scores.shape[1] <= _MOST_TOKENS:
        raise ValueError(f"scores must be of 1 to {_MOST_TOKENS:,} tokens")
    return scores.contiguous()


def _require_memory(is_done: int) -> None:
    if not is_done:
        raise MemoryError("not enough memory to choose tokens")
