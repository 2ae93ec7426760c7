"""Models that are packed while they are read are those that were read and then packed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import dialogue_generation_models as dgm
from dialogue_generation_models.checkpoint.folder import WEIGHTS, load_folder, save_folder
from dialogue_generation_models.checkpoint.tensors import read_tensors
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.errors import CheckpointError
from dialogue_generation_models.inference import int8
from dialogue_generation_models.inference.int8 import pack_int8
from dialogue_generation_models.inference.loading import load_model
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_kernels", [True, False])
def test_packed_while_read(
    with_kernels: bool,
    dtype: torch.dtype,
    tiny_meena: Meena,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not with_kernels:
        monkeypatch.setattr(int8, "find_kernels", lambda: None)
    save_folder(tmp_path / "m", tiny_meena, None, DecodingConfig(), card="", dtype=dtype)
    loaded = load_model(tmp_path / "m", "int8")
    expected = pack_int8(load_folder(tmp_path / "m", precision="float32").model)
    context, reply = torch.tensor([[5, 6, 7, 4]]), torch.tensor([[2, 9, 10]])
    with torch.inference_mode():
        assert torch.equal(loaded.folder.model(context, reply), expected(context, reply))
    assert loaded.parameters == sum(p.numel() for p in tiny_meena.parameters())
    assert {p.dtype for p in loaded.folder.model.parameters()} == {torch.float32}


def test_a_model_in_memory_has_nothing_of_the_file(tiny_gpt: GPT, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in tiny_gpt.parameters():
            parameter.add_(0.1)  # so that biases are no zeros
    save_folder(tmp_path / "m", tiny_gpt, None, DecodingConfig(), card="")
    bot = dgm.load(str(tmp_path / "m"), precision="int8")
    before = bot.model(torch.tensor([[5, 6, 7]]))
    file = tmp_path / "m" / WEIGHTS
    with file.open("rb+") as weights:  # in place, as nobody should
        weights.write(bytes(file.stat().st_size))
    assert torch.equal(bot.model(torch.tensor([[5, 6, 7]])), before)


def test_a_file_that_changes_while_it_is_read_is_refused(tiny_gpt: GPT, tmp_path: Path) -> None:
    save_folder(tmp_path / "m", tiny_gpt, None, DecodingConfig(), card="")
    file = tmp_path / "m" / WEIGHTS
    tensors = read_tensors(file)
    name = next(iter(tensors))
    assert tensors[name].dtype == torch.float32
    copy = file.with_suffix(".new")
    copy.write_bytes(file.read_bytes())
    os.replace(copy, file)
    with pytest.raises(CheckpointError, match="changed while it was read"):
        tensors[name]
