"""`dgm train` in processes of its own: killed, ended by a signal, and only asked what it would take."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.training.checkpointing import Checkpoints
from dialogue_generation_models.training.view import read_log
from training_material import write_talk

RECIPE = """
name = "tiny"
language = "ko"
license = "CC0-1.0"
data_root = "{data}"
precision = "float32"
optimizer = "muon"
validation_every = 10
validation_percent = 20.0
[tokenizer]
sources = ["talk.jsonl"]
[model]
kind = "{kind}"
vocab_size = 326
n_ctx = 64
{shape}
dropout = 0.1
[decoding]
strategy = "greedy"
max_tokens = 8
[[stages]]
name = "first"
objective = "dialogue"
steps = 90
batch_size = 4
learning_rate = 1e-2
sources = [{{ path = "talk.jsonl", license = "CC0-1.0" }}]
[[stages]]
name = "last"
objective = "dialogue"
steps = 110
batch_size = 4
learning_rate = 3e-3
sources = [{{ path = "talk.jsonl", license = "CC0-1.0" }}]
"""
GPT = 'norm = "post"\nn_embd = 16\nn_layer = 1\nn_head = 2\nn_inner = 32'
# Trains and stops before the measures, which take longer than the training.
PROGRAM = """
import sys
from pathlib import Path
import torch
from rich.console import Console
from dialogue_generation_models.cli.main import main
from dialogue_generation_models.training import export
def stop(*_, **__):
    raise KeyboardInterrupt
export.evaluate = stop
torch.set_num_threads(1)
sys.exit(main())
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    data = write_talk(tmp_path / "data").as_posix()
    path.write_text(RECIPE.format(data=data, kind="gpt", shape=GPT), encoding="utf-8")
    return path


def command(recipe: Path, run: Path, *options: str) -> list[str]:
    head = [sys.executable, "-c", PROGRAM, "train", str(recipe), "-o", str(run)]
    return [*head, "--device", "cpu", *options]


def train(recipe: Path, run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(recipe, run, *options), capture_output=True, text=True, timeout=200, check=False
    )


def loss_log(run: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock and the machine's memory."""
    fields = (
        "step",
        "stage",
        "loss",
        "learning_rate",
        "gradient_norm",
        "validation_loss",
        "tokens",
    )
    records = [record for record in read_log(run / "log.jsonl") if "step" in record]
    return [{name: record.get(name) for name in fields} for record in records]


@pytest.mark.skipif(os.name != "posix", reason="the kill is a signal")
def test_a_killed_training_goes_on_as_if_nothing_had_happened(recipe: Path, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(recipe, straight)
    moment = random.SystemRandom().uniform(0.0, 1.0)
    with subprocess.Popen(
        command(recipe, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and Checkpoints(killed).newest() is None:
            time.sleep(0.01)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
    train(recipe, killed)
    files = [Checkpoints(run).newest() for run in (straight, killed)]
    assert [file.name for file in files if file] == ["checkpoint-00000200.safetensors"] * 2
    one, other = (load_file(file) for file in files if file)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert loss_log(straight) == loss_log(killed)
    assert len(loss_log(straight)) == 40
    best = [load_file(run / "best.safetensors") for run in (straight, killed)]
    assert all(torch.equal(tensor, best[1][name]) for name, tensor in best[0].items())


@pytest.mark.skipif(os.name != "posix", reason="Windows ends processes without a signal")
def test_a_training_that_is_ended_by_a_signal_stops_with_a_checkpoint(
    recipe: Path, tmp_path: Path
) -> None:
    """SIGTERM, by which a job's time limit comes."""
    run = tmp_path / "run"
    with subprocess.Popen(
        command(recipe, run), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and Checkpoints(run).newest() is None:
            time.sleep(0.01)
        process.terminate()
        _, error = process.communicate(timeout=100)
    assert "goes on where it stopped" in error
    assert 10 <= Checkpoints(run).progress().total_steps < 200


def test_a_wrong_override_is_bad_usage_and_a_wrong_recipe_bad_input(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["train", str(recipe), "--dry-run", "--device", "cpu"]
    for wrong in ("stages.0.stps=1", "stages.0.steps=x", "model.n_embd=0", "nothing=1"):
        assert main([*call, "--set", wrong]) == 2
        field = wrong.partition("=")[0].split(".")[-1]
        assert field in capsys.readouterr().err.splitlines()[-1]
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("steps", "stps"), encoding="utf-8")
    assert main(call) == 1
    assert main([*call, "--set", "stages.0.batch_size=x"]) == 1


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = train(recipe, tmp_path / "run", "--dry-run")
    assert result.returncode == 0, result.stderr
    for part in (
        "Parameters: ",
        "epochs of its data",
        "Memory: about",
        "Time: about",
        "Nothing was",
    ):
        assert part in result.stdout
    assert sorted(tmp_path.rglob("*")) == before
