"""Two processes learn what one learns: copies (DDP) and shards (FSDP), started as launchers start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dialogue_generation_models.training.checkpointing import Checkpoints

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
