"""Time how the cost of a reply grows: with candidates, context, dialogues at once, and layers.

    python benchmarks/growth.py --json benchmarks/results/growth.json --plot docs/growth.svg

One thing grows at a time; the rest stays at 10 candidates to one context of 40 tokens, 16 new tokens each, in
GPT base (random weights, 8 bits where the processor is fast at it). A figure is the median of the repeats,
which go through all sizes in turn. The plot shows seconds a call and, dotted, what they would be in proportion
to the largest size: where the lines part, something is paid once for all.

`--model gpt-mini` and smaller `--candidates` and the like give a picture in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.config.registry import get_entry
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.int8 import pack_int8
from dialogue_generation_models.inference.precision import pick_precision
from dialogue_generation_models.models import build_model

MODELS = {
    "gpt-base": "GPT-base-trained-on-dialogue-data-only-KR",
    "gpt-large": "GPT-large-trained-on-dialogue-data-only-KR",
    "gpt-mini": "gpt-mini-ko",
}
CANDIDATES, CONTEXT, NEW_TOKENS = 10, 40, 16
TITLES = {
    "candidates": "candidates to one context",
    "context": "tokens of the context",
    "batch": "contexts at once, one reply each",
    "layers": "layers",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="gpt-base")
    parser.add_argument("--candidates", default="1,2,5,10,20,50,100", help="sizes to time")
    parser.add_argument("--context", default="10,20,40,80,160,235", help="sizes to time")
    parser.add_argument("--batch", default="1,2,4,8,16,32,64", help="sizes to time")
    parser.add_argument("--layers", default="1,3,6,12", help="sizes to time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--plot", type=Path, help="write the picture here (.svg or .png)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = get_entry(MODELS[arguments.model]).config
    assert isinstance(config, GPTConfig)
    sizes = {name: [int(x) for x in getattr(arguments, name).split(",")] for name in TITLES}
    precision = pick_precision("auto", torch.device("cpu"))
    result: dict[str, Any] = {
        "model": arguments.model,
        "precision": precision,
        "new_tokens": NEW_TOKENS,
        "repeats": arguments.repeats,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds": measure(config, precision, sizes, arguments.repeats),
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.plot:
        draw(result, arguments.plot)


def measure(
    config: GPTConfig, precision: str, sizes: dict[str, list[int]], repeats: int
) -> dict[str, list[dict[str, float]]]:
    """Time all sizes of all things; return rows of size, seconds and their range."""
    engines = {
        layers: build_engine(config.model_copy(update={"n_layer": layers}), precision)
        for layers in {*sizes["layers"], config.n_layer}
    }
    full = engines[config.n_layer]
    cases = {
        "candidates": [(full, 1, size, CONTEXT) for size in sizes["candidates"]],
        "context": [(full, 1, CANDIDATES, size) for size in sizes["context"]],
        "batch": [(full, size, 1, CONTEXT) for size in sizes["batch"]],
        "layers": [(engines[size], 1, CANDIDATES, CONTEXT) for size in sizes["layers"]],
    }
    times: dict[str, list[list[float]]] = {name: [[] for _ in own] for name, own in cases.items()}
    for repeat in range(repeats + 1):
        for name, own in cases.items():
            for place, case in enumerate(own):
                seconds = clock(*case)
                if repeat > 0:  # the first one warms up
                    times[name][place].append(seconds)
    rows = {
        name: [
            {
                "size": size,
                "seconds": round(statistics.median(each), 4),
                "lowest": round(min(each), 4),
                "highest": round(max(each), 4),
            }
            for size, each in zip(sizes[name], own, strict=True)
        ]
        for name, own in times.items()
    }
    for name, own_rows in rows.items():
        print(name, *(f"{row['size']}: {row['seconds']:.3f} s" for row in own_rows), sep="  ")
    return rows


def build_engine(config: GPTConfig, precision: str) -> TorchEngine:
    torch.manual_seed(0)
    model = build_model(config).eval()
    return TorchEngine(pack_int8(model) if precision == "int8" else model)


def clock(engine: TorchEngine, contexts: int, candidates: int, tokens: int) -> float:
    """Seconds of one call."""
    config = engine.model.config
    words = torch.randint(5, config.vocab_size, (contexts, tokens)).tolist()
    options = DecodingConfig(
        strategy="sample",
        num_return=candidates,
        min_tokens=NEW_TOKENS,
        max_tokens=NEW_TOKENS,
        no_repeat_ngram=3,
    )
    start = time.perf_counter()
    generate(engine, config, words, options)  # type: ignore[arg-type]
    return time.perf_counter() - start


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw one panel for each thing that grows."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "svg.hashsalt": "dgm", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 5.6), layout="constrained")
        panels: Sequence[Any] = figure.subplots(2, 2).flat
        for axes, (name, title) in zip(panels, TITLES.items(), strict=True):
            rows = result["seconds"][name]
            sizes, seconds = [row["size"] for row in rows], [row["seconds"] for row in rows]
            spread = [[row["seconds"] - row["lowest"] for row in rows]]
            spread.append([row["highest"] - row["seconds"] for row in rows])
            axes.errorbar(sizes, seconds, yerr=spread, color="#1f5fa8", marker="o", ms=4, capsize=2)
            straight = [seconds[-1] * size / sizes[-1] for size in sizes]
            axes.plot(sizes, straight, color="#888888", ls=":", lw=1.2)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
            axes.set_xlabel(title)
            axes.set_ylabel("seconds")
            axes.grid(visible=True, color="#dddddd", lw=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(
            f"{result['model']}, {result['precision']}, threads: {result['threads']}, "
            f"{result['new_tokens']} new tokens a reply; dotted: in proportion to the last"
        )
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


if __name__ == "__main__":
    main()
