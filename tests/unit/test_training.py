"""The loop learns, stops when it must, and goes on as if it had never stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dialogue_generation_models.checkpoint.folder import load_folder
from dialogue_generation_models.data.dataset import (
    IGNORED,
    Batch,
    PackedRows,
    Sample,
)
from dialogue_generation_models.errors import ConfigError, DataError, TrainingError
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.checkpointing import (
    Checkpoints,
    Progress,
    load_checkpoint,
    save_checkpoint,
)
from dialogue_generation_models.training.export import export
from dialogue_generation_models.training.interruption import only_trainer, stop_after_step
from dialogue_generation_models.training.loop import Stage, StepReport, summed_loss, train
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


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_talk(tmp_path / "data")


@pytest.mark.parametrize(("model", "most"), [(GPT, 0.4), (MEENA, 1.2)], ids=["gpt", "meena"])
def test_the_loop_learns(tmp_path: Path, model: dict[str, Any], most: float) -> None:
    """Who does not look at what was said pays ln 20 / 4 = 0.75 a token; an encoder-decoder needs
    more examples than these before it looks, but learns the replies."""
    view = Recorder()
    recipe = make_recipe({**model, "dropout": 0.0}, (500,), validation_every=100)
    run_loop(recipe, tmp_path, view)
    assert view.losses[0] > 3.0
    assert np.mean(view.losses[-20:]) < most
    assert view.validations[-1][1] < view.validations[0][1]


@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stop_after", [7, 15, 23, 31])
def test_a_resumed_run_equals_a_straight_one_bit_for_bit(
    tmp_path: Path, model: dict[str, Any], optimizer: str, stop_after: int
) -> None:
    recipe = make_recipe(model, (15, 20)).replace(optimizer=optimizer)
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    straight = Recorder()
    expected = run_loop(recipe, tmp_path / "straight", straight)
    with pytest.raises(KeyboardInterrupt):
        run_loop(recipe, tmp_path / "stopped", Recorder(stop_after))
    torch.manual_seed(12345)  # whatever happened in between
    resumed = Recorder()
    result = run_loop(recipe, tmp_path / "stopped", resumed)
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, result.state_dict()[name]), name
    assert straight.losses[-len(resumed.losses) :] == resumed.losses
    files = [Checkpoints(tmp_path / name).newest() for name in ("straight", "stopped")]
    one, two = (load_file(file) for file in files if file is not None)
    state = [name for name in one if name.startswith("optimizer/")]
    assert len(state) > len(expected.state_dict())
    assert all(torch.equal(one[name], two[name]) for name in state)


@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
def test_muon_steps_the_matrices_of_the_layers_and_adamw_everything_else(
    model: dict[str, Any],
) -> None:
    recipe = make_recipe(model).replace(optimizer="muon")
    network = build_model(recipe.model)
    adamw, muon = build_optimizers(network, recipe)
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    def stepped(optimizer: torch.optim.Optimizer) -> list[str]:
        return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]

    assert sorted([*stepped(adamw), *stepped(muon)]) == sorted(names.values())
    assert all("embedding" in n or n.endswith("bias") or "norm" in n for n in stepped(adamw))
    assert stepped(muon)


def test_muon_learns_more_from_the_same_batches(tmp_path: Path) -> None:
    losses = {}
    for optimizer in ("adamw", "muon"):
        (tmp_path / optimizer).mkdir()
        shape = {**MEENA, "dropout": 0.0}
        recipe = make_recipe(shape, (300,), validation_every=300, optimizer=optimizer)
        view = Recorder()
        run_loop(recipe, tmp_path / optimizer, view)
        losses[optimizer] = np.mean(view.losses[-20:])
    assert losses["muon"] < losses["adamw"]


def test_a_run_that_is_asked_to_stop_goes_on_from_that_very_step(tmp_path: Path) -> None:
    recipe = make_recipe(GPT, (15, 20))
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    straight, stopped, resumed = Recorder(), Recorder(), Recorder()
    expected = run_loop(recipe, tmp_path / "straight", straight)
    with pytest.raises(KeyboardInterrupt):
        run_loop(recipe, tmp_path / "stopped", stopped, lambda: len(stopped.losses) == 18)
    result = run_loop(recipe, tmp_path / "stopped", resumed)
    assert stopped.losses + resumed.losses == straight.losses
    assert stopped.validations + resumed.validations == straight.validations
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, result.state_dict()[name]), name


def test_ctrl_c_is_heard_after_the_step_and_the_second_one_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), stop_after_step() as is_stopping:  # noqa: PT012
        assert not is_stopping()
        signal.raise_signal(signal.SIGINT)
        assert is_stopping()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_trainers_never_share_a_folder_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from dialogue_generation_models.training.interruption import only_trainer\n"
        "with only_trainer(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="Another process trains"), only_trainer(tmp_path):
            pass
        other.kill()
    with only_trainer(tmp_path):
        pass


def test_no_model_is_written_while_another_process_trains_in_its_run(tmp_path: Path) -> None:
    with only_trainer(tmp_path), pytest.raises(TrainingError, match="Another process trains"):
        export(make_recipe(), tmp_path, command="", track=lambda *_: lambda _: None)


def test_only_labelled_tokens_count() -> None:
    recipe = make_recipe()
    model = build_model(recipe.model).eval()
    ids = np.array([[2, 10, 4, 11, 4]])
    labels = np.array([[IGNORED, IGNORED, 11, 3, IGNORED]])
    loss, tokens = summed_loss(model, Batch({"input_ids": ids}, labels), recipe)
    logp = model(torch.from_numpy(ids)).log_softmax(-1)[0]
    assert tokens == 2
    torch.testing.assert_close(loss, -(logp[2, 11] + logp[3, 3]))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Poison(Recorder):
        def step(self, report: StepReport) -> None:
            super().step(report)
            if report.progress.total_steps == 12:
                with torch.no_grad():
                    next(model.parameters()).fill_(float("nan"))

    recipe = make_recipe()
    torch.manual_seed(0)
    model = build_model(recipe.model)
    batches = make_batches(recipe)
    with pytest.raises(TrainingError, match="no longer finite at step 13"):
        train(
            model,
            [Stage(recipe.stages[0], batches)],
            [batches.batch(0)],
            recipe,
            checkpoints=(checkpoints := Checkpoints(tmp_path)),
            view=Poison(),
        )
    restored = build_model(recipe.model)
    progress = checkpoints.load(restored, build_optimizers(restored, recipe))
    assert progress.total_steps == 10
    assert all(torch.isfinite(weight).all() for weight in restored.state_dict().values())


def cut_short(content: bytes) -> bytes:
    return content[:-100]


def flip_a_bit(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit])
def test_damaged_checkpoints_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    recipe = make_recipe()
    model = build_model(recipe.model)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, build_optimizers(model, recipe), Progress())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match="damaged"):
        load_checkpoint(path, model, build_optimizers(model, recipe))


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe()
    model = build_model(recipe.model)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, build_optimizers(model, recipe), Progress(total_steps=1))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainingError, match="No space left"):
        save_checkpoint(path, model, build_optimizers(model, recipe), Progress(total_steps=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_rate_warms_up_and_falls() -> None:
    stage = make_recipe(steps=(100,)).stages[0].replace(warmup_steps=10, final_rate=0.1)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3, rel=0.05)
    early = stage.replace(steps=40, schedule_steps=100)
    assert [learning_rate(early, step) for step in range(40)] == rates[:40]


@pytest.mark.parametrize("model", [GPT, MEENA], ids=["gpt", "meena"])
def test_a_run_ends_with_a_model_folder_and_its_card(
    talk: Path, tmp_path: Path, model: dict[str, Any]
) -> None:
    from rich.console import Console

    recipe = run_recipe(talk, model)
    folder = tmp_path / "run"
    with (tmp_path / "out").open("w") as out:
        console = Console(file=out)
        run(recipe, folder, processes=OneProcess(), console=console)
        again = run(recipe, folder, processes=OneProcess(), console=console)
    assert again.total_steps == 12
    path = export(recipe, folder, command="dgm train tiny.toml", track=lambda *_: lambda _: None)
    loaded = load_folder(path)
    assert loaded.decoding.strategy == "greedy"
    card = (path / "README.md").read_text(encoding="utf-8")
    for part in ("CC0-1.0", "dgm train tiny.toml", "perplexity per token", "talk", "안녕"):
        assert part in card
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    assert any("validation_loss" in record for record in log)


def test_a_run_of_a_few_steps_has_a_card_too(talk: Path, tmp_path: Path) -> None:
    from rich.console import Console

    recipe = run_recipe(talk, GPT)
    recipe = recipe.replace(stages=[recipe.stages[0].replace(steps=3).model_dump()])
    with (tmp_path / "out").open("w") as out:
        run(recipe, tmp_path / "run", processes=OneProcess(), console=Console(file=out))
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "lo')  # a power cut
    path = export(recipe, tmp_path / "run", command="", track=lambda *_: lambda _: None)
    assert "| steps | 3 |" in (path / "README.md").read_text(encoding="utf-8")


def test_a_stage_without_text_is_named(talk: Path, tmp_path: Path) -> None:
    from rich.console import Console

    (talk / "empty.txt").write_text("")
    recipe = run_recipe(talk, GPT)
    source = {"path": "empty.txt", "license": "CC0-1.0"}
    text = {**recipe.stages[0].model_dump(), "name": "text", "objective": "text"}
    recipe = recipe.replace(stages=[{**text, "sources": [source]}, recipe.stages[0].model_dump()])
    with (tmp_path / "out").open("w") as out, pytest.raises(DataError, match="'text' has no text"):
        run(recipe, tmp_path / "run", processes=OneProcess(), console=Console(file=out))


def test_a_folder_of_another_recipe_is_refused(talk: Path, tmp_path: Path) -> None:
    from rich.console import Console

    recipe = run_recipe(talk, GPT)
    with (tmp_path / "out").open("w") as out:
        run(recipe, tmp_path / "run", processes=OneProcess(), console=Console(file=out))
        with pytest.raises(TrainingError, match=r"changed: seed\)"):
            run(
                recipe.replace(seed=1),
                tmp_path / "run",
                processes=OneProcess(),
                console=Console(file=out),
            )


def test_data_that_changed_is_refused(talk: Path, tmp_path: Path) -> None:
    from rich.console import Console

    recipe = run_recipe(talk, GPT)
    with (tmp_path / "out").open("w") as out:
        run(recipe, tmp_path / "run", processes=OneProcess(), console=Console(file=out))
        with (talk / "talk.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n")
        with pytest.raises(TrainingError, match=r"changed since the run began \(talk\.jsonl\)"):
            run(recipe, tmp_path / "run", processes=OneProcess(), console=Console(file=out))


def test_text_stages_show_nothing_that_is_held_out() -> None:
    text, dialogue = make_recipe(steps=(1, 1)).stages
    with pytest.raises(ConfigError, match="held out"):
        make_recipe(stages=[text.replace(objective="text").model_dump(), dialogue.model_dump()])


def test_replies_are_held_out_of_every_dialogue_stage() -> None:
    one, two = make_recipe(steps=(1, 1)).stages
    other = [{"path": "other.jsonl", "license": "MIT"}]
    recipe = make_recipe(stages=[one.model_dump(), {**two.model_dump(), "sources": other}])
    assert [source.path for source in recipe.dialogue_sources] == ["talk.jsonl", "other.jsonl"]


def test_missing_sources_are_named(tmp_path: Path) -> None:
    from rich.console import Console

    recipe = make_recipe(data_root=str(tmp_path))
    with pytest.raises(DataError, match=r"talk\.jsonl"):
        run(recipe, tmp_path / "run", processes=OneProcess(), console=Console())
    assert not (tmp_path / "run").exists()


def test_a_batch_without_labels_changes_nothing_but_the_decay(tmp_path: Path) -> None:
    recipe = make_recipe(steps=(2,))
    samples = [Sample([2, 10, 4], [IGNORED] * 3)]
    train(
        build_model(recipe.model),
        [Stage(recipe.stages[0], PackedRows(samples, recipe.model, 4, seed=0))],
        [make_batches(recipe).batch(0)],
        recipe,
        checkpoints=Checkpoints(tmp_path),
        view=(view := Recorder()),
    )
    assert view.losses == [0.0, 0.0]


@pytest.mark.parametrize("name", ["", "a/b", "..", "/tmp/x", "a b", "-o"])
def test_names_that_are_no_folder_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="'name'"):
        make_recipe(name=name)
    assert make_recipe(name="한글-mini_2.ko").name == "한글-mini_2.ko"


def test_a_recipe_without_dialogue_is_refused() -> None:
    stage = make_recipe().stages[0].replace(objective="text")
    with pytest.raises(ConfigError, match="needs a stage of dialogue"):
        make_recipe(stages=[stage.model_dump()])


def test_a_damaged_record_of_a_run_is_a_sentence(talk: Path, tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        run(run_recipe(talk, GPT), tmp_path, processes=OneProcess(), console=Console())


def test_text_stages_are_for_gpt_alone() -> None:
    stage = make_recipe().stages[0].replace(objective="text")
    with pytest.raises(ConfigError, match="text stages"):
        make_recipe(MEENA, stages=[stage.model_dump()])
