"""Time what users run: contexts in, candidate replies out, beside the other engines a person would pick.

    python benchmarks/decode.py --model gpt-base --jobs n10,n20 --engines ours-int8,transformers-fp32 \\
        --repeats 3 --json out.json

A job is contexts of 40 tokens and replies of 32 new tokens, the end token disabled:

    n1, n10, n20     one context, so many replies: top-p 0.8, repetition penalty 1.3, no repeated 3-gram
    beam10           one context, a beam of 10 with the same penalties
    c8, c64          so many different contexts at once, one reply each, sampled as above

The engines take turns within each repeat, so that whatever else the machine does hits all alike. A ratio is
that of one repeat's speeds, engine to transformers-fp32; figures are medians, the range lowest to highest.
Weights are random, with embeddings so loud that the next token has about 5 nats of entropy, as in a trained
model. transformers has no class for the published models, so it runs its own of the same size: GPT-2 (pre-norm)
and BART.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import AnyModelConfig, EncoderDecoderConfig
from dialogue_generation_models.config.registry import get_entry
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.int8 import pack_int8
from dialogue_generation_models.models import build_model

MODELS = {
    "gpt-base": "GPT-base-trained-on-dialogue-data-only-KR",
    "gpt-large": "GPT-large-trained-on-dialogue-data-only-KR",
    "meena-base": "Meena-base-trained-on-filtered-dialogue-data-KR",
    "meena-large": "Meena-large-trained-on-filtered-dialogue-data-KR",
}
JOBS = {
    "n1": (1, 1),
    "n10": (1, 10),
    "n20": (1, 20),
    "beam10": (1, 10),
    "c8": (8, 1),
    "c64": (64, 1),
}
"""Name → contexts, replies to each."""
BASELINE = "transformers-fp32"
CONTEXT_TOKENS, NEW_TOKENS = 40, 32
LOGIT_SPREAD = 3.28  # of Gaussian logits over 32,000 words that have 5 nats of entropy

Run = Callable[[list[list[int]], int, bool], int]
"""(contexts, replies to each, whether by beam) → tokens written."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="gpt-base")
    parser.add_argument("--jobs", default=",".join(JOBS), help="names, separated by commas")
    parser.add_argument("--engines", default=",".join(ENGINES), help="names, separated by commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--machine", type=Path, help="write what it ran on here, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = measure(
        arguments.model,
        _chosen(parser, arguments.jobs, JOBS),
        _chosen(parser, arguments.engines, ENGINES),
        arguments.repeats,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.machine:
        arguments.machine.write_text(json.dumps(describe_machine(), indent=1) + "\n")


def _chosen(parser: argparse.ArgumentParser, names: str, known: dict[str, Any]) -> list[str]:
    chosen = [name for name in names.split(",") if name]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        parser.error(f"unknown: {', '.join(unknown) or 'nothing'}; choose from {', '.join(known)}")
    return chosen


def measure(model: str, jobs: list[str], engines: list[str], repeats: int) -> list[dict[str, Any]]:
    """Run all jobs on all engines in turn; return one row a job and engine."""
    config = get_entry(MODELS[model]).config
    runs = {}
    for engine in engines:
        torch.manual_seed(0)
        try:
            runs[engine] = ENGINES[engine](config)
        except ImportError as error:
            print(f"{engine}: not installed ({error.name})", flush=True)
    rows: list[dict[str, Any]] = []
    for job in jobs:
        speeds = _time(job, runs, config, repeats)
        for engine, of_engine in speeds.items():
            pairs = zip(of_engine, speeds.get(BASELINE, []), strict=False)
            ratios = [own / base for own, base in pairs]
            row: dict[str, Any] = {
                "job": job,
                "engine": engine,
                "tokens_per_second": round(statistics.median(of_engine), 1),
                "ratio": round(statistics.median(ratios), 2) if ratios else None,
                "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)] if ratios else None,
                "model": model,
            }
            rows.append(row)
            print(
                f"{job:>7}  {engine:<20} {row['tokens_per_second']:>9,.1f} tokens/s"
                f"  {row['ratio'] or '-':>6}  {row['ratio_range'] or ''}",
                flush=True,
            )
    return rows


def _time(
    job: str, runs: dict[str, Run], config: AnyModelConfig, repeats: int
) -> dict[str, list[float]]:
    count, replies = JOBS[job]
    generator = torch.Generator().manual_seed(1)
    speeds: dict[str, list[float]] = {engine: [] for engine in runs}
    for repeat in range(repeats + 1):
        contexts = [_context(config, generator) for _ in range(count)]
        for engine, run in runs.items():
            start = time.perf_counter()
            tokens = run(contexts, replies, job.startswith("beam"))
            seconds = time.perf_counter() - start
            if repeat > 0:  # the first one warms up
                speeds[engine].append(tokens / seconds)
    return speeds


def _context(config: AnyModelConfig, generator: torch.Generator) -> list[int]:
    words = torch.randint(5, config.vocab_size, (CONTEXT_TOKENS - 2,), generator=generator)
    first = [] if isinstance(config, EncoderDecoderConfig) else [config.bos_id]
    return [*first, *words.tolist(), config.sept_id]


def ours(precision: str) -> Callable[[AnyModelConfig], Run]:
    """This package in one of its precisions."""

    def prepare(config: AnyModelConfig) -> Run:
        model = build_model(config).eval()
        torch.nn.init.normal_(model.token_embedding.weight, std=_loudness(config))
        if precision == "int8":
            pack_int8(model)
        elif precision == "bf16":
            model.to(torch.bfloat16)
        engine = TorchEngine(model)

        def run(contexts: list[list[int]], replies: int, is_beam: bool) -> int:
            options = DecodingConfig(
                strategy="beam" if is_beam else "sample",
                num_return=replies,
                temperature=1.0,
                top_p=0.8,
                repetition_penalty=1.3,
                no_repeat_ngram=3,
                min_tokens=NEW_TOKENS,
                max_tokens=NEW_TOKENS,
            )
            found = generate(engine, config, contexts, options)
            return sum(len(reply.ids) for of_context in found for reply in of_context)

        return run

    return prepare


def theirs(precision: torch.dtype) -> Callable[[AnyModelConfig], Run]:
    """The stock class of `transformers` of the same size."""

    def prepare(config: AnyModelConfig) -> Run:
        import transformers

        transformers.logging.set_verbosity_error()
        if isinstance(config, EncoderDecoderConfig):
            model: Any = transformers.BartForConditionalGeneration(_bart_config(config))
            embedding = model.model.shared
        else:
            model = transformers.GPT2LMHeadModel(_gpt2_config(config))
            embedding = model.transformer.wte
        torch.nn.init.normal_(embedding.weight, std=_loudness(config))
        model = model.to(precision).eval()

        @torch.inference_mode()
        def run(contexts: list[list[int]], replies: int, is_beam: bool) -> int:
            ids = torch.tensor(contexts)
            how = (
                {"num_beams": replies, "do_sample": False}
                if is_beam
                else {"do_sample": True, "top_p": 0.8, "top_k": 0}
            )
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_return_sequences=replies,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
                repetition_penalty=1.3,
                no_repeat_ngram_size=3,
                **how,
            )
            return len(contexts) * replies * NEW_TOKENS

        return run

    return prepare


