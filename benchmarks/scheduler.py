"""Time many requests through one batch that they join and leave, beside batches that wait for their longest.

    python benchmarks/scheduler.py --json benchmarks/results/scheduler.json

64 requests with contexts of 8 to 60 tokens; replies end by themselves after 10 tokens on average (the end token
of the random weights is given a probability of a tenth), 48 at most. Jobs:

    burst1, burst20    all are there at the start; one sample each, or the best of 20
    stream1, stream20  they arrive at random moments, 0.8 times as fast as `static16` answers them in a burst

Ways: `continuous` (`decoding/scheduler.py`) and `static8`, `static16` (`generate`, on up to so many of those
that wait). `continuous` and `static16` have the same rows at most: 16 times the samples of a request. All ways
take turns within each repeat. Latency runs from a request's arrival to its whole reply. Processor time tells
the ways apart on a busy machine too, with `--threads 1`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import AnyModelConfig, EncoderDecoderConfig
from dialogue_generation_models.config.registry import get_entry
from dialogue_generation_models.decoding.generate import Candidate, count_rows, generate
from dialogue_generation_models.decoding.scheduler import Limits, Scheduler
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.int8 import Int8Linear, pack_int8
from dialogue_generation_models.models import build_model

MODELS = {
    "gpt-base": "GPT-base-trained-on-dialogue-data-only-KR",
    "meena-base": "Meena-base-trained-on-filtered-dialogue-data-KR",
    "gpt-mini": "gpt-mini-ko",
}
LOGIT_SPREAD = 3.28  # of Gaussian logits over 32,000 words that have 5 nats of entropy
END_SHARE = 0.1
LOAD = 0.8


@dataclass
class Arrival:
    """A request and when it comes, in seconds from the start."""

    prompt: list[int]
    at: float


@dataclass
class Outcome:
    """What one way did with all requests."""

    seconds: float
    processor_seconds: float
    tokens: int
    latencies: list[float]


Way = Callable[[TorchEngine, AnyModelConfig, Sequence[Arrival], DecodingConfig], Outcome]


class EndingHead(nn.Module):
    """A head of its own random weights, whose end token has about the same probability everywhere.

    A head that is tied to random embeddings would repeat the last token.
    """

    def __init__(self, config: AnyModelConfig) -> None:
        super().__init__()
        spread = LOGIT_SPREAD / math.sqrt(config.n_embd)
        self._head = Int8Linear(torch.randn(config.vocab_size, config.n_embd) * spread, None)
        total = math.log(config.vocab_size) + LOGIT_SPREAD**2 / 2  # of Gaussian logits
        self._eos_id, self._logit = config.eos_id, total + math.log(END_SHARE / (1 - END_SHARE))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self._head(x)
        logits[..., self._eos_id] = self._logit
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="gpt-base")
    parser.add_argument("--jobs", default="burst1,burst20,stream1,stream20")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = get_entry(MODELS[arguments.model]).config
    engine = build_engine(config)
    rows = [
        row
        for job in arguments.jobs.split(",")
        for row in measure(
            engine, config, job, arguments.ways.split(","), arguments.requests, arguments.repeats
        )
    ]
    result = {
        "model": arguments.model,
        "requests": arguments.requests,
        "repeats": arguments.repeats,
        "threads": torch.get_num_threads(),
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
        "torch": torch.__version__,
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def build_engine(config: AnyModelConfig) -> TorchEngine:
    torch.manual_seed(0)
    model = build_model(config).eval()
    pack_int8(model)
    model.head = EndingHead(config)  # type: ignore[assignment]
    return TorchEngine(model)


def measure(
    engine: TorchEngine, config: AnyModelConfig, job: str, ways: list[str], count: int, repeats: int
) -> list[dict[str, Any]]:
    """Run one job in all ways in turn; return one row a way."""
    options = DecodingConfig(
        strategy="sample_and_rank" if job.endswith("20") else "sample",
        temperature=1.0,
        num_samples=20,
        seed=0,
    )
    outcomes: dict[str, list[Outcome]] = {way: [] for way in ways}
    source = random.Random(0)
    rate = math.inf
    if job.startswith("stream"):
        burst = static(16)(engine, config, arrive(config, source, count, math.inf), options)
        rate = LOAD * count / burst.seconds
    for repeat in range(repeats + 1):
        arrivals = arrive(config, source, count, rate)
        for way in ways:
            outcome = WAYS[way](engine, config, arrivals, options)
            if repeat > 0:  # the first one warms up
                outcomes[way].append(outcome)
    rows = []
    for way, own in outcomes.items():
        pairs = list(zip(outcomes.get("static16", own), own, strict=True))
        ratios = [base.seconds / mine.seconds for base, mine in pairs]
        worked = [base.processor_seconds / mine.processor_seconds for base, mine in pairs]
        latencies = [latency for outcome in own for latency in outcome.latencies]
        cuts = statistics.quantiles(latencies, n=100)
        rows.append(
            {
                "job": job,
                "way": way,
                "tokens_per_second": round(statistics.median(o.tokens / o.seconds for o in own), 1),
                "speed_to_static16": round(statistics.median(ratios), 2),
                "speed_range": [round(min(ratios), 2), round(max(ratios), 2)],
                "processor_time_of_static16_to_its": round(statistics.median(worked), 2),
                "latency_seconds": {
                    f"p{percent}": round(cuts[percent - 1], 3) for percent in (50, 90, 99)
                },
                "requests_per_second": None if math.isinf(rate) else round(rate, 2),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def arrive(config: AnyModelConfig, source: random.Random, count: int, rate: float) -> list[Arrival]:
    """Draw contexts, and moments that follow each other at random with this rate a second."""
    at, arrivals = 0.0, []
    opening = [] if isinstance(config, EncoderDecoderConfig) else [config.bos_id]
    for _ in range(count):
        words = [source.randrange(5, config.vocab_size) for _ in range(source.randint(6, 58))]
        arrivals.append(Arrival([*opening, *words, config.sept_id], at))
        at += 0.0 if math.isinf(rate) else source.expovariate(rate)
    return arrivals


def static(size: int) -> Way:
    """Batches of up to so many requests, each batch until its last reply is written."""

    def run(
        engine: TorchEngine,
        config: AnyModelConfig,
        arrivals: Sequence[Arrival],
        options: DecodingConfig,
    ) -> Outcome:
        start, worked = time.perf_counter(), time.process_time()
        tokens, latencies, done = 0, [], 0
        while done < len(arrivals):
            wait_for(arrivals[done], start)
            now = time.perf_counter() - start
            batch = [each for each in arrivals[done : done + size] if each.at <= now]
            found = generate(engine, config, [each.prompt for each in batch], options)
            now = time.perf_counter() - start
            latencies += [now - each.at for each in batch]
            tokens += sum(len(replies[0].ids) for replies in found)
            done += len(batch)
        return Outcome(time.perf_counter() - start, time.process_time() - worked, tokens, latencies)

    return run


def continuous(
    engine: TorchEngine,
    config: AnyModelConfig,
    arrivals: Sequence[Arrival],
    options: DecodingConfig,
) -> Outcome:
    """One batch that requests join as they come and leave as they end."""
    limits = Limits(max_rows=16 * count_rows(options), max_cached_tokens=100_000)
    scheduler = Scheduler(engine, config, limits)
    start, worked = time.perf_counter(), time.process_time()
    tokens, latencies, coming = 0, [], list(reversed(arrivals))

    def note(at: float, future: Future[list[Candidate]]) -> None:
        nonlocal tokens
        latencies.append(time.perf_counter() - start - at)
        tokens += len(future.result()[0].ids)

    while coming or not scheduler.is_idle:
        if scheduler.is_idle:
            wait_for(coming[-1], start)
        while coming and coming[-1].at <= time.perf_counter() - start:
            arrival = coming.pop()
            request = scheduler.submit(arrival.prompt, options)
            request.future.add_done_callback(lambda future, at=arrival.at: note(at, future))
        scheduler.step()
    return Outcome(time.perf_counter() - start, time.process_time() - worked, tokens, latencies)


def wait_for(arrival: Arrival, start: float) -> None:
    left = arrival.at - (time.perf_counter() - start)
    if left > 0:
        time.sleep(left)


WAYS: dict[str, Way] = {"continuous": continuous, "static8": static(8), "static16": static(16)}


if __name__ == "__main__":
    main()
