"""What a recipe may ask of the loop: parts, recomputation, schedules, optimizers, an early end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.data.dataset import IGNORED, Batch
from dialogue_generation_models.errors import ConfigError, DataError, TrainingError
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.blocks import blocks_of, recompute_activations
from dialogue_generation_models.training.checkpointing import Checkpoints, Progress
from dialogue_generation_models.training.corpus import Corpus
from dialogue_generation_models.training.loop import Stage, summed_loss, train, train_step
from dialogue_generation_models.training.optimizer import build_optimizers, learning_rate
from dialogue_generation_models.training.processes import OneProcess
from dialogue_generation_models.training.run import run
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

pytestmark = pytest.mark.usefixtures("empty_pictures")


def first_gradients(recipe: Any) -> dict[str, torch.Tensor]:
    """The gradients of a first step, shortened as the recipe says."""
    torch.manual_seed(0)
    model = build_model(recipe.model)
    stage = Stage(recipe.stages[0], make_batches(recipe))
    train_step(model, build_optimizers(model, recipe), stage, recipe, Progress())
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_batch_learnt_in_parts_is_the_same_step(model: dict[str, Any], parts: int) -> None:
    """Also in more parts than it has rows, and with parts of unequal sizes."""
    recipe = make_recipe({**model, "dropout": 0.0})
    whole = first_gradients(recipe)
    for name, gradient in first_gradients(recipe.replace(accumulate=parts)).items():
        torch.testing.assert_close(gradient, whole[name], msg=name)


def test_parts_of_a_batch_hold_each_row_once() -> None:
    labels = np.arange(10).reshape(5, 2)
    batch = Batch({"input_ids": labels + 100}, labels)
    parts = [batch.part(index, 7) for index in range(7)]
    assert [len(part.labels) for part in parts] == [1] * 7
    assert sorted(label for part in parts for label in part.labels.ravel() if label >= 0) == [
        *range(10)
    ]
    assert (parts[6].labels == IGNORED).all()
    assert sum(part.tokens for part in parts) == batch.tokens == 10


@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
def test_recomputed_activations_give_the_same_gradients_with_dropout(
    model: dict[str, Any],
) -> None:
    recipe = make_recipe(model)
    network = build_model(recipe.model)
    batch = make_batches(recipe).batch(0)
    gradients = []
    for prepare in (lambda _: None, recompute_activations):
        prepare(network)
        names = [name for name, _ in network.named_parameters()]
        network.zero_grad()
        torch.manual_seed(1)
        summed_loss(network.train(), batch, recipe)[0].backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert names == [name for name, _ in build_model(recipe.model).named_parameters()]


def test_recomputation_keeps_only_what_goes_into_a_block() -> None:
    recipe = make_recipe({**GPT, "n_layer": 4})
    batch = make_batches(recipe).batch(0)
    kept = []
    for prepare in (lambda _: None, recompute_activations):
        network = build_model(recipe.model)
        prepare(network)
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            summed_loss(network.train(), batch, recipe)
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


def test_blocks_are_those_of_both_sides() -> None:
    recipe = make_recipe(MEENA)
    names = [type(block).__name__ for block in blocks_of(build_model(recipe.model))]
    assert names == ["EncoderLayer", "DecoderLayer"]


def test_the_meena_papers_schedule() -> None:
    """0.01 for 10,000 steps, then the inverse square root of the step (FACTS of the paper)."""
    fields = {"learning_rate": 0.01, "warmup_steps": 0, "hold_steps": 10_000}
    stage = make_recipe().stages[0].replace(schedule="inverse_sqrt", **fields)
    assert {learning_rate(stage, step) for step in (0, 17, 9_999)} == {0.01}
    for step in (10_000, 40_000, 250_000):
        assert learning_rate(stage, step) == pytest.approx(1 / math.sqrt(step + 1))


def test_the_inverse_square_root_begins_where_the_warm_up_ends() -> None:
    stage = make_recipe().stages[0].replace(schedule="inverse_sqrt", warmup_steps=100)
    rates = [learning_rate(stage, step) for step in range(400)]
    assert rates[49] == pytest.approx(stage.learning_rate / 2)
    assert max(rates) == rates[99] == stage.learning_rate
    assert rates[399] == pytest.approx(stage.learning_rate / 2)


def test_a_held_rate_falls_after() -> None:
    stage = make_recipe(steps=(100,)).stages[0].replace(warmup_steps=10, hold_steps=30)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[9:41] == [stage.learning_rate] * 32
    assert rates[41:] == sorted(rates[41:], reverse=True)
    assert rates[99] == pytest.approx(stage.final_rate * stage.learning_rate, rel=0.1)


def test_adafactor_learns_and_keeps_a_fraction_of_adamws_state(tmp_path: Path) -> None:
    sizes, losses = {}, {}
    for optimizer in ("adamw", "adafactor"):
        (tmp_path / optimizer).mkdir()
        recipe = make_recipe({**GPT, "n_embd": 64, "n_inner": 256}, (60,), optimizer=optimizer)
        view = Recorder()
        run_loop(recipe, tmp_path / optimizer, view)
        newest = Checkpoints(tmp_path / optimizer).newest()
        assert newest is not None
        sizes[optimizer], losses[optimizer] = newest.stat().st_size, view.losses
    assert sizes["adafactor"] < 0.5 * sizes["adamw"]
    assert losses["adafactor"][-1] < losses["adafactor"][0] - 0.5


def test_adafactor_goes_on_bit_for_bit(tmp_path: Path) -> None:
    recipe = make_recipe(GPT, (30,), optimizer="adafactor")
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    expected = run_loop(recipe, tmp_path / "straight", Recorder())
    with pytest.raises(KeyboardInterrupt):
        run_loop(recipe, tmp_path / "stopped", Recorder(stop_after=17))
    result = run_loop(recipe, tmp_path / "stopped", Recorder())
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, result.state_dict()[name]), name


def test_all_turns_are_learnt_when_the_recipe_says_so(tmp_path: Path) -> None:
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    learnt = []
    for choice in ("replies", "turns"):
        stage = recipe.stages[0].replace(learnt=choice)
        corpus = Corpus(recipe)
        tokenizer = corpus.train_tokenizer()
        held_out = corpus.held_out()
        batches = corpus.stage(stage, tokenizer, held_out).batches
        made = [batches.batch(number) for number in range(batches.batches_per_epoch)]
        learnt.append(sum(batch.tokens for batch in made))
        is_first = [batch.labels[:, 0] != IGNORED for batch in made]  # the token after `bos`
        assert np.concatenate(is_first).any() == (choice == "turns")
        assert sum(b.tokens for b in corpus.validation(tokenizer)) == sum(
            b.tokens for b in Corpus(recipe).validation(tokenizer)
        )
    assert learnt[1] > 1.2 * learnt[0]


@pytest.mark.parametrize(
    ("model", "speaker", "match"),
    [(MEENA, None, "learns replies alone"), (GPT, "A", "exclude each other")],
)
def test_all_turns_are_for_gpt_and_both_speakers(
    model: dict[str, Any], speaker: str | None, match: str
) -> None:
    stage = make_recipe(model).stages[0].replace(learnt="turns").model_dump()
    source = {"path": "talk.jsonl", "license": "MIT", "reply_speaker": speaker}
    with pytest.raises(ConfigError, match=match):
        make_recipe(model, stages=[{**stage, "sources": [source]}])


def test_patience_ends_the_last_stage_and_the_end_stays(tmp_path: Path) -> None:
    recipe = make_recipe(GPT, (10, 90), patience=2, keep_checkpoints=1)
    stages = [stage.replace(learning_rate=1e-30) for stage in recipe.stages]  # nothing gets better
    recipe = recipe.replace(stages=[stage.model_dump() for stage in stages])
    view, again = Recorder(), Recorder()
    run_loop(recipe, tmp_path, view)
    assert [step for step, *_ in view.validations] == [10, 20, 30, 40]
    assert [is_best for *_, is_best in view.validations] == [False, True, False, False]
    run_loop(recipe, tmp_path, again)
    assert not again.losses
    run_loop(recipe.replace(patience=None), tmp_path, again)
    assert len(again.losses) == 60


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), ValueError("mmap")])
def test_data_that_vanishes_in_mid_run_is_a_sentence_and_the_checkpoint_stays(
    tmp_path: Path, error: Exception
) -> None:
    recipe = make_recipe(GPT, (30,))
    made = make_batches(recipe)

    class Vanishing:
        batches_per_epoch = made.batches_per_epoch

        def batch(self, number: int) -> Batch:
            if number == 14:
                raise error
            return made.batch(number)

    view, checkpoints = Recorder(), Checkpoints(tmp_path)
    with pytest.raises(TrainingError, match="stage 'part-0' cannot be read at step 15"):
        train(
            build_model(recipe.model),
            [Stage(recipe.stages[0], Vanishing())],
            [made.batch(0)],
            recipe,
            checkpoints=checkpoints,
            view=view,
        )
    assert len(view.losses) == 14
    assert checkpoints.progress().total_steps == 10


def test_each_block_is_compiled_and_no_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling itself takes minutes on a busy machine; here it does nothing."""
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda block: compiled.append(block))
    recipe = make_recipe({**GPT, "n_layer": 3}, (4,), compile=True, activation_checkpointing=True)
    model = run_loop(recipe, tmp_path, Recorder())
    assert compiled == blocks_of(model)
    assert list(model.state_dict()) == list(build_model(recipe.model).state_dict())


