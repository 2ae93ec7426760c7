"""Time one sampling step against one model step, at the size of the published GPT base.

    python benchmarks/sampling.py --out benchmarks/results/sampling.json

The two are timed in turn, many times, so that whatever else the machine does hits both alike; the
figure is the median of the paired ratios. The sampling step is everything between two model steps:
repetition penalty, n-gram rule, banned tokens, temperature, top-p, the draw, and log P of what was drawn.

The model has random weights, so its own logits are nearly flat, unlike a trained model's. The logits to
sample from are therefore made: Gaussian, of three spreads. At 3.5 the perplexity is about 70, and the
nucleus of 0.8 has about 130 tokens; at 3.0 about 350 and 500; at 0.1 nearly all tokens are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.decoding.logits import token_logp
from dialogue_generation_models.decoding.rules import build_pick, build_rules
from dialogue_generation_models.decoding.sampling import row_keys
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.models.gpt import GPT

GPT_BASE = GPTConfig(vocab_size=32_000, n_embd=768, n_layer=12, n_head=12, n_inner=3072)
SPREADS = {"like a trained model": 3.5, "very uncertain": 3.0, "flat": 0.1}
PROMPT_TOKENS = 40


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10, help="replies in the batch (default 10)")
    parser.add_argument("--rounds", type=int, default=20, help="pairs to time (default 20)")
    parser.add_argument(
        "--top-p", type=float, default=0.8, help="size of the nucleus (default 0.8)"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.rows, arguments.rounds, arguments.top_p)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


@torch.inference_mode()
def measure(rows: int, rounds: int, top_p: float) -> dict[str, Any]:
    torch.manual_seed(0)
    prompt = [2, *torch.randint(5, 32_000, (PROMPT_TOKENS - 2,)).tolist(), 4]
    session, _ = TorchEngine(GPT(GPT_BASE)).prefill([prompt], 2 * len(SPREADS) * (rounds + 3))
    session.reorder(torch.zeros(rows, dtype=torch.long))
    tokens = torch.randint(5, 32_000, (rows,))
    history = torch.tensor([prompt]).repeat(rows, 1)
    options = DecodingConfig(
        strategy="sample", temperature=0.9, top_p=top_p, repetition_penalty=1.3, no_repeat_ngram=3
    )
    rules, pick = build_rules(options, GPT_BASE), build_pick(options)
    keys = row_keys(0, prompt, rows)

    def sample(logits: torch.Tensor) -> None:
        chosen = pick(rules(logits, history, 10), keys, 10)
        token_logp(logits, chosen).tolist()

    cases: dict[str, Any] = {}
    for name, spread in SPREADS.items():
        logits = torch.randn(rows, 32_000) * spread
        pairs = [
            (clock(lambda: session.step(tokens)), clock(lambda x=logits: sample(x)))
            for _ in range(rounds + 3)
        ][3:]  # the first ones warm up
        cases[name] = {
            "logit_spread": spread,
            "model_step_ms": round(statistics.median(model for model, _ in pairs), 2),
            "sampling_step_ms": round(statistics.median(sampling for _, sampling in pairs), 2),
            "ratio": round(statistics.median(s / m for m, s in pairs), 3),
        }
    return {
        "rows": rows,
        "vocabulary": 32_000,
        "model": "GPT base, float32, random weights",
        "top_p": top_p,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
        "cases": cases,
    }


def clock(work: Callable[[], object]) -> float:
    """Run once; return milliseconds."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
