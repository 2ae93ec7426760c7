"""Tasks side by side: what they raise arrives, and a worker that is gone is told of."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dialogue_generation_models.data.workers import run_tasks
from dialogue_generation_models.errors import DataError, DialogueModelError
from dialogue_generation_models.files import wait_for_helpers

multiprocess = pytest.importorskip("multiprocess")


def test_all_tasks_are_done_and_errors_arrive(tmp_path: Path) -> None:
    def do(task: int) -> None:
        if task == 7:
            raise DataError("Line 7 is damaged.")
        (tmp_path / str(task)).touch()

    wait_for_helpers(tmp_path)
    context = multiprocess.get_context("spawn")
    run_tasks(context, 2, tmp_path, do, range(5))
    assert {path.name for path in tmp_path.glob("[0-9]")} == set("01234")
    with pytest.raises(DataError, match="Line 7"):
        run_tasks(context, 1, tmp_path, do, [7])
    wait_for_helpers(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_worker_that_is_ended_from_outside_is_told_of(tmp_path: Path) -> None:
    def do(task: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    wait_for_helpers(tmp_path)
    with pytest.raises(DialogueModelError, match="the same command goes on"):
        run_tasks(multiprocess.get_context("spawn"), 1, tmp_path, do, [0])
