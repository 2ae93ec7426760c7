"""The folder of a fine-tuning's run, and who may remove it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue_generation_models.training import finetuning


def test_a_run_that_leaves_nothing_leaves_no_folder(tmp_path: Path) -> None:
    run = tmp_path / "model.run"
    with finetuning._holding(run):
        pass
    assert not run.exists()


def test_a_folder_that_another_call_takes_as_soon_as_it_is_free_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "model.run"
    holding = finetuning.only_trainer(run)

    class ThenAnother:
        def __enter__(self) -> None:
            holding.__enter__()

        def __exit__(self, *error: object) -> None:
            holding.__exit__(None, None, None)
            (run / "data").mkdir()

    monkeypatch.setattr(finetuning, "only_trainer", lambda _: ThenAnother())
    with finetuning._holding(run):
        pass
    assert (run / "data").is_dir()