def _gpt2_config(config: Any) -> Any:
    import transformers

    return transformers.GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.n_ctx,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_inner=config.n_inner,
        bos_token_id=config.bos_id,
        eos_token_id=config.eos_id,
        pad_token_id=config.pad_id,
    )


def _bart_config(config: Any) -> Any:
    import transformers

    return transformers.BartConfig(
        vocab_size=config.vocab_size,
        max_position_embeddings=config.n_ctx,
        d_model=config.n_embd,
        encoder_layers=config.n_encoder_layer,
        encoder_attention_heads=config.n_encoder_head,
        encoder_ffn_dim=config.n_encoder_inner,
        decoder_layers=config.n_decoder_layer,
        decoder_attention_heads=config.n_decoder_head,
        decoder_ffn_dim=config.n_decoder_inner,
        bos_token_id=config.bos_id,
        eos_token_id=config.eos_id,
        pad_token_id=config.pad_id,
        decoder_start_token_id=config.bos_id,
        forced_eos_token_id=None,
    )


def _loudness(config: AnyModelConfig) -> float:
    """Standard deviation of embeddings with which a normalised state gives logits of `LOGIT_SPREAD`."""
    return LOGIT_SPREAD / math.sqrt(config.n_embd)


ENGINES: dict[str, Callable[[AnyModelConfig], Run]] = {
    "ours-fp32": ours("fp32"),
    "ours-bf16": ours("bf16"),
    "ours-int8": ours("int8"),
    "transformers-fp32": theirs(torch.float32),
    "transformers-bf16": theirs(torch.bfloat16),
}


def describe_machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
