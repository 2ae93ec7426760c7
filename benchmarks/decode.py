"""Time what users run: contexts in, candidate replies out, beside the other engines a person would pick.

    python benchmarks/decode.py --model gpt-base --jobs n10,n20 --engines ours-int8,transformers-fp32 \\
        --repeats 3 --json out.json

A job is contexts of 40 tokens and replies of 32 new tokens, the end token disabled:

    n1, n10, n20     one context, so many replies: top-p 0.8, repetition penalty 1.3, no repeated 3-gram
    beam10           one context, a beam of 10 with the same penalties
    c8, c64          so many different contexts at once, one reply each, sampled as above

`--endings natural` lets replies end, after 16 tokens on average (of two contexts) and after 32 at the latest;
replies to one context often end together.

Each engine has a process of its own (in one process their threads slow each other down, ours by half), and they
take turns within each repeat, so that whatever else the machine does hits all alike. A ratio is that of one
repeat's speeds, engine to transformers-fp32; figures are medians, the range lowest to highest.
Weights are random, with embeddings so loud that the next token has about 5 nats of entropy, as in a trained
model; all engines have the same, but for transformers, which runs its own classes of the same size: GPT-2
(pre-norm) and BART. ONNX runtimes run under this package's search, CTranslate2 and transformers under theirs.

Without options all that is installed runs. `--exports DIR` keeps what the engines are made of between runs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from engines import ENGINES, EngineProcess
from engines.workload import CONTEXT_TOKENS, Setup, Skipped, Work

from dialogue_generation_models.config.model import AnyModelConfig, EncoderDecoderConfig
from dialogue_generation_models.config.registry import get_entry

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
COLOURS = {
    "ours-int8": "#1f5fa8",
    "ours-bf16": "#6d9fd4",
    "openvino-int8": "#8f6bb3",
    "onnxruntime-int8": "#c48a3a",
    "ctranslate2-int8": "#5c9c6c",
    "transformers-bf16": "#b9b9b9",
    "transformers-fp32": "#8a8a8a",
}
"""Of the engines that are drawn, in this order."""
REST = 0.5
"""Seconds before each turn: the threads of some engines go on spinning for a while."""
PACKAGES = ("torch", "transformers", "ctranslate2", "onnxruntime", "openvino", "nncf")


def main() -> None:
    arguments = _parse()
    if arguments.draw:
        rows = [row for path in arguments.draw for row in json.loads(path.read_text())]
        draw(rows, arguments.plot)
        return
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        exports = (arguments.exports or Path(temporary)) / f"{arguments.model}-{arguments.endings}"
        setup = Setup(
            get_entry(MODELS[arguments.model]).config,
            exports,
            arguments.threads,
            ends=arguments.endings == "natural",
        )
        engines = prepare_all(arguments.engines, setup)
        rows: list[dict[str, Any]] = []
        for job in arguments.jobs:
            for row in measure(job, engines, setup, arguments.repeats):
                rows.append(row | {"model": arguments.model, "endings": arguments.endings})
                # After each row, so that a long run that is cut off leaves what it has.
                if arguments.json:
                    arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.plot:
        draw(rows, arguments.plot)
    if arguments.machine:
        arguments.machine.write_text(json.dumps(describe_machine(), indent=1) + "\n")


def prepare_all(engines: Iterable[str], setup: Setup) -> dict[str, EngineProcess]:
    """Make all engines ready that can run here; say which cannot."""
    ready = {}
    for engine in engines:
        start = time.perf_counter()
        try:
            ready[engine] = EngineProcess(engine, setup)
        except Skipped as reason:
            print(f"{engine}: skipped, {reason}", flush=True)
        else:
            print(f"{engine}: ready in {time.perf_counter() - start:.0f} s", flush=True)
    return ready


def measure(
    job: str, engines: dict[str, EngineProcess], setup: Setup, repeats: int
) -> list[dict[str, Any]]:
    """Run a job on all engines in turn; return one row an engine."""
    speeds = _time(job, engines, setup, repeats)
    rows = []
    for engine, of_engine in speeds.items():
        pairs = zip(of_engine, speeds.get(BASELINE, []), strict=False)
        ratios = [own / base for own, base in pairs]
        row: dict[str, Any] = {
            "job": job,
            "engine": engine,
            "tokens_per_second": round(statistics.median(of_engine), 1),
            "range": [round(min(of_engine), 1), round(max(of_engine), 1)],
            "ratio": round(statistics.median(ratios), 2) if ratios else None,
            "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)] if ratios else None,
        }
        rows.append(row)
        print(
            f"{job:>7}  {engine:<20} {row['tokens_per_second']:>9,.1f} tokens/s"
            f"  {row['ratio'] or '-':>6}  {row['ratio_range'] or ''}",
            flush=True,
        )
    return rows


def _time(
    job: str, engines: dict[str, EngineProcess], setup: Setup, repeats: int
) -> dict[str, list[float]]:
    count, replies = JOBS[job]
    generator = torch.Generator().manual_seed(1)
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    for repeat in range(repeats + 1):
        contexts = [_context(setup.config, generator) for _ in range(count)]
        work = Work(contexts, replies, job.startswith("beam"), setup.ends)
        for name, engine in engines.items():
            time.sleep(REST)
            speed = engine.time(work)
            if repeat > 0:  # the first one warms up
                speeds[name].append(speed)
    return speeds


def _context(config: AnyModelConfig, generator: torch.Generator) -> list[int]:
    words = torch.randint(5, config.vocab_size, (CONTEXT_TOKENS - 2,), generator=generator)
    first = [] if isinstance(config, EncoderDecoderConfig) else [config.bos_id]
    return [*first, *words.tolist(), config.sept_id]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="gpt-base")
    parser.add_argument("--jobs", default=",".join(JOBS), help="names, separated by commas")
    parser.add_argument("--engines", default=",".join(ENGINES), help="names, separated by commas")
    parser.add_argument("--endings", choices=("disabled", "natural"), default="disabled")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--exports", type=Path, metavar="DIR", help="keep exported models here")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--plot", type=Path, help="draw the speeds here (.svg or .png)")
    parser.add_argument(
        "--draw",
        type=Path,
        nargs="+",
        help="measure nothing, draw results that were written before",
    )
    parser.add_argument("--machine", type=Path, help="write what it ran on here, as JSON")
    arguments = parser.parse_args()
    if arguments.draw and not arguments.plot:
        parser.error("--draw needs --plot")
    arguments.jobs = _chosen(parser, arguments.jobs, JOBS)
    arguments.engines = _chosen(parser, arguments.engines, ENGINES)
    return arguments


def _chosen(parser: argparse.ArgumentParser, names: str, known: dict[str, Any]) -> list[str]:
    chosen = [name for name in names.split(",") if name]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        parser.error(f"unknown: {', '.join(unknown) or 'nothing'}; choose from {', '.join(known)}")
    return chosen


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each model: tokens a second of each engine, job by job."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row["model"] for row in rows))
    names = [engine for engine in COLOURS if any(row["engine"] == engine for row in rows)]
    with rc_context({"font.size": 9, "svg.hashsalt": "dgm", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8.6, 2.6 * len(models) + 0.4), layout="constrained")
        panels = figure.subplots(len(models), 1, squeeze=False)[:, 0]
        for axes, model in zip(panels, models, strict=True):
            speeds = {
                (row["job"], row["engine"]): row["tokens_per_second"]
                for row in rows
                if row["model"] == model
            }
            jobs = [job for job in JOBS if any(job == measured for measured, _ in speeds)]
            width = 0.84 / len(names)
            for place, engine in enumerate(names):
                known = [(at, job) for at, job in enumerate(jobs) if (job, engine) in speeds]
                bars = axes.bar(
                    [at + (place - (len(names) - 1) / 2) * width for at, _ in known],
                    [speeds[job, engine] for _, job in known],
                    width,
                    label=engine,
                    color=COLOURS[engine],
                )
                axes.bar_label(bars, fmt="{:,.0f}", fontsize=6.5, padding=1)
            axes.set_xticks(range(len(jobs)), jobs)
            axes.set_title(model, loc="left", fontsize=10)
            axes.set_ylabel("tokens/s")
            axes.margins(y=0.12)
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=5, frameon=False, loc="outside upper center")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def describe_machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


if __name__ == "__main__":
    main()
