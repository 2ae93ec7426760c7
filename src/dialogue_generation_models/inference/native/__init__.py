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
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from .checks import takes_heads
from .choosing import Chooser
from .kernels import Kernels
from .packed import (
    PackedLayer,
    PackedLayers,
    PackedLinear,
    PackedNorm,
    PackedSublayer,
    PackedWeight,
    pack,
)
from .rows import AttentionRows, StackedRows

__all__ = [
    "AttentionRows",
    "Chooser",
    "Kernels",
    "PackedLayer",
    "PackedLayers",
    "PackedLinear",
    "PackedNorm",
    "PackedSublayer",
    "PackedWeight",
    "StackedRows",
    "find_chooser",
    "find_kernels",
    "pack",
    "takes_heads",
    "why_missing",
]

_FOLDER = Path(__file__).parent
_SOURCES = [
    _FOLDER / name for name in ("linear.c", "attention.c", "norm.c", "step.c", "choosing.c")
]
_HEADERS = [_FOLDER / name for name in ("vectors.h", "layers.h")]
_FLAGS = ("-O3", "-fopenmp", "-shared", "-fPIC", "-std=gnu11")


@cache
def find_kernels() -> Kernels | None:
    """Load the kernels, compiled the first time; None where there are none."""
    library = _load()
    return library if isinstance(library, Kernels) else None


def find_chooser(scores: Tensor) -> Chooser | None:
    """Find what chooses among scores of this kind; None where torch must do it."""
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        return None
    kernels = find_kernels()
    return None if kernels is None else kernels.chooser


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
    text = b"".join(path.read_bytes() for path in (*_SOURCES, *_HEADERS))
    key = hashlib.sha256(text + about.encode()).hexdigest()[:16]
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
        command = [compiler, *_FLAGS, "-o", str(made), *map(str, _SOURCES), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        made.replace(path)  # whole or not at all, whoever else compiles it too
    return path
