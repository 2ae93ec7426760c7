"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dialogue_generation_models.files import (
    previous_of,
    put_in_place,
    recover,
    replacing,
    write_whole,
)


def test_a_file_that_fails_half_way_leaves_the_older_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "안녕\n")

    def stop() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert path.read_bytes() == "안녕\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_written_over_and_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.with_name("a.txt.partial").write_text("what a killed process left", encoding="utf-8")
    write_whole(path, "new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(path, "a")
    assert caught.value.filename == str(path)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_private_file_was_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path, is_private=True) as partial:
        assert partial.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_is_never_lost_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "mine").touch()
    with pytest.raises(OSError, match=r"irectory|denied"):
        write_whole(tmp_path / "place", "a")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "mine"]


def test_all_of_a_folder_is_on_the_disk_before_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new" / "below").mkdir(parents=True)
    (tmp_path / "new" / "below" / "file").write_text("a")
    flushed = []
    flush = os.fsync

    def note(descriptor: int) -> None:
        if (tmp_path / "new").exists():
            flushed.append(os.fstat(descriptor).st_ino)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    put_in_place(tmp_path / "new", tmp_path / "place")
    written = [tmp_path / "place", *(tmp_path / "place").rglob("*")]
    assert {path.stat().st_ino for path in written} <= set(flushed)


def test_a_move_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    place, new = tmp_path / "set", tmp_path / "new"
    for folder in (place, new):
        folder.mkdir()
        (folder / folder.name).touch()
    place.rename(previous_of(place))  # what a cut-off move leaves
    recover(place)
    assert (place / "set").exists()
    put_in_place(new, place)
    assert [path.name for path in place.iterdir()] == ["new"]
    assert not previous_of(place).exists()
    recover(place)
    assert (place / "new").exists()


def test_a_move_that_is_refused_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, new = tmp_path / "set", tmp_path / "new"
    for folder in (place, new):
        folder.mkdir()
        (folder / folder.name).touch()
    move = os.replace

    def refuse(source: Path, target: Path) -> None:
        if source == new:
            raise OSError(errno.EACCES, "Permission denied")
        move(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="denied"):
        put_in_place(new, place)
    assert (place / "set").exists()
    assert not previous_of(place).exists()
