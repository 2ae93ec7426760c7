"""`dgm train` given again in the folder of a finished run of which a file was deleted or damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dialogue_generation_models.checkpoint.folder import load_folder
from dialogue_generation_models.cli.main import main
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.checkpointing import Checkpoints, Progress
from dialogue_generation_models.training.optimizer import build_optimizers
from training_material import (
    GPT,
    Recorder,
    make_recipe,
    run_loop,
    run_recipe,
    write_talk,
)

pytestmark = pytest.mark.usefixtures("empty_pictures")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and its finished run."""
    folder = tmp_path_factory.mktemp("damaged")
    recipe = run_recipe(write_talk(folder / "data"), GPT).replace(validation_every=4)
    (folder / "tiny.json").write_text(recipe.model_dump_json(exclude_none=True), encoding="utf-8")
    assert main(command(folder, folder / "run")) == 0
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A finished run to damage."""
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


def command(place: Path, run: Path) -> list[str]:
    return ["train", str(place / "tiny.json"), "-o", str(run), "--device", "cpu"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def last_checkpoint(run: Path) -> Path:
    found = Checkpoints(run).newest()
    assert found is not None
    return found


LOST = "is over, and its best weights (best.safetensors) are missing or damaged"


@pytest.mark.parametrize(
    ("damage", "remedy", "sentence"),
    [
        (
            lambda run: (run / "best.safetensors").unlink(),
            lambda run: [path.unlink() for path in run.glob("checkpoint-*.safetensors")],
            LOST,
        ),
        (
            lambda run: cut(run / "best.safetensors"),
            lambda run: [path.unlink() for path in run.glob("checkpoint-*.safetensors")],
            LOST,
        ),
        (
            lambda run: cut(last_checkpoint(run)),
            lambda run: last_checkpoint(run).unlink(),
            "remove it to go on from the one before",
        ),
        (
            lambda run: cut(run / "tokenizer.model"),
            lambda run: (run / "tokenizer.model").unlink(),
            "tokenizer.model is damaged; remove it",
        ),
        (
            lambda run: cut(run / "data.json"),
            lambda run: (run / "data.json").unlink(),
            "data.json is damaged; remove it",
        ),
        (
            lambda run: cut(run / "recipe.json"),
            lambda run: (run / "recipe.json").unlink(),
            "remove it to go on by this recipe",
        ),
        (
            lambda run: (run / "tiny" / "notes.txt").touch(),
            lambda run: (run / "tiny" / "notes.txt").unlink(),
            "move them away",
        ),
    ],
    ids=["no-best", "best", "checkpoint", "tokenizer", "data", "recipe", "other-file"],
)
def test_a_sentence_says_what_to_do_and_doing_it_leads_to_the_same_model(
    place: Path,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    remedy: Callable[[Path], object],
    sentence: str,
) -> None:
    before = load_folder(run / "tiny").model.state_dict()
    damage(run)
    assert main(command(place, run)) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    remedy(run)
    assert main(command(place, run)) == 0
    after = load_folder(run / "tiny").model.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: shutil.rmtree(run / "tiny"),
        lambda run: (run / "log.jsonl").unlink(),
        lambda run: (run / "log.jsonl").write_bytes(b'\xff\xfe\n3\n[]\n{"step": 4, "lo'),
    ],
    ids=["model", "no-log", "log"],
)
def test_what_can_be_made_again_is_made_again(
    place: Path, run: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    damage(run)
    assert main(command(place, run)) == 0
    card, before = (
        (folder / "tiny" / "README.md").read_text(encoding="utf-8")
        for folder in (run, place / "run")
    )
    assert card == before
    said = "log.jsonl has no step to report" in capsys.readouterr().out.replace("\n", "")
    assert said == ("validation_loss" not in (run / "log.jsonl").read_text(encoding="utf-8"))


def test_an_unfinished_run_that_lost_its_best_weights_keeps_the_best_of_the_rest(
    tmp_path: Path,
) -> None:
    recipe = make_recipe()
    model = build_model(recipe.model)
    progress = Progress(step=10, total_steps=10, best_loss=0.0, best_step=10)
    Checkpoints(tmp_path).save(model, build_optimizers(model, recipe), progress)
    run_loop(recipe, tmp_path, rest := Recorder())
    first, _, is_best = rest.validations[0]
    assert (first, is_best) == (20, True)
    assert (tmp_path / "best.safetensors").is_file()
