"""The model folder: what is saved comes back, damage is refused by name, nothing is half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dialogue_generation_models.checkpoint import tensors as tensors_module
from dialogue_generation_models.checkpoint.folder import (
    ModelFolder,
    find_folder,
    load_folder,
    save_folder,
)
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import EvolvedTransformerConfig
from dialogue_generation_models.errors import (
    CheckpointError,
    ConfigError,
    DialogueModelError,
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    WithdrawnModelError,
)
from dialogue_generation_models.models import build_model
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

DECODING = DecodingConfig(strategy="beam", num_beams=3, seed=7)
CARD = "---\nlicense: apache-2.0\n---\n# 작은 모델\n"


def assert_same_weights(found: nn.Module, wanted: nn.Module) -> None:
    left, right = found.state_dict(), wanted.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def saved(tmp_path: Path, tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> Path:
    """A healthy folder."""
    path = tmp_path / "모델"
    save_folder(path, tiny_gpt, tiny_tokenizer, DECODING, card=CARD)
    return path


def refuse(path: Path, error: type[DialogueModelError], named: str) -> None:
    with pytest.raises(error, match=named) as caught:
        load_folder(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


# What is saved comes back


def test_all_of_a_gpt_comes_back(saved: Path, tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    loaded = load_folder(saved, device="cpu")
    assert loaded.path == saved
    assert loaded.decoding == DECODING
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.to_bytes() == tiny_tokenizer.to_bytes()
    assert loaded.model.config == tiny_gpt.config
    assert not loaded.model.training
    assert_same_weights(loaded.model, tiny_gpt)
    assert all(p.requires_grad and p.device.type == "cpu" for p in loaded.model.parameters())
    names = {"config.json", "model.safetensors", "tokenizer.model", "generation_config.json"}
    assert {entry.name for entry in saved.iterdir()} == names | {"README.md"}
    assert (saved / "README.md").read_text(encoding="utf-8") == CARD


def test_the_other_architectures_come_back(tmp_path: Path, tiny_meena: Meena) -> None:
    config = EvolvedTransformerConfig(
        vocab_size=20, n_embd=16, n_encoder_layer=1, n_decoder_layer=1, n_head=2, n_inner=32
    )
    for model in (tiny_meena, build_model(config)):
        path = tmp_path / model.config.kind
        save_folder(path, model, None, DecodingConfig(), card=CARD)
        loaded = load_folder(path)
        assert loaded.tokenizer is None
        assert loaded.model.config == model.config
        assert_same_weights(loaded.model, model)


def test_bfloat16_on_disk_is_widened_and_precision_is_chosen(tmp_path: Path, tiny_gpt: GPT) -> None:
    path = tmp_path / "half"
    save_folder(path, tiny_gpt, None, DECODING, card=CARD, dtype=torch.bfloat16)
    stored = load_file(path / "model.safetensors")
    assert all(tensor.dtype == torch.bfloat16 for tensor in stored.values())
    wide = load_folder(path, device="cpu").model.state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in wide.values())
    original = tiny_gpt.state_dict()
    assert all(torch.equal(wide[n], original[n].bfloat16().float()) for n in wide)
    narrow = load_folder(path, device="cpu", precision="bfloat16").model
    assert all(p.dtype == torch.bfloat16 for p in narrow.parameters())


@pytest.mark.parametrize(
    "options", [{"precision": "int8"}, {"device": "toaster"}, {"device": "cuda:99"}]
)
def test_impossible_options_are_refused(saved: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        load_folder(saved, **options)


def test_loading_does_not_disturb_the_random_generator(saved: Path) -> None:
    before = torch.random.get_rng_state()
    load_folder(saved)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_loaded_weights_do_not_depend_on_the_file(saved: Path, tiny_gpt: GPT) -> None:
    loaded = load_folder(saved, device="cpu")
    with (saved / "model.safetensors").open("r+b") as file:
        file.write(b"\0" * 100_000)
    assert_same_weights(loaded.model, tiny_gpt)


# Damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_header_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] ^= 0x04
    path.write_bytes(content)


def flip_weight_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 0x01
    path.write_bytes(content)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [truncate, empty, flip_header_bit, flip_weight_bit, make_folder, Path.unlink],
    ids=lambda damage: str(damage.__name__),
)
def test_damaged_weights_are_refused(saved: Path, damage: Callable[[Path], None]) -> None:
    damage(saved / "model.safetensors")
    refuse(saved, CheckpointError, "model.safetensors")


def raw_file(header: bytes, data: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + data


def entry(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "overlap": raw_file(
        json.dumps({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}).encode(), b"\0" * 12
    ),
    "hole": raw_file(
        json.dumps({"a": entry([2], 0, 8), "b": entry([2], 16, 24)}).encode(), b"\0" * 24
    ),
    "huge header": raw_file(b"{}", size=2**62),
    "negative shape": raw_file(json.dumps({"a": entry([-2], 0, 8)}).encode(), b"\0" * 8),
    "shape beyond 64 bits": raw_file(
        json.dumps({"a": entry([2**40, 2**40], 0, 8)}).encode(), b"\0" * 8
    ),
    "duplicate key": raw_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"\0" * 4,
    ),
    "no JSON": raw_file(b"not json at all"),
    "deep JSON": raw_file(b'{"a":' * 50_000),
    "nothing inside": raw_file(b"{}"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_safetensors_are_refused(saved: Path, content: bytes) -> None:
    (saved / "model.safetensors").write_bytes(content)
    refuse(saved, CheckpointError, "model.safetensors")


def test_a_pickle_by_another_name_is_refused_and_not_run(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    payload = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    (saved / "model.safetensors").write_bytes(payload)
    refuse(saved, CheckpointError, "model.safetensors")
    (saved / "tokenizer.model").write_bytes(payload)
    with pytest.raises(TokenizerError):
        load_folder(saved)
    assert not marker.exists()


def change_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = {k: v.clone() for k, v in load_file(path / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, path / "model.safetensors")


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["blocks.1.norm_2.bias"]


def add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.2.norm_2.bias"] = torch.zeros(3)


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.1.norm_2.bias"] = torch.zeros(31)


def poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.1.norm_2.bias"][3] = float("nan")


def overflow(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.1.norm_2.bias"][3] = float("-inf")


def make_whole(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.1.norm_2.bias"] = torch.zeros(32, dtype=torch.int64)


@pytest.mark.parametrize("change", [drop, add, reshape, poison, overflow, make_whole])
def test_weights_that_do_not_fit_are_refused_by_name(
    saved: Path, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    change_weights(saved, change)
    refuse(saved, CheckpointError, r"norm_2\.bias")


def test_weights_from_elsewhere_need_no_hash(saved: Path, tiny_gpt: GPT) -> None:
    change_weights(saved, lambda tensors: None)
    assert_same_weights(load_folder(saved).model, tiny_gpt)


@pytest.mark.parametrize(
    "change",
    [
        {"n_layer": 3},
        {"n_layer": 1},
        {"n_layer": 2_000_000_000},
        {"n_embd": 2**40},
        {"vocab_size": 2**62, "n_embd": 2**62},
        {"n_inner": 65},
        {"norm": "pre"},
        {"n_ctx": 65},
    ],
    ids=str,
)
def test_another_models_configuration_is_refused(saved: Path, change: dict[str, Any]) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError):
        load_folder(saved)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.model"])
@pytest.mark.parametrize("damage", [empty, truncate, make_folder], ids=lambda d: str(d.__name__))
def test_damaged_small_files_are_refused_by_name(
    saved: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(saved / name)
    with pytest.raises((ConfigError, TokenizerError)) as caught:
        load_folder(saved)
    assert "\n" not in str(caught.value)
    if name.endswith(".json"):
        assert name in str(caught.value)


def test_an_illegal_option_in_the_folder_is_bad_input(saved: Path) -> None:
    (saved / "generation_config.json").write_text('{"temperature": -1.0}')
    refuse(saved, ConfigError, "temperature")


def test_without_generation_config_the_defaults_hold(saved: Path) -> None:
    (saved / "generation_config.json").unlink()
    assert load_folder(saved).decoding == DecodingConfig()


def test_a_larger_tokenizer_is_refused(
    saved: Path, tiny_gpt: GPT, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    small = build_model(tiny_gpt.config.replace(vocab_size=100))
    with pytest.raises(TokenizerError, match="100"):
        save_folder(tmp_path / "x", small, tiny_tokenizer, DECODING, card=CARD)
    assert not (tmp_path / "x").exists()
    save_folder(tmp_path / "x", small, None, DECODING, card=CARD)
    shutil.copy(saved / "tokenizer.model", tmp_path / "x")
    refuse(tmp_path / "x", TokenizerError, "pieces")


# Writing


def snapshot(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_nan_weights_are_not_saved(tmp_path: Path, tiny_gpt: GPT) -> None:
    torch.nn.init.constant_(tiny_gpt.blocks[0].norm_1.bias, float("nan"))
    with pytest.raises(CheckpointError, match=r"norm_1\.bias"):
        save_folder(tmp_path / "x", tiny_gpt, None, DECODING, card=CARD)
    assert list(tmp_path.iterdir()) == []


def test_an_older_model_is_replaced_whole(saved: Path, tiny_meena: Meena) -> None:
    save_folder(saved, tiny_meena, None, DECODING, card=CARD)
    assert_same_weights(load_folder(saved).model, tiny_meena)
    assert not (saved / "tokenizer.model").exists()
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path, tiny_gpt: GPT) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        save_folder(path, tiny_gpt, None, DECODING, card=CARD)
        assert_same_weights(load_folder(path).model, tiny_gpt)


def test_other_peoples_files_are_not_replaced(tmp_path: Path, saved: Path, tiny_gpt: GPT) -> None:
    (saved / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path in (saved, tmp_path / "file", tmp_path):
        before = snapshot(tmp_path)
        with pytest.raises(CheckpointError, match="choose"):
            save_folder(path, tiny_gpt, None, DECODING, card=CARD)
        assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_files_follow_the_umask(tmp_path: Path, tiny_gpt: GPT) -> None:
    for mask in (0o077, 0o022):
        old = os.umask(mask)
        try:
            save_folder(tmp_path / str(mask), tiny_gpt, None, DECODING, card=CARD)
        finally:
            os.umask(old)
        modes = {p.stat().st_mode & 0o777 for p in (tmp_path / str(mask)).iterdir()}
        assert modes == {0o666 & ~mask}
        assert (tmp_path / str(mask)).stat().st_mode & 0o777 == 0o777 & ~mask


class Killed(BaseException):
    """Stands for the end of the process."""


def fail_after(monkeypatch: pytest.MonkeyPatch, steps: int, error: BaseException) -> None:
    """Let so many writes, flushes and renames pass, and fail from then on."""
    left = [steps]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            if left[0] <= 0:
                raise error
            left[0] -= 1
            return real(*arguments)

        return step

    def remove(path: Path, ignore_errors: bool) -> None:
        if left[0] > 0 or not isinstance(error, Killed):  # the dead do not clean up
            remove_really(path, ignore_errors=ignore_errors)

    remove_really = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    monkeypatch.setattr(Path, "write_bytes", wrap(Path.write_bytes))
    monkeypatch.setattr(tensors_module, "save_file", wrap(tensors_module.save_file))
    monkeypatch.setattr(os, "fsync", wrap(os.fsync))
    monkeypatch.setattr(os, "replace", wrap(os.replace))


@pytest.mark.parametrize("steps", range(15))
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Killed()])
def test_whenever_writing_ends_early_a_whole_model_is_there(
    saved: Path,
    tiny_gpt: GPT,
    tiny_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    error: BaseException,
) -> None:
    newer = build_model(tiny_gpt.config)
    is_done = False
    with monkeypatch.context() as patch:
        fail_after(patch, steps, error)
        try:
            save_folder(saved, newer, tiny_tokenizer, DECODING, card=CARD)
            is_done = True
        except (CheckpointError, Killed) as end:
            refusal = str(end)
    loaded = load_folder(find_folder(str(saved)))
    assert loaded.tokenizer is not None
    is_new = torch.equal(loaded.model.token_embedding.weight, newer.token_embedding.weight)
    assert_same_weights(loaded.model, newer if is_new else tiny_gpt)
    assert is_new or not is_done
    assert is_done or isinstance(error, Killed) or "No space left on device" in refusal
    # 5 files written and flushed, the folder flushed, 2 renames, its parent flushed.
    assert is_done == (steps >= 14)
    save_folder(saved, newer, tiny_tokenizer, DECODING, card=CARD)
    assert_same_weights(load_folder(saved).model, newer)
    if not isinstance(error, Killed):
        assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


# Finding


def test_a_path_is_found(saved: Path) -> None:
    assert find_folder(str(saved)) == saved
    assert isinstance(load_folder(find_folder(str(saved))), ModelFolder)


def test_a_folder_wins_over_a_name(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved.rename(tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    assert find_folder("gpt2") == Path("gpt2")


def test_withdrawn_weights_are_explained_with_both_ways_on() -> None:
    for name in (
        "GPT-large-trained-on-dialogue-and-wiki-KR",
        "BASE_meena_trained_on_filtered_data_JP",
    ):
        with pytest.raises(WithdrawnModelError) as caught:
            find_folder(name)
        text = str(caught.value)
        assert "withdrawn" in text
        assert "2021" in text
        assert "dgm convert" in text
        assert "dgm train recipes/" in text


def test_a_bundled_model_is_found_by_its_name(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "package" / "bundled"
    bundled.mkdir(parents=True)
    saved.rename(bundled / "gpt-mini-ko")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / "package")
    assert find_folder("GPT-Mini-KO") == bundled / "gpt-mini-ko"


def test_a_bundled_model_whose_weights_are_missing_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"dgm train recipes/meena-mini-ko\.toml"):
        find_folder("meena-mini-ko")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt-mini-kr", "gpt-mini-ko"),
        ("gpt2", "dgm models show gpt2"),
        ("./nowhere", "no model folder"),
        ("nowhere/else.pth", "no model folder"),
        ("", "dgm models list"),
        ("x" * 10_000, "dgm models list"),
        ("a\0b", "dgm models list"),
    ],
)
def test_what_is_not_there_is_explained(name: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match=hint) as caught:
        find_folder(name)
    assert len(str(caught.value)) < 400


def test_things_that_are_no_model_folder_are_explained(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="dgm convert"):
        find_folder(str(tmp_path / "x.pth"))
    with pytest.raises(CheckpointError, match="not a model folder"):
        find_folder(str(tmp_path))
    with pytest.raises(ModelNotFoundError):
        load_folder(tmp_path / "none")
