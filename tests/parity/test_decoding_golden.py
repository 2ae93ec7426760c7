"""Outputs of the original code's generation, from the released checkpoints' format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.checkpoint.original import load_original
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.io import read_model_config
from dialogue_generation_models.config.model import EncoderDecoderConfig, GPTConfig
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.inference.engine import TorchEngine

EOS = 3
BEAM = DecodingConfig(strategy="beam", min_tokens=4, length_counts_prompt=True)


class Golden:
    """A released model, and how the original code's outputs are asked for here."""

    def __init__(self, folder: Path) -> None:
        config = read_model_config(folder / "config.json")
        assert isinstance(config, GPTConfig | EncoderDecoderConfig)
        self.is_gpt = isinstance(config, GPTConfig)
        self.engine = TorchEngine(load_original(folder / "model.pth", config))
        self.cases: list[dict[str, Any]] = json.loads((folder / "expected.json").read_text())[
            "cases"
        ]
        # The original let a reply hold any special token; with only one such id, none is banned.
        self.config = config.replace(pad_id=EOS, unk_id=EOS, sept_id=EOS)
        if self.is_gpt:
            self.config = self.config.replace(bos_id=EOS)
        # Meena's expected ids begin with bos, and its beams were forced to end at the last position.
        self.longest_beam = 16 if self.is_gpt else 15

    def found(self, case: dict[str, Any], options: DecodingConfig) -> list[list[int]]:
        [candidates] = generate(self.engine, self.config, [case["input_ids"]], options)
        return [candidate.ids for candidate in candidates]

    def expected(self, ids: list[int]) -> list[int]:
        ids = ids if self.is_gpt else ids[1:]
        return ids[: ids.index(EOS)] if EOS in ids else ids


@pytest.fixture(scope="module", params=["gpt-tiny", "meena-tiny"])
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(shared / "golden" / request.param)


def test_greedy(golden: Golden) -> None:
    options = DecodingConfig(strategy="greedy", min_tokens=4, max_tokens=16)
    for case in golden.cases:
        assert golden.found(case, options) == [golden.expected(case["greedy"])]


def test_five_beams(golden: Golden) -> None:
    options = BEAM.replace(num_beams=5, num_return=5, max_tokens=golden.longest_beam)
    for case in golden.cases:
        assert golden.found(case, options) == [golden.expected(ids) for ids in case["beam5"]]


def test_ten_beams_with_penalty_and_ngram_rule(golden: Golden) -> None:
    options = BEAM.replace(
        num_beams=10,
        num_return=10,
        max_tokens=golden.longest_beam,
        repetition_penalty=1.3,
        no_repeat_ngram=3,
        banned_ids=[4] if golden.is_gpt else [],
    )
    for case in golden.cases:
        [name] = [name for name in case if name.startswith("beam10")]
        assert golden.found(case, options) == [golden.expected(ids) for ids in case[name]]
