"""Time each kernel beside torch's own operators, at the sizes of one layer and the head of GPT base.

    python benchmarks/kernels.py --out benchmarks/results/kernels.json

All ways to do the same are timed in turn, so that whatever else the machine does hits them alike; figures
are medians. Weights are as many copies as exceed the processor's caches, and each call takes the next, as in
decoding, where every layer's weights come from memory.

- GOP/s: two operations for each weight and row. GB/s: the weights as they lie in memory, read once.
- `--peak-gops` and `--peak-gbs` give the machine's limits for 8 bits; the better used one is the share.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dialogue_generation_models.inference.int8 import quantize_rows
from dialogue_generation_models.inference.native import (
    AttentionRows,
    Kernels,
    PackedLinear,
    PackedNorm,
    find_kernels,
    pack,
    why_missing,
)

SIZES = {
    "query, key, value": (2304, 768),
    "output": (768, 768),
    "up": (3072, 768),
    "down": (768, 3072),
    "head": (32_000, 768),
}
COLD_NUMBERS = 64_000_000  # weights of one size, so that 8-bit ones exceed the last cache
HEADS, HEAD_WIDTH, PROMPT_TOKENS, REPLY_TOKENS = 12, 64, 40, 32

Way = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="1,10,20,80,640", help="numbers of rows to time")
    parser.add_argument("--repeats", type=int, default=15, help="rounds to time (default 15)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak-gops", type=float, default=900, help="8-bit products (default 900)")
    parser.add_argument("--peak-gbs", type=float, default=31, help="memory read (default 31)")
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    arguments = parser.parse_args()
    kernels = find_kernels()
    if kernels is None:
        sys.exit(f"there are no kernels to time: {why_missing()}")
    torch.set_num_threads(arguments.threads)
    torch.backends.quantized.engine = "fbgemm"
    rows = [int(count) for count in arguments.rows.split(",")]
    peaks = arguments.peak_gops, arguments.peak_gbs
    with torch.inference_mode():
        cases = [
            case
            for name, size in SIZES.items()
            for case in time_linear(kernels, name, size, rows, arguments.repeats, peaks)
        ]
        for count in rows:
            cases += time_attention(kernels, count, arguments.repeats)
            cases += time_norm(kernels, count, arguments.repeats)
    text = json.dumps(
        {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": f"{platform.system()} {platform.machine()}",
            "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
            "cases": cases,
        },
        indent=1,
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


def time_linear(
    kernels: Kernels,
    name: str,
    size: tuple[int, int],
    rows: list[int],
    repeats: int,
    peaks: tuple[float, float],
) -> list[dict[str, Any]]:
    outputs, inputs = size
    copies = max(2, COLD_NUMBERS // (outputs * inputs))
    weight, bias = torch.randn(size) * 0.02, torch.randn(outputs)
    rounded, scale = quantize_rows(weight)
    packed = cycle([PackedLinear(pack(rounded, scale[:, 0]), bias) for _ in range(copies)])
    full = cycle([weight.clone() for _ in range(max(2, copies // 4))])
    quantized = torch.quantize_per_channel(
        weight, scale[:, 0].double(), torch.zeros(outputs, dtype=torch.long), 0, torch.qint8
    )
    fbgemm = cycle([torch.ops.quantized.linear_prepack(quantized, bias) for _ in range(copies)])
    cases = []
    for count in rows:
        x = torch.randn(count, inputs)
        narrow_x, narrow_bias = x.bfloat16(), bias.bfloat16()
        narrow = cycle(
            [
                torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), count)
                for _ in range(max(2, copies // 2))
            ]
        )

        def ours(x: torch.Tensor = x) -> object:
            return kernels.linear(x, next(packed))

        def torch_fp32(x: torch.Tensor = x) -> object:
            return F.linear(x, next(full), bias)

        def torch_bf16(
            x: torch.Tensor = narrow_x, weights: Any = narrow, bias: torch.Tensor = narrow_bias
        ) -> object:
            weight = next(weights)
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

        def torch_int8(x: torch.Tensor = x) -> object:
            return torch.ops.quantized.linear_dynamic(x, next(fbgemm), False)

        times = clock([ours, torch_fp32, torch_bf16, torch_int8], repeats)
        gops = 2 * count * outputs * inputs / times["ours"] / 1e6
        gbs = outputs * inputs / times["ours"] / 1e6
        cases.append(
            {
                **describe(f"linear, {name}", count, times),
                "gops": round(gops),
                "gbs": round(gbs, 1),
                "share_of_limit": round(max(gops / peaks[0], gbs / peaks[1]), 2),
            }
        )
    return cases


def time_attention(kernels: Kernels, rows: int, repeats: int) -> list[dict[str, Any]]:
    """One prompt for all rows, replies half written; torch looks at a copy of the prompt for each row."""
    query, key, value = torch.randn(rows, 1, 3, HEADS, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
    shared = torch.randn(2, 1, HEADS, PROMPT_TOKENS, HEAD_WIDTH).unbind()
    tail = torch.randn(2, rows, HEADS, REPLY_TOKENS, HEAD_WIDTH).unbind()
    spans, prompts = torch.tensor([[0], [PROMPT_TOKENS]]), torch.zeros(rows, dtype=torch.long)
    place = REPLY_TOKENS // 2
    table, places = AttentionRows.of(shared, spans, prompts, tail), np.full(rows, place)
    both = torch.randn(2, rows, HEADS, PROMPT_TOKENS + place + 1, HEAD_WIDTH).unbind()

    def ours() -> object:
        return kernels.attend(query, table, (key, value), places)

    def torch_sdpa() -> object:
        return F.scaled_dot_product_attention(query, *both)

    return [describe("attention", rows, clock([ours, torch_sdpa], repeats))]


def time_norm(kernels: Kernels, rows: int, repeats: int) -> list[dict[str, Any]]:
    x, added = torch.randn(2, rows, 768)
    weight, bias = torch.randn(2, 768)
    norm = PackedNorm(weight, bias, 1e-5)

    def ours() -> object:
        return kernels.add_norm(x, added, norm)

    def torch_fp32() -> object:
        return F.layer_norm(x + added, (768,), weight, bias, 1e-5)

    return [describe("sum and norm", rows, clock([ours, torch_fp32], repeats))]


def clock(ways: list[Way], repeats: int) -> dict[str, float]:
    """Median milliseconds of each way by its name; the ways take turns."""
    times: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for _ in range(repeats + 2):
        for way in ways:
            way()  # one way leaves the caches to the next as its own calls would
            start = time.perf_counter()
            way()
            times[way.__name__].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each[2:]) for name, each in times.items()}


def describe(kernel: str, rows: int, times: dict[str, float]) -> dict[str, Any]:
    others = min(taken for name, taken in times.items() if name != "ours")
    return {
        "kernel": kernel,
        "rows": rows,
        "ms": {name: round(taken, 4) for name, taken in times.items()},
        "ratio_to_best_other": round(others / times["ours"], 2),
    }


if __name__ == "__main__":
    main()
