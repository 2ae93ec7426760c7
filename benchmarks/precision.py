"""What lower precisions cost: perplexity and order of candidates beside float32, on real dialogue.

    python benchmarks/precision.py --data ../shared/data/ko/dialogue/written_chitchat.jsonl.zst

For each precision: the perplexity of the replies that people gave, relative to float32, read at once as in
training, and once more token by token as in writing, where 8 bits keep keys and values in 16; and for the same
20 sampled candidates of a context, Spearman's correlation of the two orders by log P per token, averaged, token
by token too. The data may be what the model was trained on: both sides see the same.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dialogue_generation_models.checkpoint.folder import find_folder, load_folder
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.data.importers.jsonl import read_dialogues
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.evaluation.exchanges import (
    build_context,
    encode_exchanges,
    exchanges,
)
from dialogue_generation_models.evaluation.perplexity import perplexity
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.int8 import pack_int8

CONTEXTS, CANDIDATES = 20, 20
ROWS = 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="gpt-mini-ko")
    parser.add_argument("--data", type=Path, required=True, help="dialogues, .jsonl or .jsonl.zst")
    parser.add_argument("--replies", type=int, default=1000, help="scored (default 1000)")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    rows = measure(arguments.model, arguments.data, arguments.replies)
    for row in rows:
        print(json.dumps(row))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(name: str, data: Path, replies: int) -> list[dict[str, Any]]:
    """Return one row a precision."""
    folder = load_folder(find_folder(name), device="cpu", precision="float32")
    assert folder.tokenizer is not None
    items = [item for d in read_dialogues(data) for item in exchanges(d)][:replies]
    encoded = encode_exchanges(folder.model.config, folder.tokenizer, items)
    step = max(1, len(encoded) // CONTEXTS)
    prompts = [build_context(folder.model.config, item, 32) for item in encoded[::step]][:CONTEXTS]
    options = DecodingConfig(
        strategy="sample", num_return=CANDIDATES, temperature=0.88, max_tokens=32, seed=0
    )
    found = generate(TorchEngine(folder.model), folder.model.config, prompts, options)
    candidates = [[candidate.ids for candidate in ranked if candidate.ids] for ranked in found]
    rows: list[dict[str, Any]] = []
    orders: list[list[float]] = []
    for precision in ("float32", "bfloat16", "int8"):
        model = load_folder(find_folder(name), device="cpu", precision="float32").model
        if precision == "int8":
            pack_int8(model)
        elif precision == "bfloat16":
            model.to(torch.bfloat16)
        result = perplexity(model, folder.tokenizer, items)
        engine = TorchEngine(model)
        contexts = [build_context(folder.model.config, item, len(item.reply)) for item in encoded]
        written = [
            logp
            for first in range(0, len(encoded), ROWS)
            for row in write(
                engine,
                contexts[first : first + ROWS],
                [item.reply for item in encoded[first : first + ROWS]],
            )
            for logp in row
        ]
        stepped = math.exp(-statistics.fmean(written))
        scores = [
            [statistics.fmean(row) for row in write(engine, [prompt] * len(ids), ids)]
            for prompt, ids in zip(prompts, candidates, strict=True)
        ]
        orders = orders or scores
        base = rows[0]["perplexity"] if rows else result.per_token
        stepped_base = rows[0]["perplexity_written"] if rows else stepped
        rows.append(
            {
                "model": name,
                "precision": precision,
                "perplexity": round(result.per_token, 4),
                "perplexity_change_percent": round(100 * (result.per_token / base - 1), 3),
                "perplexity_written": round(stepped, 4),
                "written_change_percent": round(100 * (stepped / stepped_base - 1), 3),
                "rank_correlation": round(statistics.mean(map(_spearman, orders, scores)), 4),
                "replies": len(items),
            }
        )
    return rows


@torch.inference_mode()
def write(
    engine: TorchEngine, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Return log P of each token of each reply, taking the engine's steps as in writing it."""
    longest = max(map(len, replies))
    tokens = torch.tensor([[*reply, *[0] * (longest - len(reply))] for reply in replies])  # [B, T]
    session, logits = engine.prefill(prompts, longest)
    columns = []
    for step in range(longest):
        if step:
            logits = session.step(tokens[:, step - 1])
        columns.append(logits.float().log_softmax(dim=1).gather(1, tokens[:, step : step + 1]))
    rows = torch.cat(columns, dim=1).tolist()
    return [row[: len(reply)] for row, reply in zip(rows, replies, strict=True)]


def _spearman(first: list[float], second: list[float]) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
