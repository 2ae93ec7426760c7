"""Weights in safetensors files, and how they become a model: nothing is trusted before it is checked.

- A file's header carries a SHA-256 of its weights, so that one flipped bit is found; files without
  it (made elsewhere) are read too.
- Names and shapes are compared with the configuration before any memory is taken for a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..config.model import ModelConfig
from ..errors import CheckpointError
from ..models import build_model

if TYPE_CHECKING:
    from ..models import Model

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_HASH = "sha256"


class TensorFile(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each mapped when it is asked for and until nobody holds it.

    So a model can be converted layer by layer, and the whole file never counts as memory.

    Raises:
        CheckpointError: the file is missing, damaged, no safetensors file, or changes while it is read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CheckpointError(
                f"There is no weight file {path}; the model folder is incomplete."
            )
        if path.stat().st_size == 0:
            raise CheckpointError(
                f"The weight file {path} is empty; copy or convert the model again."
            )
        self._path = path
        self._state = self._read_state()
        with self._explaining(), safe_open(path, framework="pt") as file:
            self._names = list(file.keys())
            self.metadata: dict[str, str] = file.metadata() or {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        with self._explaining(), safe_open(self._path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        if self._read_state() != self._state:
            raise CheckpointError(
                f"The weight file {self._path} changed while it was read; try again."
            )
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _read_state(self) -> tuple[int, int, int]:
        state = self._path.stat()
        return state.st_ino, state.st_size, state.st_mtime_ns

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"The weight file {self._path} is damaged or no safetensors file "
                f"({_first_line(error)}); copy or convert the model again."
            ) from None


def read_tensors(path: Path) -> TensorFile:
    """Open a safetensors file and make sure that its weights are those that were written.

    Raises:
        CheckpointError: it is missing, damaged or no safetensors file.
    """
    tensors = TensorFile(path)
    recorded = tensors.metadata.get(_HASH)
    if recorded is None:
        for _ in tensors.values():  # each is read once, so that damage is found here
            pass
    elif recorded != _hash(tensors):
        raise CheckpointError(
            f"The weight file {path} is damaged: its SHA-256 is not the recorded {recorded[:12]}…; "
            "copy or convert the model again."
        )
    return tensors


def hash_tensors(path: Path) -> str:
    """Return the SHA-256 by which the weights in a file are known; reckoned where none is recorded.

    Raises:
        CheckpointError: the file is missing, damaged or no safetensors file.
    """
    tensors = TensorFile(path)
    return tensors.metadata.get(_HASH) or _hash(tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> None:
    """Write a safetensors file whose header has the hash of its tensors, and what else is given.

    Raises:
        OSError, SafetensorError: the disk refuses.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.touch()
    mode = path.stat().st_mode
    save_file(plain, path, {"format": "pt", _HASH: _hash(plain), **metadata})
    path.chmod(mode)  # safetensors closes its files to other users; here the umask decides


def build_empty(config: ModelConfig, n_tensors: int, source: str = "The file") -> Model:
    """Make a model whose weights have shapes but no memory, ready for `fill`.

    Args:
        config: the shape; not to be trusted.
        n_tensors: how many tensors there are to fill it; more layers than that are refused.
        source: begins the sentence of an error.

    Raises:
        CheckpointError: the configuration cannot belong to so few tensors, or is impossible.
    """
    n_layers = sum(v for name, v in config.model_dump().items() if name.endswith("_layer"))
    if n_layers > n_tensors:
        raise CheckpointError(
            f"{source} has {n_tensors} tensors, too few for the {n_layers} layers of the "
            "configuration; give the configuration that belongs to it."
        )
    try:
        with torch.device("meta"), _NoInitialization():
            return build_model(config)
    except (RuntimeError, TypeError, OverflowError):
        raise CheckpointError(
            f"{source} cannot fit the impossible shape of the configuration; correct its sizes."
        ) from None


def check_names(expected: Iterable[str], given: Iterable[str], source: str) -> None:
    """Refuse missing and surplus tensors.

    Raises:
        CheckpointError: naming the first of them.
    """
    expected, given = list(expected), list(given)
    wanted, found = set(expected), set(given)
    for verb, names in (
        ("lacks", [name for name in expected if name not in found]),
        ("has the unknown", [name for name in given if name not in wanted]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"{source} {verb} weight {names[0]!r}{more}; "
                "give the configuration that belongs to it."
            )


def check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], source: str) -> None:
    """Refuse a tensor of another shape, of whole numbers, or with NaN or infinity.

    Raises:
        CheckpointError: naming the tensor.
    """
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f"{source} has {name!r} of shape {list(tensor.shape)}, but the configuration asks for "
            f"{list(shape)}; give the configuration that belongs to it."
        )
    if tensor.dtype not in FLOATS or tensor.layout != torch.strided:
        raise CheckpointError(
            f"{source} has {name!r} as {tensor.dtype}; only float32, float16 and bfloat16 are weights."
        )
    extremes = torch.stack(torch.aminmax(tensor))  # one pass; NaN is kept
    if not torch.isfinite(extremes).all():
        raise CheckpointError(
            f"{source} has NaN or infinity in {name!r}; use an earlier checkpoint of the model."
        )


def fill(
    model: Model,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = torch.float32,
) -> Model:
    """Give an empty model its weights, as copies on `device` in `dtype`; return it ready to answer.

    Without a `dtype` they are not copied but stay what they are, perhaps mapped from a file.

    Raises:
        CheckpointError: names, shapes or values are wrong; `source` begins the sentence.
    """
    expected = model.state_dict()
    check_names(expected, tensors, source)
    for name, empty in expected.items():
        check_tensor(name, tensors[name], tuple(empty.shape), source)
    place = device or torch.device("cpu")
    weights = {
        name: tensor.detach()
        if dtype is None
        else tensor.detach().to(place, dtype, copy=True).contiguous()
        for name, tensor in tensors.items()
    }
    model.load_state_dict(weights, assign=True)
    module: nn.Module = model
    module.eval()
    return model


class _NoInitialization(TorchFunctionMode):
    """Skips `torch.nn.init`: on tensors without memory it does nothing, in two seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")[:120]
