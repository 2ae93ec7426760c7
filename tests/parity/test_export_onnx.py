"""`dgm export --format onnx`: onnxruntime alone gives the same numbers and replies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import (
    EvolvedTransformerConfig,
    GPTConfig,
    MeenaConfig,
    ModelConfig,
)
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.errors import MissingExtraError
from dialogue_generation_models.export.formats import export
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.models import build_model
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.layout import build_prompt
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

GREEDY = DecodingConfig(strategy="greedy", max_tokens=6)


@pytest.fixture(scope="module", params=["gpt", "meena", "evolved_transformer"])
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_tokenizer: Tokenizer,
) -> tuple[Any, Path]:
    """A model and its exported folder; tracing takes seconds, so once for all tests."""
    torch.manual_seed(0)
    model = randomized(build_model(small_config(request.param, tiny_tokenizer.vocab_size)).eval())
    folder = tmp_path_factory.mktemp("onnx")
    save_folder(folder / "source", model, tiny_tokenizer, GREEDY, card="# Tiny\n")
    export(str(folder / "source"), "onnx", folder / "exported")
    return model, folder / "exported"


def small_config(kind: str, vocab_size: int) -> ModelConfig:
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "n_ctx": 64, "n_embd": 32}
    if kind == "gpt":
        return GPTConfig(**sizes, n_layer=2, n_head=4, n_inner=64)
    sizes |= {"n_encoder_ctx": 24, "n_encoder_layer": 1, "n_decoder_layer": 1}
    if kind == "meena":
        heads = {"n_encoder_head": 2, "n_decoder_head": 4}
        return MeenaConfig(**sizes, **heads, n_encoder_inner=48, n_decoder_inner=64)
    return EvolvedTransformerConfig(**sizes, n_head=4, n_inner=64)


def randomized(model: Any) -> Any:
    """Give every weight, norms and biases too, a value that a mistake would change."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


class Loop:
    """The contract of `config.json`, followed by hand."""

    def __init__(self, folder: Path, graph: str) -> None:
        self.contract = json.loads((folder / "config.json").read_text())["graphs"][graph]
        self.session = onnxruntime.InferenceSession(folder / self.contract["file"])
        self.state: dict[str, Any] = {}

    def start(self, rows: int) -> None:
        sizes = {"batch": rows, "past": 0}
        self.state = {
            name: np.zeros([sizes.get(size, size) for size in shape], np.float32)
            for name, shape in self.contract["inputs"].items()
            if name.startswith("past.")
        }

    def step(self, **feed: Any) -> torch.Tensor:
        logits, *present = self.session.run(None, feed | self.state)
        self.state = dict(zip(self.state, present, strict=True))
        return torch.from_numpy(logits)


def test_log_probabilities_are_the_same_step_by_step(pair: tuple[Any, Path]) -> None:
    model, folder = pair
    run = check_gpt if isinstance(model, GPT) else check_encoder_decoder
    run(model, folder)


def check_gpt(model: GPT, folder: Path) -> None:
    ids = torch.randint(5, 300, (3, 20))
    mask = torch.ones_like(ids)
    mask[1, :6] = 0
    with torch.inference_mode():
        expected = model(ids, segment_ids=mask).log_softmax(2)
    loop = Loop(folder, "model")
    loop.start(3)
    parts = []
    for begin, end in ((0, 13), (13, 14), (14, 20)):  # many, one, and several with a past
        feed = {"input_ids": ids[:, begin:end].numpy(), "attention_mask": mask[:, :end].numpy()}
        parts.append(loop.step(**feed, logits_at=np.arange(end - begin)))
    logp = torch.cat(parts, dim=1).log_softmax(2)
    assert expected.std() > 0.5
    torch.testing.assert_close(logp[mask == 1], expected[mask == 1], rtol=0, atol=1e-4)
    loop.start(1)
    few = loop.step(
        input_ids=ids[:1].numpy(), attention_mask=mask[:1].numpy(), logits_at=np.array([19, 2])
    )
    torch.testing.assert_close(few.log_softmax(2)[0], expected[0, [19, 2]], rtol=0, atol=1e-4)


def check_encoder_decoder(model: Any, folder: Path) -> None:
    context, reply = torch.randint(5, 300, (3, 15)), torch.randint(5, 300, (3, 16))
    mask = torch.ones_like(context)
    mask[1, 9:] = 0
    mask[2, :4] = 0
    with torch.inference_mode():
        expected = model(context, reply, context_mask=mask.bool()).log_softmax(2)
    encoder, decoder = Loop(folder, "encoder"), Loop(folder, "decoder")
    feed = {"context_ids": context.numpy(), "context_mask": mask.numpy()}
    cross = encoder.session.run(None, feed)
    fixed = dict(zip(encoder.contract["outputs"], cross, strict=True))
    fixed["context_mask"] = mask.numpy()
    decoder.start(3)
    parts = [
        decoder.step(input_ids=reply[:, begin:end].numpy(), **fixed)
        for begin, end in ((0, 1), (1, 2), (2, 3), (3, 13), (13, 16))
    ]
    logp = torch.cat(parts, dim=1).log_softmax(2)
    assert expected.std() > 0.5
    torch.testing.assert_close(logp, expected, rtol=0, atol=1e-4)


def test_onnxruntime_alone_writes_the_same_reply_as_the_card_says(
    pair: tuple[Any, Path], tiny_tokenizer: Tokenizer
) -> None:
    model, folder = pair
    prompt = build_prompt(model.config, [tiny_tokenizer.encode("안녕")], 20)
    options = GREEDY.replace(min_tokens=0)
    [[best]] = generate(TorchEngine(model), model.config, [prompt], options)
    card = (folder / "README.md").read_text(encoding="utf-8")
    lines = ["import sys"]
    lines += [f"sys.modules[{name!r}] = None" for name in ("dialogue_generation_models", "torch")]
    lines += [card.split("```python\n")[1].split("```")[0], "print(reply)"]
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", "\n".join(lines)],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().splitlines()[-1] == str(best.ids)


def test_a_missing_library_names_its_extra(
    tiny_meena: Meena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(tmp_path / "source", tiny_meena, None, GREEDY, card="")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"'onnxscript'.*\[export\]"):
        export(str(tmp_path / "source"), "onnx", tmp_path / "exported")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
