"""Released checkpoints, through `dgm convert`, give the original implementation's logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dialogue_generation_models.checkpoint.folder import load_folder
from dialogue_generation_models.cli.main import main


@pytest.mark.parametrize("kind", ["gpt", "meena"])
@pytest.mark.parametrize("key", ["n_ctx", "n_ctxt"])
def test_logits_are_the_original_ones(shared: Path, tmp_path: Path, kind: str, key: str) -> None:
    golden = shared / "golden" / f"{kind}-tiny"
    config = json.loads((golden / "config.json").read_text(encoding="utf-8"))
    if "n_ctx" in config:
        config[key] = config.pop("n_ctx")
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    command = ["convert", str(golden / "model.pth"), "--config", str(tmp_path / "config.json")]
    assert main([*command, "-o", str(tmp_path / "model")]) == 0

    folder = load_folder(tmp_path / "model", device="cpu")
    assert folder.tokenizer is None
    cases = json.loads((golden / "expected.json").read_text(encoding="utf-8"))["cases"]
    assert cases
    for case in cases:
        inputs = [case["input_ids"]]
        if kind == "meena":
            inputs.append(case["decoder_input_ids"])
        with torch.no_grad():
            logits = folder.model(*(torch.tensor([ids]) for ids in inputs))  # [1, T, V]
        expected = torch.tensor([case["logits"]])
        assert logits.shape == expected.shape
        assert (logits - expected).abs().max() < 1e-4
