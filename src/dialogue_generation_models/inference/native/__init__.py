"""Optional kernels in C, compiled once for each user; without them everything works through torch.

`find_kernels` gives None, and `why_missing` the reason, where the processor lacks AVX-512 VNNI, there is no
C compiler, or DGM_NATIVE=0 switches them off. The compiled library lies in the user's cache under a name made
from its source, so that another version of this package compiles its own. Nothing is compiled on import.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ("-O3", "-fopenmp", "-shared", "-fPIC", "-std=gnu11")
_LANES, _DEPTH, _PANEL = 16, 4, 32
_GELU_TANH = 1
_MAX_WIDTH = 256


@dataclass(frozen=True)
class PackedWeight:
    """8-bit weights as the kernel reads them."""

    blocks: Tensor  # uint8 [ceil(C_out / 32), ceil(C_in / 4), 32, 4]
    scale: Tensor  # float32 [C_out]
    inputs: int


class Kernels:
    """The compiled functions, called with tensors; all float32, contiguous, on the CPU."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._linear = library.dgm_linear_int8
        self._linear.restype = None
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._linear.argtypes = [
            pointer, number, number, pointer, pointer, pointer, number, ctypes.c_int, pointer, pointer,
        ]  # fmt: skip
        self._attend = library.dgm_attend
        self._attend.restype = None
        self._attend.argtypes = [
            pointer, pointer, pointer, number, number, number, ctypes.c_int, pointer, pointer, number, pointer,
            pointer, pointer, pointer, pointer, number, number, ctypes.c_float, pointer,
        ]  # fmt: skip
        self._add_norm = library.dgm_add_norm
        self._add_norm.restype = None
        self._add_norm.argtypes = [
            pointer, pointer, number, number, pointer, pointer, ctypes.c_float, pointer
        ]  # fmt: skip

    def linear(self, x: Tensor, weight: PackedWeight, bias: Tensor | None, *, gelu: bool) -> Tensor:
        """[N, C_in] → [N, C_out], with GELU in its tanh form if asked."""
        x = x.contiguous()
        rows, outputs = len(x), len(weight.scale)
        out = torch.empty(rows, outputs)
        padded = weight.blocks.shape[1] * _DEPTH
        scratch = torch.empty(rows * (padded + 8), dtype=torch.int8)
        self._linear(
            x.data_ptr(),
            rows,
            weight.inputs,
            weight.blocks.data_ptr(),
            weight.scale.data_ptr(),
            _pointer(bias),
            outputs,
            _GELU_TANH if gelu else 0,
            out.data_ptr(),
            scratch.data_ptr(),
        )
        return out

    def attend(
        self,
        query: Tensor,
        shared: tuple[Tensor, Tensor],
        spans: Tensor,
        prompts: Tensor,
        new: tuple[Tensor, Tensor] | None,
        tail: tuple[Tensor, Tensor] | None,
        place: int,
    ) -> Tensor:
        """Look at a prompt's keys and at a reply's own; its new key and value are put in place first.

        Args:
            query: [R, H, 1, D], D a multiple of 16 and at most 256.
            shared: keys and values of the prompts, each [P, H, S, D].
            spans: first column of each prompt and the one after its last, int64 [2, P].
            prompts: the prompt of each row, int64 [R].
            new: key and value of the new tokens, each [R, H, 1, D]; None to look at the prompt alone.
            tail: keys and values of the replies, each [R, H, T, D].
            place: the column of the tail that the new ones go to.

        Returns:
            [R, H, 1, D].
        """
        rows, heads, _, width = query.shape
        parts = [query] if new is None else [query, *new]
        if not all(part.stride() == query.stride() for part in parts) or not _is_joined(query):
            parts = [part.contiguous() for part in parts]
        key, value = (None, None) if new is None else parts[1:]
        out = torch.empty(rows, heads, 1, width)
        tail_keys, tail_values = (None, None) if tail is None else tail
        self._attend(
            parts[0].data_ptr(),
            _pointer(key),
            _pointer(value),
            parts[0].stride(0),
            rows,
            heads,
            width,
            shared[0].data_ptr(),
            shared[1].data_ptr(),
            shared[0].shape[2],
            prompts.data_ptr(),
            spans[0].data_ptr(),
            spans[1].data_ptr(),
            _pointer(tail_keys),
            _pointer(tail_values),
            0 if tail_keys is None else tail_keys.shape[2],
            -1 if tail_keys is None else place,
            width**-0.5,
            out.data_ptr(),
        )
        return out

    def add_norm(
        self, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, epsilon: float
    ) -> Tensor:
        """LayerNorm of a sum: two of [..., C] → [..., C]."""
        x = x.contiguous()
        if added is not None:
            added = added.contiguous()
        out = torch.empty_like(x)
        width = x.shape[-1]
        self._add_norm(
            x.data_ptr(),
            _pointer(added),
            x.numel() // width,
            width,
            weight.data_ptr(),
            bias.data_ptr(),
            epsilon,
            out.data_ptr(),
        )
        return out

    def can_attend(self, query: Tensor) -> bool:
        """Whether `attend` takes queries of this kind."""
        width = query.shape[3]
        is_plain = query.dtype == torch.float32 and query.device.type == "cpu"
        return is_plain and width % _LANES == 0 and width <= _MAX_WIDTH


def _is_joined(x: Tensor) -> bool:
    """Whether the heads of each row, [R, H, 1, D], lie side by side."""
    return x.stride(3) == 1 and x.stride(1) == x.shape[3]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def pack(weight: Tensor, scale: Tensor) -> PackedWeight:
    """Lay out int8 weights [C_out, C_in], with scales [C_out], in the kernel's blocks."""
    outputs, inputs = weight.shape
    full = torch.zeros(-outputs % _PANEL + outputs, -inputs % _DEPTH + inputs, dtype=torch.int16)
    full[:outputs, :inputs] = weight
    blocks = (full + 128).to(torch.uint8).view(-1, _PANEL, full.shape[1] // _DEPTH, _DEPTH)
    return PackedWeight(blocks.transpose(1, 2).contiguous(), scale.contiguous(), inputs)


@cache
def find_kernels() -> Kernels | None:
    """Load the kernels, compiled the first time; None where there are none."""
    library = _load()
    return library if isinstance(library, Kernels) else None


def why_missing() -> str:
    """Say why `find_kernels` gives None; empty where it gives the kernels."""
    library = _load()
    return library if isinstance(library, str) else ""


@cache
def _load() -> Kernels | str:
    if os.environ.get("DGM_NATIVE") == "0":
        return "switched off by DGM_NATIVE=0"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "made for Linux on x86-64"
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "the processor has no AVX-512"
    try:
        library = ctypes.CDLL(str(_build()))
    except (OSError, subprocess.SubprocessError) as error:
        return f"not compiled: {error}"
    return Kernels(library) if library.dgm_is_supported() else "the processor has no AVX-512 VNNI"


def _build() -> Path:
    """Compile the library unless it is there.

    Raises:
        OSError: no compiler, or the cache cannot be written.
        SubprocessError: the compiler failed.
    """
    # Homes are shared between machines: what is compiled here may not load elsewhere.
    about = " ".join((*_FLAGS, *platform.libc_ver()))
    key = hashlib.sha256(_SOURCE.read_bytes() + about.encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dgm"
    path = folder / f"kernels-{key}.so"
    if path.is_file():
        return path
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise OSError("there is no C compiler")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        made = Path(place) / path.name
        command = [compiler, *_FLAGS, "-o", str(made), str(_SOURCE), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        made.replace(path)  # whole or not at all, whoever else compiles it too
    return path
