"""Time how long it takes until a model answers, and how much memory that needs.

    python benchmarks/loading.py --json benchmarks/results/loading.json

Each figure comes from a process of its own; repeats take turns, figures are medians.

    import     `import dialogue_generation_models` with torch and everything that answering needs
    load       GPT base (random weights, kept in bfloat16) made ready in each precision, after the import
    memory     the most that the process ever held (VmHWM), after ten replies of 32 tokens to one context
    chat       `echo 안녕 | dgm chat`, from the command to its end

Files are read once before, so that they come from memory, as for everybody's second start.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PRECISIONS = ("int8", "bfloat16", "float32")
MODEL = "GPT-base-trained-on-dialogue-data-only-KR"

MAKE = """
import sys, torch
from pathlib import Path
from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.registry import get_entry
from dialogue_generation_models.models import build_model
model = build_model(get_entry(sys.argv[1]).config)
save_folder(Path(sys.argv[2]), model, None, DecodingConfig(), card="", dtype=torch.bfloat16)
"""

LOAD = """
import json, sys, time
start, worked = time.perf_counter(), time.process_time()
import dialogue_generation_models as dgm
import dialogue_generation_models.chat, dialogue_generation_models.models.gpt
imported, import_worked = time.perf_counter(), time.process_time()
bot = dgm.load(sys.argv[1], precision=sys.argv[2], device="cpu")
loaded, load_worked = time.perf_counter(), time.process_time()
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.inference.engine import TorchEngine
options = DecodingConfig(strategy="sample", num_return=10, min_tokens=32, max_tokens=32, seed=0)
generate(TorchEngine(bot.model), bot.config, [[bot.config.bos_id, *range(5, 43), bot.config.sept_id]], options)
try:
    lines = open("/proc/self/status").readlines()
    peak = next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
except OSError:
    peak = None  # not Linux
print(json.dumps({
    "import_seconds": imported - start, "import_processor_seconds": import_worked - worked,
    "load_seconds": loaded - imported, "load_processor_seconds": load_worked - import_worked,
    "peak_megabytes": peak,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL, help="a known name; its shape is what counts")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    # As the `dgm` command does: threads that wait must not keep others from working.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in (*PRECISIONS, "chat")}
    with tempfile.TemporaryDirectory() as place:
        folder = str(Path(place) / "model")
        run(MAKE, arguments.model, folder)
        for repeat in range(arguments.repeats + 1):
            turn: dict[str, dict[str, float]] = {
                precision: json.loads(run(LOAD, folder, precision)) for precision in PRECISIONS
            }
            turn["chat"] = time_chat()
            for name, measured in turn.items():
                if repeat > 0:  # the first one warms up
                    figures[name].append(measured)
    result: dict[str, Any] = {
        "model": arguments.model,
        "repeats": arguments.repeats,
        "cores": os.cpu_count(),
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
        "figures": {name: summarize(each) for name, each in figures.items()},
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def time_chat() -> dict[str, float]:
    command = [sys.executable, "-m", "dialogue_generation_models", "chat"]
    start = time.perf_counter()
    subprocess.run(command, input="안녕\n".encode(), check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - start}


def summarize(measured: list[dict[str, float]]) -> dict[str, Any]:
    """Median of each figure, with the lowest and the highest."""
    summary: dict[str, Any] = {}
    for name in measured[0]:
        values = [each[name] for each in measured if each[name] is not None]
        if values:
            summary[name] = round(statistics.median(values), 2)
            summary[f"{name}_range"] = [round(min(values), 2), round(max(values), 2)]
    return summary


if __name__ == "__main__":
    main()
