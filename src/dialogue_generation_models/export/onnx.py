"""Folders of ONNX graphs, which onnxruntime and others run without torch; the one file that imports onnx.

`config.json` is the contract: the model's shape and special ids, and for each graph its file, the names and
shapes of what goes in, and what comes out. `graphs.py` says what the names mean.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..checkpoint.folder import ModelFolder, to_json
from ..errors import MissingExtraError
from ..models.gpt import GPT
from .graphs import Graph, Value, build_graphs

_OPSET = 20
# One protobuf message holds at most 2 GB; larger weights stand in a file of their own.
_LARGEST_BYTES = 1_800_000_000


def write_onnx(folder: ModelFolder, place: Path) -> str:
    """Write the files into an empty folder; return how they are used, Markdown.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        OSError: the disk refuses.
    """
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise MissingExtraError(package, "export") from None
    model, tokenizer = folder.model, folder.tokenizer
    graphs = build_graphs(model)
    for graph in graphs:
        write_graph(graph, place / f"{graph.name}.onnx")
    contract = {
        **model.config.model_dump(mode="json"),
        "never_in_reply_ids": model.config.never_in_reply_ids,
        "graphs": {graph.name: _describe(graph) for graph in graphs},
    }
    (place / "config.json").write_bytes(to_json(contract))
    if tokenizer is None:
        return "There is no tokenizer: the graphs take and give ids only; `config.json` has their names."
    (place / "tokenizer.model").write_bytes(tokenizer.to_bytes())
    return _usage(folder.decoding.max_tokens, is_gpt=isinstance(model, GPT))


def write_graph(graph: Graph, path: Path) -> None:
    """Write one graph as a file; weights of more than 1.8 GB go into a second one beside it."""
    sizes = {name: torch.export.Dim(name) for value in graph.values for name in value.free.values()}
    sizes["total"] = torch.export.Dim.DYNAMIC  # past + new

    def shape(value: Value) -> dict[int, Any]:
        return {dimension: sizes[name] for dimension, name in value.free.items()}

    with _quiet():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(
                [value.example for value in part] if isinstance(part, list) else part.example
                for part in graph.inputs
            ),
            dynamo=True,
            dynamic_shapes=tuple(
                [shape(value) for value in part] if isinstance(part, list) else shape(part)
                for part in graph.inputs
            ),
            input_names=[value.name for value in graph.values],
            output_names=graph.outputs,
            opset_version=_OPSET,
            verbose=False,
        )
        assert program is not None  # with dynamo there is one
        bytes_ = sum(weight.nbytes for weight in graph.module.parameters())
        program.save(path, external_data=bytes_ > _LARGEST_BYTES)


def _describe(graph: Graph) -> dict[str, Any]:
    return {
        "file": f"{graph.name}.onnx",
        "inputs": {
            value.name: [
                value.free.get(place, size) for place, size in enumerate(value.example.shape)
            ]
            for value in graph.values
        },
        "outputs": graph.outputs,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks, on packages it could use and names it gives, from the user."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _usage(max_tokens: int, *, is_gpt: bool) -> str:
    loop = _GPT_LOOP if is_gpt else _ENCODER_DECODER_LOOP
    loop = loop.replace("MOST", str(max_tokens)) + _CHOOSE
    return f"""```python
import json
import unicodedata

import numpy as np
import onnxruntime
import sentencepiece

config = json.load(open("config.json"))
pieces = sentencepiece.SentencePieceProcessor(model_file="tokenizer.model")
message = pieces.encode(unicodedata.normalize("NFC", "안녕"))


def start(graph):
    shapes = config["graphs"][graph]["inputs"]
    sizes = {{"batch": 1, "past": 0}}
    return {{
        name: np.zeros([sizes.get(size, size) for size in shape], np.float32)
        for name, shape in shapes.items()
        if name.startswith("past.")
    }}


{loop}
```

Names and shapes of all inputs stand in `config.json`. Each output `present.…` is the next step's `past.…`, in
the same order; to draw several replies or to follow a beam, take rows of them."""


_CHOOSE = """    scores = logits[0, -1]
    scores[config["never_in_reply_ids"]] = -np.inf
    token = int(scores.argmax())
    if token == config["eos_id"]:
        break
    reply.append(token)
    new = [token]
print(pieces.decode(reply))"""
_GPT_LOOP = """model = onnxruntime.InferenceSession("model.onnx")
prompt = [config["bos_id"], *message, config["sept_id"]]
state, new, reply = start("model"), prompt, []
while len(reply) < MOST:
    feed = {
        "input_ids": np.array([new]),
        "attention_mask": np.ones((1, len(prompt) + len(reply)), np.int64),  # 0 is padding
        "logits_at": np.array([len(new) - 1]),  # the places whose logits are wanted
    }
    logits, *present = model.run(None, feed | state)
    state = dict(zip(state, present))
"""
_ENCODER_DECODER_LOOP = """encoder = onnxruntime.InferenceSession("encoder.onnx")
decoder = onnxruntime.InferenceSession("decoder.onnx")
context = np.array([[*message, config["sept_id"]]])
fixed = {"context_mask": np.ones_like(context)}  # 0 is padding
cross = encoder.run(None, {"context_ids": context} | fixed)
fixed |= dict(zip(config["graphs"]["encoder"]["outputs"], cross))
state, new, reply = start("decoder"), [config["bos_id"]], []
while len(reply) < MOST:
    logits, *present = decoder.run(None, {"input_ids": np.array([new])} | fixed | state)
    state = dict(zip(state, present))
"""