def test_what_changed_is_named_by_its_place_and_what_may_change_goes_on(tmp_path: Path) -> None:
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    folder, quiet = tmp_path / "run", Console(quiet=True)
    run(recipe, folder, processes=OneProcess(), console=quiet)
    stage = recipe.stages[0].replace(learning_rate=1e-4)
    other = recipe.replace(stages=[stage.model_dump()], accumulate=3)
    with pytest.raises(TrainingError, match=r"changed: stages\.0\.learning_rate\)"):
        run(other, folder, processes=OneProcess(), console=quiet)
    free = recipe.replace(accumulate=3, keep_checkpoints=1, patience=9)
    assert run(free, folder, processes=OneProcess(), console=quiet).total_steps == 12


def test_a_run_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """Its recipe lacks the fields that are newer, which have their defaults."""
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    folder, quiet = tmp_path / "run", Console(quiet=True)
    run(recipe, folder, processes=OneProcess(), console=quiet)
    record = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    del record["accumulate"], record["stages"][0]["schedule"]
    (folder / "recipe.json").write_text(json.dumps(record), encoding="utf-8")
    assert run(recipe, folder, processes=OneProcess(), console=quiet).total_steps == 12


def save_base(folder: Path, seed: int) -> str:
    """Write a model to start from, of the shape of `run_recipe`."""
    torch.manual_seed(seed)
    model = build_model(run_recipe(Path(), GPT).model)
    save_folder(folder, model, None, DecodingConfig(), card="")
    return str(folder)


