"""`dgm prepare --executor ray`: datatrove's executor, on a stand-in for Ray that does each task at once."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data.stored import PreparedDataset
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

SETTINGS = """
parts = 2
dedup.near = false
scrub.name_models = false
[[sources]]
path = "*.jsonl"
license = "CC0-1.0"
"""


class Reference:
    """What a task gave."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None


class Method:
    """A method of an actor; what it raises is raised by `get`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def remote(self, *arguments: Any) -> Reference:
        done = Reference()
        try:
            done.value = self._call(*arguments)
        except Exception as error:
            done.error = error
        return done


class Actor:
    def __init__(self, kind: type) -> None:
        self._held = kind()

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self._held, name))


def get(reference: Any) -> Any:
    if isinstance(reference, list):
        return [get(one) for one in reference]
    if reference.error is not None:
        raise reference.error
    return reference.value


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Ray's functions that datatrove calls; returns what each task asked for."""
    asked: list[dict[str, Any]] = []

    def options(kind: type, **named: Any) -> Any:
        asked.append(named)
        return types.SimpleNamespace(remote=lambda: Actor(kind))

    done = Reference()
    module: Any = types.ModuleType("ray")
    module.put = lambda value: value
    module.get = get
    module.wait = lambda tasks, num_returns, timeout: (tasks[:1], tasks[1:])
    module.remote = lambda kind: types.SimpleNamespace(
        options=lambda **named: options(kind, **named)
    )
    module.util = types.SimpleNamespace(
        placement_group=lambda bundles: types.SimpleNamespace(ready=lambda: done),
        remove_placement_group=lambda group: None,
        get_node_ip_address=lambda: "127.0.0.1",
    )
    errors: Any = types.ModuleType("ray.exceptions")
    for name in ("ObjectLostError", "RayActorError", "TaskCancelledError", "WorkerCrashedError"):
        setattr(errors, name, type(name, (Exception,), {}))
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.exceptions", errors)
    monkeypatch.setattr("datatrove.executor.ray.check_required_dependencies", lambda *_: None)
    return asked


@pytest.fixture
def command(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Callable[..., list[str]]:
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer.to_bytes())
    (tmp_path / "prep.toml").write_text(SETTINGS, encoding="utf-8")
    lines = [
        {"turns": [{"speaker": s, "text": f"오늘 저녁은 {n}번 {s}"} for s in ("A", "B")]}
        for n in range(40)
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    given = ["--tokenizer", str(tmp_path / "tokenizer.model"), "--config"]
    given.append(str(tmp_path / "prep.toml"))
    return lambda output, *more: ["prepare", str(corpus), "-o", str(output), *given, *more]


def test_ray_gives_the_same_data_set(
    command: Callable[..., list[str]], tmp_path: Path, ray: list[dict[str, Any]]
) -> None:
    where = ["--executor", "ray", "--workers", "2", "--set", "executor.memory_gb=3"]
    assert main(command(tmp_path / "ray", *where)) == 0
    assert main(command(tmp_path / "here")) == 0
    made, expected = (PreparedDataset(tmp_path / name).manifest for name in ("ray", "here"))
    assert {k: v for k, v in made["files"].items() if k.endswith(".npy")} == {
        k: v for k, v in expected["files"].items() if k.endswith(".npy")
    }
    assert {task["memory"] for task in ray} == {3 << 30}


def test_what_a_task_on_ray_raises_is_told(
    command: Callable[..., list[str]],
    tmp_path: Path,
    ray: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = ["--set", "filters.max_characters=1"]
    assert main(command(tmp_path / "set", "--executor", "ray", *nothing)) == 1
    assert "Nothing is left to learn from" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_ray_that_is_missing_is_told_with_its_own_name(
    command: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command(tmp_path / "set", "--executor", "ray")) == 2
    assert "install it with: pip install ray\n" in capsys.readouterr().err


def test_a_task_on_ray_that_dies_is_told(
    command: Callable[..., list[str]],
    tmp_path: Path,
    ray: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "datatrove.executor.ray.RankWorker.run_for_rank", lambda *_: (_ for _ in ()).throw(OSError)
    )
    assert main(command(tmp_path / "set", "--executor", "ray")) == 1
    assert "Tasks on Ray that did not end: 1 of 1" in capsys.readouterr().err
    assert (tmp_path / ".set.work").is_dir(), "the same command goes on"
