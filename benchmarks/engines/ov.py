"""OpenVINO on our export, weights in 8 bits by its own tool (nncf) and bf16 between them, under our search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .graphs import GraphEngine, Step, export_graphs
from .ours import run_with
from .workload import Run, Setup


def prepare(setup: Setup, precision: str) -> Run:
    import nncf
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": setup.threads,
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
    }
    steps: dict[str, Step] = {}
    for name, file in export_graphs(setup).items():
        rounded = setup.exports / "openvino-int8" / f"{file.stem}.xml"
        if not rounded.exists():
            rounded.parent.mkdir(parents=True, exist_ok=True)
            model = nncf.compress_weights(core.read_model(file))
            openvino.save_model(model, rounded, compress_to_fp16=False)
        steps[name] = _step(core, rounded, settings)
    engine = GraphEngine(setup.config, steps, lambda value, rows: value[rows])
    return run_with(engine, setup)


def _step(core: Any, file: Path, settings: dict[str, Any]) -> Step:
    request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()

    def step(feed: dict[str, Any]) -> list[Any]:
        return list(request.infer(feed, share_inputs=True).values())

    return step
