"""`dgm convert`: a whole model folder or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dialogue_generation_models.checkpoint.folder import load_folder
from dialogue_generation_models.checkpoint.huggingface import save_huggingface_folder
from dialogue_generation_models.checkpoint.original import to_original
from dialogue_generation_models.cli.main import main
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def released(tmp_path: Path, tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> Path:
    """A folder with the three released files."""
    torch.save(to_original(tiny_gpt.state_dict(), tiny_gpt.config), tmp_path / "tiny_gpt_kr.pth")
    config = tiny_gpt.config
    keys = {
        "vocab_size": config.vocab_size,
        "n_positions": config.n_ctx,
        "n_ctxt": config.n_ctx,
        "n_embd": config.n_embd,
        "n_inner": config.n_inner,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "sept_token_id": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(keys))
    (tmp_path / "t.model").write_bytes(tiny_tokenizer.to_bytes())
    return tmp_path


def convert(released: Path, *more: str) -> int:
    config = str(released / "config.json")
    weights = str(released / "tiny_gpt_kr.pth")
    return main(["convert", weights, "--config", config, "-o", str(released / "모델"), *more])


def test_a_whole_folder(
    released: Path, tiny_gpt: GPT, tiny_tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(released, "--tokenizer", str(released / "t.model"), "--language", "ja") == 0
    assert str(released / "모델") in capsys.readouterr().out
    folder = load_folder(released / "모델", device="cpu")
    ids = torch.tensor([[2, 10, 11, 4]])
    with torch.no_grad():
        assert torch.equal(folder.model(ids), tiny_gpt(ids))
    assert folder.tokenizer is not None
    assert folder.tokenizer.encode("안녕") == tiny_tokenizer.encode("안녕")
    assert (folder.decoding.top_p, folder.decoding.num_return) == (0.8, 1)
    card = (released / "모델" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\nlanguage: ja\n")
    assert "# tiny_gpt_kr" in card
    assert "Caution" in card
    assert "not fact" in card


def test_the_tokenizer_may_be_left_out_and_no_home_is_needed(
    released: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    assert convert(released, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["has_tokenizer"] is False
    assert result["parameters"] > 0
    assert load_folder(Path(result["path"])).tokenizer is None


def test_a_model_folder_is_converted_anew_but_nothing_else_is_replaced(released: Path) -> None:
    assert convert(released, "--tokenizer", str(released / "t.model")) == 0
    assert convert(released) == 2
    assert convert(released, "--overwrite") == 0
    assert load_folder(released / "모델").tokenizer is None
    (released / "모델" / "my-notes.txt").write_text("mine")
    assert convert(released, "--overwrite") == 1
    assert (released / "모델" / "my-notes.txt").read_text() == "mine"


@pytest.mark.parametrize("broken", ["tiny_gpt_kr.pth", "config.json", "t.model"])
@pytest.mark.parametrize("content", [b"", b"\x80\x02garbage", None])
def test_any_broken_input_is_one_sentence_and_nothing_is_written(
    released: Path, broken: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (released / broken).unlink()
    else:
        (released / broken).write_bytes(content)
    before = sorted(released.iterdir())
    assert convert(released, "--tokenizer", str(released / "t.model")) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dgm: ")
    assert captured.err.count("\n") == 1
    assert sorted(released.iterdir()) == before


def test_a_gpt2_folder_of_transformers(tmp_path: Path, tiny_gpt: GPT) -> None:
    model = GPT(tiny_gpt.config.replace(norm="pre")).eval()
    save_huggingface_folder(model, tmp_path / "tiny-gpt2")
    assert main(["convert", str(tmp_path / "tiny-gpt2"), "-o", str(tmp_path / "out")]) == 0
    ids = torch.tensor([[5, 10, 11]])
    with torch.no_grad():
        assert torch.equal(load_folder(tmp_path / "out", device="cpu").model(ids), model(ids))
    assert "language: en" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
