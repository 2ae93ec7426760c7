"""What a person sees of a training: the log, the curves, TensorBoard, and what it will take beforehand."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from dialogue_generation_models.errors import (
    DataError,
    MissingExtraError,
    OptionError,
    TrainingError,
)
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.blocks import recompute_activations
from dialogue_generation_models.training.checkpointing import Checkpoints
from dialogue_generation_models.training.estimate import (
    activation_bytes,
    estimate,
    optimizer_bytes,
)
from dialogue_generation_models.training.processes import OneProcess
from dialogue_generation_models.training.report import write_report
from dialogue_generation_models.training.run import run
from dialogue_generation_models.training.view import cut_log, describe_time, read_log, used_memory
from training_material import (
    GPT,
    MEENA,
    Recorder,
    make_batches,
    make_recipe,
    run_loop,
    run_recipe,
    write_talk,
)

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    return run_recipe(write_talk(tmp_path / "data"), GPT).replace(validation_every=4)


def train_quietly(recipe: Any, folder: Path) -> str:
    with (folder.parent / "out").open("w+") as out:
        run(recipe, folder, processes=OneProcess(), console=Console(file=out, width=200))
        out.seek(0)
        return out.read()


def test_a_run_ends_with_curves_and_no_text_of_the_data(recipe: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    train_quietly(recipe, tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for part in ("Training of tiny", "best validation perplexity", "<svg", "Learning rate"):
        assert part in page
    assert page.count("<svg") == 5
    assert not any(word in page for word in ("안녕", "김밥", "talk.jsonl"))
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")


def test_without_the_extra_a_run_ends_with_a_sentence_in_the_place_of_curves(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    out = train_quietly(recipe, tmp_path / "run")
    assert "No report.html: This needs the package 'jinja2'" in out
    assert "[train]" in out
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_report_needs_a_step(recipe: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match="has no step to report"):
        write_report(tmp_path / "report.html", recipe, tmp_path / "log.jsonl")


def test_what_is_trained_again_is_taken_out_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    records = [{"hardware": "x"}, {"step": 10, "loss": 1.0}, {"step": 20, "validation_loss": 2.0}]
    log.write_text(
        "\n".join(json.dumps(r) for r in [*records, {"step": 21}]) + '\n{"step": 30, "lo'
    )
    cut_log(log, 20)
    assert list(read_log(log)) == records
    assert log.read_text().endswith("}\n")
    cut_log(tmp_path / "none.jsonl", 0)
    assert not (tmp_path / "none.jsonl").exists()


def test_a_log_that_cannot_be_written_is_a_sentence(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        log = tmp_path / "run" / "log.jsonl"
        if path == log and mode == "a" and Checkpoints(log.parent).newest() is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        TrainingError, match=r"No space left on device; the last checkpoint is intact"
    ):
        train_quietly(recipe, tmp_path / "run")
    monkeypatch.setattr(Path, "open", real)
    assert Checkpoints(tmp_path / "run").progress().total_steps == 4
    train_quietly(recipe, tmp_path / "run")
    steps = [r["step"] for r in read_log(tmp_path / "run" / "log.jsonl") if "step" in r]
    assert steps == [4, 8, 10, 12, 12]


def test_tensorboard_has_the_numbers_of_the_log(recipe: Any, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_quietly(recipe.replace(tensorboard=True), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    seen = [(event.step, event.value) for event in events.Scalars("validation_loss")]
    log = [r for r in read_log(tmp_path / "run" / "log.jsonl") if "validation_loss" in r]
    assert [step for step, _ in seen] == [r["step"] for r in log] == [4, 8, 12]
    assert [value for _, value in seen] == pytest.approx([r["validation_loss"] for r in log])


def test_tensorboard_without_accelerate_names_the_extra(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"accelerate.*\[train\]"):
        train_quietly(recipe.replace(tensorboard=True), tmp_path / "run")


def test_the_log_says_how_much_memory_is_used(recipe: Any, tmp_path: Path) -> None:
    train_quietly(recipe, tmp_path / "run")
    used = [r["memory"] for r in read_log(tmp_path / "run" / "log.jsonl") if "memory" in r]
    assert used
    expected = used_memory()
    if expected is not None:
        assert expected / 3 < used[-1] < expected * 3


def test_shards_and_adafactor_exclude_each_other(recipe: Any, tmp_path: Path) -> None:
    processes = OneProcess()
    processes.is_sharded = True
    with pytest.raises(OptionError, match="choose adamw or muon"):
        run(
            recipe.replace(optimizer="adafactor"),
            tmp_path / "run",
            processes=processes,
            console=Console(quiet=True),
        )


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59 seconds"), (130, "2.2 minutes"), (9000, "2.5 hours")]
)
def test_durations_are_said_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert describe_time(seconds) == text


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "adafactor"])
@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
def test_the_optimizers_state_is_estimated_as_it_is_kept(
    recipe: Any, tmp_path: Path, model: dict[str, Any], optimizer: str
) -> None:
    small = make_recipe(model, (1,), optimizer=optimizer)
    run_loop(small, tmp_path, Recorder())
    newest = Checkpoints(tmp_path).newest()
    assert newest is not None
    kept = [t for name, t in load_file(newest).items() if name.startswith("optimizer/")]
    size = sum(tensor.nbytes for tensor in kept if tensor.numel() > 1)
    assert optimizer_bytes(build_model(small.model), small) == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("is_recomputed", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
def test_activations_are_estimated_as_a_real_pass_keeps_them(
    model: dict[str, Any], is_recomputed: bool
) -> None:
    recipe = make_recipe({**model, "n_embd": 32}, activation_checkpointing=is_recomputed)
    batch = make_batches(recipe).batch(0)
    network = build_model(recipe.model).train()
    if is_recomputed:
        recompute_activations(network)
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = network(**{name: torch.from_numpy(ids) for name, ids in batch.inputs.items()})
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    real = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)
    of_loss = batch.tokens * logits.shape[-1] * 12
    assert activation_bytes(recipe, batch, CPU) == pytest.approx(real + of_loss, rel=0.1)


def test_an_estimate_counts_parameters_epochs_and_measures(recipe: Any) -> None:
    found = estimate(recipe, CPU)
    model = build_model(recipe.model)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.memory.weights == found.memory.gradients == 4 * found.parameters
    (stage,) = found.stages
    assert stage.positions == 4 * 64
    assert 0 < stage.learnt < stage.positions
    assert stage.epochs is not None
    assert 0 < stage.epochs < 12
    assert found.seconds > 0
    assert "measured on this device" in found.basis
    assert found.missing_data is None


def test_an_estimate_without_data_or_a_fitting_machine_says_so(recipe: Any, tmp_path: Path) -> None:
    shape = {**GPT, "vocab_size": 32_000, "n_ctx": 1024, "n_embd": 1280, "n_layer": 36}
    large = recipe.replace(
        data_root=str(tmp_path / "none"), model={**shape, "n_head": 20, "n_inner": 5120}
    )
    found = estimate(large, CPU)
    assert found.parameters > 700e6
    assert found.missing_data is not None
    assert "talk.jsonl is not in" in found.missing_data
    assert found.stages[0].epochs is None
    assert "not measured" in found.basis
    work = 6 * found.parameters * 12 * 4 * 1024
    assert found.seconds == pytest.approx(work / 400e12)
    less = estimate(large.replace(activation_checkpointing=True), CPU)
    assert less.memory.activations < 0.3 * found.memory.activations