def test_the_model_that_a_run_starts_from_is_known_by_its_weights(tmp_path: Path) -> None:
    """Two folders may have the same last name, and one model may be moved."""
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    recipe = recipe.replace(start_from=save_base(tmp_path / "a" / "base", 0))
    folder, quiet = tmp_path / "run", Console(quiet=True)
    run(recipe, folder, processes=OneProcess(), console=quiet)
    other = recipe.replace(start_from=save_base(tmp_path / "b" / "base", 1))
    with pytest.raises(TrainingError, match=r"changed: start_from_sha256\)"):
        run(other, folder, processes=OneProcess(), console=quiet)
    moved = recipe.replace(start_from=save_base(tmp_path / "moved", 0))
    assert run(moved, folder, processes=OneProcess(), console=quiet).total_steps == 12


def test_a_run_whose_record_has_no_hash_of_its_base_knows_it_by_name(tmp_path: Path) -> None:
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    recipe = recipe.replace(start_from=save_base(tmp_path / "base", 0))
    folder, quiet = tmp_path / "run", Console(quiet=True)
    run(recipe, folder, processes=OneProcess(), console=quiet)
    record = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    del record["start_from_sha256"]
    (folder / "recipe.json").write_text(json.dumps(record), encoding="utf-8")
    assert run(recipe, folder, processes=OneProcess(), console=quiet).total_steps == 12
    other = recipe.replace(start_from=save_base(tmp_path / "other", 0))
    with pytest.raises(TrainingError, match=r"changed: start_from\)"):
        run(other, folder, processes=OneProcess(), console=quiet)


def test_a_recipe_may_say_which_weights_it_starts_from(tmp_path: Path) -> None:
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    base = save_base(tmp_path / "base", 0)
    pinned = recipe.replace(start_from=base, start_from_sha256="0" * 64)
    with pytest.raises(TrainingError, match="has other weights"):
        run(pinned, tmp_path / "run", processes=OneProcess(), console=Console(quiet=True))
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_data_that_is_gone_when_a_run_goes_on_is_named_and_the_checkpoint_stays(
    tmp_path: Path,
) -> None:
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    folder, quiet = tmp_path / "run", Console(quiet=True)
    run(recipe, folder, processes=OneProcess(), console=quiet)
    (tmp_path / "data" / "talk.jsonl").unlink()
    with pytest.raises(DataError, match=r"source talk\.jsonl is not in"):
        run(recipe, folder, processes=OneProcess(), console=quiet)
    assert Checkpoints(folder).progress().total_steps == 12
