"""Two processes learn what one learns: copies (DDP) and shards (FSDP), started as launchers start them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dialogue_generation_models.training.accelerated import AcceleratedProcesses
from dialogue_generation_models.training.checkpointing import Checkpoints
from training_material import GPT, run_recipe, write_talk

WORKER = Path(__file__).with_name("train_worker.py")
JOBS = {"gpt-adamw": "gpt:adamw", "meena-muon": "meena:muon"}


def train(folder: Path, *, processes: int, stop: int = -1, **variables: str) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(WORKER), str(folder)]
    result = subprocess.run(
        [*command, *(f"{job}:{stop}" for job in JOBS.values())],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def start_together(count: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start the processes of `dgm` as a launcher does, which would add words of its own to theirs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "dialogue_generation_models", *arguments],
            env=os.environ
            | shared
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


@pytest.mark.parametrize(
    ("setting", "code", "sentence"),
    [
        ("seed=5", 1, "holds a run with another recipe"),  # met by the main process, others wait
        ("data_root=nowhere", 1, "is not in nowhere"),  # met by all
        ("optimizer=sgd", 2, "Illegal value"),  # the command line is wrong
        ("stages.0.learning_rate=1e30", 1, "no longer finite"),  # met by all in the middle
    ],
)
def test_a_refusal_is_one_sentence_of_all_processes(
    tmp_path: Path, setting: str, code: int, sentence: str
) -> None:
    pytest.importorskip("accelerate")
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    (tmp_path / "tiny.json").write_text(recipe.model_dump_json(exclude_none=True), encoding="utf-8")
    command = ["train", str(tmp_path / "tiny.json"), "-o", str(tmp_path / "run"), "--device", "cpu"]
    (tmp_path / "run").mkdir()
    if setting == "seed=5":
        (tmp_path / "run" / "recipe.json").write_text(recipe.model_dump_json(), encoding="utf-8")
    processes = start_together(2, *command, "--set", setting)
    ends = [(process.communicate(timeout=200)[1], process.returncode) for process in processes]
    assert [end for _, end in ends] == [code, code]
    lines = [line for error, _ in ends for line in error.splitlines()]
    assert not any("Traceback" in line for line in lines)
    said = [line for line in lines if line.startswith("dgm: ")]  # torch may tell of connections
    assert len(said) == 1, said
    assert sentence in said[0]


def test_the_process_that_says_what_failed_is_not_ended_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`torchrun` ends all others, by SIGTERM, as soon as one process is gone."""
    monkeypatch.setattr(AcceleratedProcesses, "end", lambda _: None)
    processes = object.__new__(AcceleratedProcesses)
    processes.count = 1
    processes._store = torch.distributed.HashStore()
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert processes.tell_failure(1)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_training_will_take_is_said_once(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    recipe = run_recipe(write_talk(tmp_path / "data"), GPT)
    (tmp_path / "tiny.json").write_text(recipe.model_dump_json(exclude_none=True), encoding="utf-8")
    command = ["train", str(tmp_path / "tiny.json"), "--device", "cpu", "--dry-run"]
    processes = start_together(2, *command)
    said = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(said).count("Nothing was written.") == 1


def test_two_processes_fine_tune_together(tmp_path: Path, tiny_folder: Path) -> None:
    pytest.importorskip("accelerate")
    talk = write_talk(tmp_path / "data") / "talk.jsonl"
    settings = "[scrub]\nname_models = false\n[dedup]\nnear = false\nkeep_dialogues = 0\n"
    (tmp_path / "prep.toml").write_text(settings, encoding="utf-8")
    command = ["finetune", str(talk), "--config", str(tmp_path / "prep.toml"), "--i-have-consent"]
    where = ["--model", str(tiny_folder), "-o", str(tmp_path / "bot"), "--device", "cpu"]
    steps = ["--set", "max_steps=4", "--set", "precision=float32"]
    processes = start_together(2, *command, *where, *steps)
    ends = [(*process.communicate(timeout=200), process.returncode) for process in processes]
    assert [code for *_, code in ends] == [0, 0], ends
    assert "Perplexity on held-out replies" in ends[0][0]
    assert ends[1][0] == ""
    card = (tmp_path / "bot" / "README.md").read_text(encoding="utf-8")
    assert "| steps | 4 |" in card
    assert "| hardware | 2 × " in card


def seen(folder: Path, name: str, process: int = 0) -> dict[str, Any]:
    text = (folder / name / f"seen-{process}.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    train(folder, processes=1)
    return folder


@pytest.mark.parametrize("is_sharded", [False, True], ids=["copies", "shards"])
def test_two_processes_learn_stop_and_go_on_like_one(
    alone: Path, tmp_path: Path, is_sharded: bool
) -> None:
    pytest.importorskip("accelerate")
    train(tmp_path, processes=2, stop=6, ACCELERATE_USE_FSDP=str(is_sharded).lower())
    for name in JOBS:
        one, two, beside = seen(alone, name), seen(tmp_path, name), seen(tmp_path, name, 1)
        assert (one["processes"], two["processes"], two["is_sharded"]) == (1, 2, is_sharded)
        assert beside["losses"] == two["losses"]
        assert list(map(len, two["losses"])) == [6, 9]
        assert [loss for part in two["losses"] for loss in part] == pytest.approx(
            one["losses"][0], rel=1e-4
        )
        assert two["validations"] == pytest.approx(one["validations"], rel=1e-4)
    # Muon computes in bfloat16, so its weights differ more than its losses.
    files = [Checkpoints(folder / "gpt-adamw").newest() for folder in (alone, tmp_path)]
    states = [load_file(file) for file in files if file is not None]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-3, atol=1e-3, msg=name)
