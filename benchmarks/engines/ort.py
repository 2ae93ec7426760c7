"""onnxruntime on our export, in 8 bits by its own tool (`quantize_dynamic`), under our search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .graphs import GraphEngine, Step, export_graphs
from .ours import run_with
from .workload import Run, Setup


def prepare(setup: Setup, precision: str) -> Run:
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup.threads
    steps: dict[str, Step] = {}
    for name, file in export_graphs(setup).items():
        rounded = setup.exports / "onnxruntime-int8" / file.name
        if not rounded.exists():
            rounded.parent.mkdir(parents=True, exist_ok=True)
            quantize_dynamic(
                file,
                rounded,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        steps[name] = _step(onnxruntime, rounded, options)
    engine = GraphEngine(
        setup.config,
        steps,
        lambda value, rows: onnxruntime.OrtValue.ortvalue_from_numpy(value.numpy()[rows]),
    )
    return run_with(engine, setup)


def _step(onnxruntime: Any, file: Path, options: Any) -> Step:
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    make = onnxruntime.OrtValue.ortvalue_from_numpy

    def step(feed: dict[str, Any]) -> list[Any]:
        # Its own values go back in as they are, without a copy.
        values = {
            name: make(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
            for name, value in feed.items()
        }
        return list(session.run_with_ort_values(None, values))

    return step
