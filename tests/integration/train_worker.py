"""Trains tiny models alone or as one of several processes, for `test_distributed.py`.

Arguments: a folder, and jobs MODEL:OPTIMIZER:STEP; a run is asked to stop after the step, and goes on then.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from dialogue_generation_models.training.processes import Processes, start_processes
from training_material import GPT, MEENA, Recorder, make_recipe, run_loop


def work(job: str, folder: Path, processes: Processes) -> None:
    kind, optimizer, stop = job.split(":")
    model = {**(GPT if kind == "gpt" else MEENA), "dropout": 0.0}
    recipe = make_recipe(model, (8, 7), optimizer=optimizer)
    place = folder / f"{kind}-{optimizer}"
    place.mkdir(parents=True, exist_ok=True)
    views = [Recorder(), Recorder()]
    try:
        # One process alone is asked to stop.
        run_loop(
            recipe,
            place,
            views[0],
            lambda: processes.is_main and len(views[0].losses) == int(stop),
            processes,
        )
    except KeyboardInterrupt:
        run_loop(recipe, place, views[1], processes=processes)
    record = {
        "processes": processes.count,
        "is_sharded": processes.is_sharded,
        "losses": [view.losses for view in views],
        "validations": [loss for view in views for _, loss, _ in view.validations],
    }
    (place / f"seen-{processes.index}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with start_processes(torch.device("cpu")) as processes:
        for job in sys.argv[2:]:
            work(job, Path(sys.argv[1]), processes)
