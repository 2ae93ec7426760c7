"""`dgm export --format ctranslate2`: CTranslate2 alone gives the same numbers and replies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import EvolvedTransformerConfig, GPTConfig
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.errors import CheckpointError, MissingExtraError
from dialogue_generation_models.export.formats import export
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.scoring import score_replies
from dialogue_generation_models.models.evolved_transformer import EvolvedTransformer
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from dialogue_generation_models.models import Model

ctranslate2 = pytest.importorskip("ctranslate2")

PROMPTS = [[2, 40, 50, 60, 4], [2, 70, 71, 72, 73, 74, 75, 76, 77, 78, 4]]
GREEDY = DecodingConfig(strategy="greedy", max_tokens=12)


@pytest.fixture(params=["post", "pre", "meena"])
def ours(request: pytest.FixtureRequest, tiny_gpt: GPT, tiny_meena: Meena) -> Model:
    if request.param == "meena":
        wider = tiny_meena.config.replace(n_encoder_head=2, n_encoder_inner=48, n_encoder_ctx=24)
        return randomized(Meena(wider).eval())
    return randomized(GPT(tiny_gpt.config.replace(norm=request.param)).eval())


def randomized(model: Any) -> Any:
    """Give every weight, norms and biases too, a value that a mistake would change."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def exported(model: Model, tokenizer: Tokenizer | None, folder: Path) -> Path:
    save_folder(folder / "source", model, tokenizer, GREEDY, card="# Tiny\n")
    export(str(folder / "source"), "ctranslate2", folder / "exported")
    return folder / "exported"


def test_log_probabilities_are_the_same_in_a_batch_of_any_lengths(
    ours: Model, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = exported(ours, tiny_tokenizer, tmp_path)
    replies = [[90, 91, 92, 93, 3], [100, 101, 3]]
    expected = score_replies(ours, PROMPTS, replies)
    assert torch.cat(expected).std() > 0.5
    if isinstance(ours, GPT):
        theirs = ctranslate2.Generator(str(folder), compute_type="float32")
        rows = [[*prompt, *reply[:-1]] for prompt, reply in zip(PROMPTS, replies, strict=True)]
        logp = np.array(theirs.forward_batch(rows, return_log_probs=True))  # [B, T, V]
        for row, (prompt, reply) in enumerate(zip(PROMPTS, replies, strict=True)):
            places = np.arange(len(reply)) + len(prompt) - 1
            np.testing.assert_allclose(logp[row, places, reply], expected[row], atol=1e-4)
    else:
        theirs = ctranslate2.Translator(str(folder), compute_type="float32")
        tokens = [tiny_tokenizer.piece(i) for i in range(tiny_tokenizer.vocab_size)]
        results = theirs.score_batch(
            [[tokens[i] for i in prompt] for prompt in PROMPTS],
            [[tokens[i] for i in reply[:-1]] for reply in replies],
        )
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result.log_probs, wanted, atol=1e-4)


def test_replies_are_the_same(ours: Model, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = exported(ours, tiny_tokenizer, tmp_path)
    tokens = [tiny_tokenizer.piece(i) for i in range(tiny_tokenizer.vocab_size)]
    prompts = [[tokens[i] for i in prompt] for prompt in PROMPTS]
    never = [[tokens[i]] for i in ours.config.never_in_reply_ids]
    options = {"suppress_sequences": never, "beam_size": 1}
    if isinstance(ours, GPT):
        generator = ctranslate2.Generator(str(folder), compute_type="float32")
        found = generator.generate_batch(
            prompts, max_length=12, min_length=1, include_prompt_in_result=False, **options
        )
        rows = [result.sequences[0] for result in found]
    else:
        translator = ctranslate2.Translator(str(folder), compute_type="float32")
        found = translator.translate_batch(
            prompts, max_decoding_length=12, min_decoding_length=1, **options
        )
        rows = [result.hypotheses[0] for result in found]
    expected = generate(TorchEngine(ours), ours.config, PROMPTS, GREEDY)
    assert rows == [[tokens[i] for i in best[0].ids] for best in expected]


def test_a_model_without_tokenizer_has_numbers_for_tokens(tiny_gpt: GPT, tmp_path: Path) -> None:
    folder = exported(tiny_gpt, None, tmp_path)
    assert not (folder / "tokenizer.model").exists()
    generator = ctranslate2.Generator(str(folder))
    [result] = generator.generate_batch([["[2]", "[40]", "[4]"]], max_length=5)
    assert all(token.startswith("[") for token in result.sequences[0])


def test_a_vocabulary_that_was_filled_up(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = GPTConfig(
        vocab_size=tiny_tokenizer.vocab_size + 6,
        n_ctx=32,
        n_embd=32,
        n_layer=1,
        n_head=2,
        n_inner=64,
    )
    folder = exported(GPT(config), tiny_tokenizer, tmp_path)
    logits = ctranslate2.Generator(str(folder)).forward_batch([[2, 4]])
    assert np.array(logits).shape == (1, 2, config.vocab_size)


def test_ctranslate2_alone_opens_the_folder_as_its_card_says(
    tiny_gpt: GPT, tiny_meena: Meena, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    lines = ["import os, sys"]
    lines += [f"sys.modules[{name!r}] = None" for name in ("dialogue_generation_models", "torch")]
    for model in (tiny_gpt, tiny_meena):
        (tmp_path / model.config.kind).mkdir()
        folder = exported(model, tiny_tokenizer, tmp_path / model.config.kind)
        card = (folder / "README.md").read_text(encoding="utf-8")
        lines += [f"os.chdir({str(folder)!r})", card.split("```python\n")[1].split("```")[0]]
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", "\n".join(lines)],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().count("\n") >= 2


def test_what_it_cannot_compute_is_refused(tmp_path: Path) -> None:
    config = EvolvedTransformerConfig(
        vocab_size=64, n_embd=32, n_encoder_layer=1, n_decoder_layer=1, n_head=4, n_inner=64
    )
    with pytest.raises(CheckpointError, match="Evolved Transformer; export it to onnx"):
        exported(EvolvedTransformer(config), None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_missing_library_names_its_extra(
    tiny_gpt: GPT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(MissingExtraError, match=r"dialogue-generation-models\[export\]"):
        exported(tiny_gpt, None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
