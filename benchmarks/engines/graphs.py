"""Our ONNX export under our own search: what onnxruntime and OpenVINO are measured with.

State goes into each step and comes out of it; every row has a copy of its prompt's, as the graphs have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dialogue_generation_models.config.model import AnyModelConfig, GPTConfig

from .workload import Setup

Step = Callable[[dict[str, Any]], list[Any]]
"""Runs a graph: arrays, or what it gave itself, by name → outputs in order."""


def export_graphs(setup: Setup) -> dict[str, Path]:
    """Write the graphs in float32 unless they are there; return their files by name."""
    from dialogue_generation_models.export.graphs import build_graphs
    from dialogue_generation_models.export.onnx import write_graph

    folder = setup.exports / "onnx-fp32"
    names = ["model"] if isinstance(setup.config, GPTConfig) else ["encoder", "decoder"]
    files = {name: folder / f"{name}.onnx" for name in names}
    if not all(file.exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        for graph in build_graphs(setup.build()):
            write_graph(graph, files[graph.name])
    return files


class GraphEngine:
    """The engine's protocol over graphs.

    Args:
        config: of the model.
        steps: by name of the graph.
        pick: takes rows of what a step gave.
    """

    def __init__(
        self,
        config: AnyModelConfig,
        steps: dict[str, Step],
        pick: Callable[[Any, np.ndarray], Any],
    ) -> None:
        self.config = config
        self.steps = steps
        self.pick = pick

    def prefill(
        self, prompts: Sequence[Sequence[int]], max_tokens: int
    ) -> tuple[GraphSession, Tensor]:
        width = max(map(len, prompts))
        ids = np.full((len(prompts), width), self.config.pad_id)
        mask = np.zeros_like(ids)
        is_gpt = isinstance(self.config, GPTConfig)
        for row, prompt in enumerate(prompts):
            columns = slice(width - len(prompt), None) if is_gpt else slice(len(prompt))
            ids[row, columns], mask[row, columns] = prompt, 1
        if is_gpt:
            session = GraphSession(self, self.steps["model"], {}, mask[:, :0])
            return session, session.feed(ids, mask)
        cross = self.steps["encoder"]({"context_ids": ids, "context_mask": mask})
        names = [f"cross.{i // 2}.{('key', 'value')[i % 2]}" for i in range(len(cross))]
        fixed = {"context_mask": mask, **dict(zip(names, cross, strict=True))}
        session = GraphSession(self, self.steps["decoder"], fixed, None)
        bos = np.full((len(prompts), 1), self.config.bos_id)
        return session, session.feed(bos, None)

    def empty_state(self, rows: int) -> dict[str, np.ndarray]:
        config: Any = self.config
        is_gpt = isinstance(config, GPTConfig)
        layers = config.n_layer if is_gpt else config.n_decoder_layer
        heads = config.n_head if is_gpt else config.n_decoder_head
        empty = np.zeros((rows, heads, 0, config.n_embd // heads), np.float32)
        return {f"past.{i}.{part}": empty for i in range(layers) for part in ("key", "value")}


class GraphSession:
    """Replies that are being written."""

    def __init__(
        self,
        engine: GraphEngine,
        run: Step,
        fixed: dict[str, Any],
        mask: np.ndarray | None,
    ) -> None:
        self._engine = engine
        self._run = run
        self._fixed = fixed
        self._mask = mask
        self._state: dict[str, Any] | None = None

    def step(self, ids: Tensor) -> Tensor:
        column = ids.numpy()[:, None]
        return self.feed(column, None if self._mask is None else np.ones_like(column))

    def feed(self, ids: np.ndarray, mask: np.ndarray | None) -> Tensor:
        """Append columns and score what follows the last: → [B, V]."""
        if self._state is None:
            self._state = self._engine.empty_state(len(ids))
        feed = {"input_ids": ids, **self._fixed, **self._state}
        if self._mask is not None and mask is not None:
            self._mask = np.concatenate([self._mask, mask], axis=1)
            feed |= {"attention_mask": self._mask, "logits_at": np.array([ids.shape[1] - 1])}
        logits, *present = self._run(feed)
        self._state = dict(zip(self._state, present, strict=True))
        array = logits if isinstance(logits, np.ndarray) else logits.numpy()
        return torch.from_numpy(array[:, -1])

    def reorder(self, rows: Tensor) -> None:
        places = rows.numpy()
        for store in (self._fixed, self._state or {}):
            for name, value in store.items():
                is_array = isinstance(value, np.ndarray)
                store[name] = value[places] if is_array else self._engine.pick(value, places)
        if self._mask is not None:
            self._mask = self._mask[places]
