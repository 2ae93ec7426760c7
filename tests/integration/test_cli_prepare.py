"""`dgm prepare` and `dgm data`: workers, interruptions, refusals, and a training on the result."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data.stored import PreparedDataset, read_uses
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

WORDS = [
    "오늘",
    "내일",
    "저녁",
    "영화",
    "커피",
    "산책",
    "학교",
    "회사",
    "시험",
    "여행",
    "노래",
    "날씨",
    "바다",
    "버스",
    "고양이",
    "친구",
]
SETTINGS = """
parts = 3
validation_percent = 10.0
[scrub]
name_models = false
[[sources]]
path = "*.txt"
consent = "invented"
all_adults = true
[[sources]]
path = "*.jsonl"
license = "CC0-1.0"
"""
# Kills the process when it begins a step's second task, or its only one.
KILLED = """
import os, signal, sys
from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data import pipeline
name, at = sys.argv[1], int(sys.argv[2])
step = getattr(pipeline, name)
def killed(job, rank):
    if rank == at:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
    step(job, rank)
setattr(pipeline, name, killed)
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture
def inputs(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    """A folder with an export, a corpus, settings and a tokenizer."""
    chooser = random.Random(0)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(tiny_tokenizer.to_bytes())
    (folder / "prep.toml").write_text(SETTINGS, encoding="utf-8")
    with (folder / "chat.txt").open("w", encoding="utf-8") as file:
        file.write("나래 님과 카카오톡 대화\n저장한 날짜 : 2022-11-03 10:44:52\n\n")
        for day in range(1, 25):
            file.write(f"--------------- 2020년 6월 {day}일 일요일 ---------------\n")
            for n in range(6):
                words = " ".join(chooser.sample(WORDS, 4))
                file.write(f"[{'가람' if n % 2 else '나래'}] [오전 9:0{n}] {words} {day} {n}\n")
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for n in range(20):
            turns = [
                {
                    "speaker": "AB"[i % 2],
                    "text": f"{WORDS[n % 16]} {WORDS[(n + i * 5) % 16]} {n} {i}",
                }
                for i in range(4)
            ]
            file.write(json.dumps({"id": f"c{n}", "turns": turns}, ensure_ascii=False) + "\n")
    return folder


def command(inputs: Path, output: Path, *options: str) -> list[str]:
    sources = [str(inputs / "chat.txt"), str(inputs / "corpus.jsonl")]
    tokenizer = ["--tokenizer", str(inputs / "tokenizer.model")]
    settings = ["--config", str(inputs / "prep.toml")]
    return ["prepare", *sources, "-o", str(output), *tokenizer, *settings, *options]


def shards(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.npy")}
    assert found
    return found


def test_workers_do_not_change_a_byte(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command(inputs, tmp_path / "one")) == 0
    printed = capfd.readouterr()
    assert "train " in printed.out
    assert "report.html" in printed.out
    assert "clean ..." in printed.err
    assert main(command(inputs, tmp_path / "two", "--workers", "2")) == 0
    assert "INFO" not in capfd.readouterr().err
    assert shards(tmp_path / "one") == shards(tmp_path / "two")


@pytest.mark.parametrize(("step", "task"), [("clean_part", 1), ("shard_part", 2), ("finish", 0)])
def test_a_killed_preparation_goes_on_and_leaves_the_old_one_till_then(
    inputs: Path, tmp_path: Path, step: str, task: int
) -> None:
    quick = ["--set", "dedup.near=false"]
    output = tmp_path / "set"
    assert main(command(inputs, output, *quick, "--set", "validation_percent=30.0")) == 0
    old = (output / "manifest.json").read_bytes()
    call = command(inputs, output, *quick, "--overwrite")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, step, str(task), "SIGKILL", *call], check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert (output / "manifest.json").read_bytes() == old
    work = tmp_path / ".set.work"
    assert work.stat().st_mode & 0o077 == 0
    done = (work / "logs" / "clean" / "completions" / "00000").stat().st_mtime_ns
    assert main(call) == 0
    assert not work.exists()
    assert done
    assert main(command(inputs, tmp_path / "straight", *quick)) == 0
    assert shards(output) == shards(tmp_path / "straight")


def test_ctrl_c_says_how_to_go_on(inputs: Path, tmp_path: Path) -> None:
    call = command(inputs, tmp_path / "set", "--set", "dedup.near=false")
    stopped = subprocess.run(
        [sys.executable, "-c", KILLED, "key_part", "1", "SIGINT", *call],
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert stopped.returncode == 130
    assert stopped.stderr.endswith("Stopped. The same command goes on where it stopped.\n")
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / "set").exists()
    assert main(call) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_ctrl_c_ends_the_workers_too(inputs: Path, tmp_path: Path) -> None:
    call = command(inputs, tmp_path / "set", "--workers", "2", "--set", "parts=64")
    process = subprocess.Popen(
        [sys.executable, "-m", "dialogue_generation_models", *call],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    markers = tmp_path / ".set.work" / "logs" / "count" / "completions"
    deadline = time.monotonic() + 60
    while not (markers.is_dir() and any(markers.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped." in errors
    assert not (tmp_path / "set").exists()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize(
    ("stop", "to_all", "code"),
    [
        (signal.SIGKILL, False, -signal.SIGKILL),
        (signal.SIGTERM, False, 130),
        (signal.SIGTERM, True, 130),  # as service managers send it: to the workers too
    ],
)
def test_nothing_of_a_stopped_preparation_is_in_the_way_of_the_same_call(
    inputs: Path, tmp_path: Path, stop: signal.Signals, to_all: bool, code: int
) -> None:
    quick = ["--set", "dedup.near=false", "--set", "parts=6"]
    call = command(inputs, tmp_path / "set", "--workers", "2", *quick)
    process = subprocess.Popen(
        [sys.executable, "-m", "dialogue_generation_models", *call],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    markers = tmp_path / ".set.work" / "logs" / "clean" / "completions"
    deadline = time.monotonic() + 60
    while not (markers.is_dir() and any(markers.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.001)
    (os.killpg if to_all else os.kill)(process.pid, stop)
    assert process.wait(timeout=60) == code
    assert not (tmp_path / "set").exists()
    assert main(call) == 0
    _, errors = process.communicate(timeout=60)  # ends when no worker has the stream any more
    assert ("Stopped." in errors) == (stop == signal.SIGTERM)
    assert stop == signal.SIGKILL or "Traceback" not in errors
    assert not (tmp_path / ".set.work").exists()
    assert main(command(inputs, tmp_path / "straight", *quick)) == 0
    assert shards(tmp_path / "set") == shards(tmp_path / "straight")


def test_changed_inputs_begin_anew(inputs: Path, tmp_path: Path) -> None:
    call = command(inputs, tmp_path / "set", "--set", "dedup.near=false")
    subprocess.run([sys.executable, "-c", KILLED, "key_part", "1", "SIGKILL", *call], check=False)
    lines = (inputs / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (inputs / "corpus.jsonl").write_text("".join(lines[:10]), encoding="utf-8")
    assert main(call) == 0
    manifest = PreparedDataset(tmp_path / "set").manifest
    assert manifest["sources"][1]["read"]["dialogues"] == 10


def test_refusals_are_sentences(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "set"
    quick = ["--set", "dedup.near=false"]
    (inputs / "prep.toml").write_text("parts = 2", encoding="utf-8")
    assert main(command(inputs, output)) == 1
    assert capsys.readouterr().err.startswith("dgm: Input 1 is a private chat without a statement")
    assert main(command(inputs, output, *quick, "--i-have-consent", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["vouched_for_by_user"] is True
    assert main(command(inputs, output, *quick, "--i-have-consent")) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "dedup.nera=false"], "nera"),
        (["--set", "parts=many"], "parts"),
        (["--set", "sessions=3"], "sessions"),
        (["--set", "parts.x=3"], "parts"),
        (["--executor", "cloud"], "kind"),
        (["--set", "executor.kind=cloud"], "kind"),
        (["--set", "executor=3"], "executor"),
        (["--profile", "clean"], "profile"),
        (["--me", " "], "me"),
    ],
)
def test_bad_options_are_bad_usage_and_a_bad_file_bad_input(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    assert main(command(inputs, tmp_path / "set", *options)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    for wrong in ("parts = 'x'", "sessions = 3", "executor = 3", "profile = []"):
        (inputs / "prep.toml").write_text(wrong, encoding="utf-8")
        assert main(command(inputs, tmp_path / "set")) == 1
        assert wrong.split()[0] in capsys.readouterr().err
        assert main(command(inputs, tmp_path / "set", *options)) == 1
    assert not (tmp_path / "set").exists()


def test_damaged_lines_of_corpora_are_told_of_and_not_quoted(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (inputs / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "x", "turns": [{"speaker": "비밀"}]}\n')
    assert main(command(inputs, tmp_path / "set", "--workers", "2")) == 0
    error = capsys.readouterr().err
    assert "corpus, file 1: unparsed and left out: 1 (line 21)." in error
    assert "비밀" not in error
    manifest = PreparedDataset(tmp_path / "set").manifest
    assert manifest["sources"][1]["read"]["dialogues"] == 20


def test_an_export_that_cannot_be_read_is_told_and_the_rest_prepared(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inputs / "other.txt").write_text("가람이의 일기\n", encoding="utf-8")
    call = command(inputs, tmp_path / "set", "--set", "dedup.near=false")
    assert main([call[0], str(inputs / "other.txt"), *call[1:]]) == 1
    error = capsys.readouterr().err
    assert "private chats 1, file 1: Its format is unknown" in error
    assert "가람" not in error
    assert "other" not in error
    assert PreparedDataset(tmp_path / "set").manifest["counts"]["train"]["dialogues"] > 10


def test_the_only_export_that_cannot_be_read_is_told_of(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "비밀.txt").write_text("이것은 대화가 아니다\n", encoding="utf-8")
    where = ["-o", str(tmp_path / "data"), "--tokenizer", str(inputs / "tokenizer.model")]
    quick = ["--config", str(inputs / "prep.toml"), "--set", "dedup.near=false"]
    assert main(["prepare", str(tmp_path / "비밀.txt"), *where, *quick, "--i-have-consent"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "Its format is unknown" in error
    assert "비밀" not in error
    assert not (tmp_path / "data").exists()


def test_a_source_without_a_message_is_told_of_by_its_number(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "비밀 님과 카카오톡 대화\n저장한 날짜 : 2022-11-03 10:44:52\n\n(9h) 비밀 > 응\n"
    (inputs / "비밀.txt").write_text(head, encoding="utf-8")
    quick = ["--set", "dedup.near=false"]
    assert main([*command(inputs, tmp_path / "set", *quick), str(inputs / "비밀.txt")]) == 0
    error = capsys.readouterr().err
    assert "private chats 1, file 2: no message was read" in error
    assert "private chats 1, file 2: unparsed and left out: 1 (line 4)." in error
    report = (tmp_path / "set" / "report.html").read_text(encoding="utf-8")
    assert "<th>unparsed lines</th>" in report
    assert "</td><td>1</td><td>" in report
    assert "비밀" not in error
    manifest = PreparedDataset(tmp_path / "set").manifest
    private, corpus = (source["read"] for source in manifest["sources"])
    assert [file["message"] for file in private["files"]] == [144, 0]
    assert [file["unparsed_lines"] for file in private["files"]] == [[], [4]]
    assert private["messages"] == 144
    assert corpus["messages"] > 0


def test_a_name_that_nobody_or_not_everybody_has_is_told_of(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--set", "dedup.near=false", "--set", "dedup.keep_dialogues=0"]
    call = command(inputs, tmp_path / "set", *quick)
    assert main([*call, "--me", "철수"]) == 1
    error = capsys.readouterr().err
    assert "Nobody in the chats has a name of --me" in error
    assert "철수" not in error
    other = (inputs / "chat.txt").read_text(encoding="utf-8").replace("나래", "보라")
    (inputs / "other.txt").write_text(other, encoding="utf-8")
    assert main([*call, str(inputs / "other.txt"), "--me", "나래"]) == 0
    error = capsys.readouterr().err
    assert "private chats 1: 1 of 2 rooms have no message of --me" in error
    assert "나래" not in error
    names = ["--me", "나래", "--me", "보라", "--overwrite"]
    assert main([*call, str(inputs / "other.txt"), *names]) == 0
    assert "--me" not in capsys.readouterr().err
    manifest = (tmp_path / "set" / "manifest.json").read_text(encoding="utf-8")
    assert len(json.loads(manifest)["settings"]["sessions"]["me"]) == 2
    assert not any(name in manifest for name in ("나래", "보라"))


def test_an_empty_result_replaces_nothing(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--set", "dedup.near=false", "--overwrite"]
    assert main(command(inputs, tmp_path / "set", *quick)) == 0
    old = (tmp_path / "set" / "manifest.json").read_bytes()
    assert main(command(inputs, tmp_path / "set", *quick, "--set", "filters.max_characters=1")) == 1
    assert "Nothing is left to learn from" in capsys.readouterr().err
    assert (tmp_path / "set" / "manifest.json").read_bytes() == old


@pytest.mark.skipif(os.name != "posix", reason="Slurm's commands are played by shell scripts")
def test_slurm_is_given_the_same_steps_in_order(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {
        # Runs an array job at once, task after task, and notes what it waits for.
        "sbatch": 'for word; do case "$word" in --dependency=*) echo "$word" >> WAITS;; esac; done\n'
        "last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' \"$word\")\n"
        "for task in $(seq 0 $last); do\n"
        '  SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here bash "$word" >> LOG 2>&1 || exit 1\n'
        "done\necho Submitted batch job 7\n",
        "srun": 'while [ "${1#-}" != "$1" ]; do [ "$1" = -n ] && shift; shift; done\nexec "$@"\n',
        "scontrol": "echo here\n",
    }
    for name, text in scripts.items():
        text = text.replace("WAITS", str(tmp_path / "waits")).replace("LOG", str(tmp_path / "log"))
        (programs / name).write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
        (programs / name).chmod(0o755)
    path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    quick = ["--set", "dedup.near=false", "--set", "parts=2"]
    assert main(command(inputs, tmp_path / "set", *quick, "--executor", "slurm")) == 0
    assert main(command(inputs, tmp_path / "straight", *quick)) == 0
    assert shards(tmp_path / "set") == shards(tmp_path / "straight")
    assert (tmp_path / "waits").read_text().count("afterok:7") >= 7
    assert not (tmp_path / ".set.work" / "clean").exists(), "nothing that was said is left behind"


@pytest.mark.parametrize("kind", ["gpt", "meena"])
def test_a_training_on_a_data_set(
    inputs: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(inputs, tmp_path / "set", "--set", "dedup.near=false")) == 0
    shapes = {
        "gpt": "n_layer = 1\nn_head = 2\nn_inner = 16",
        "meena": "n_encoder_ctx = 48\nn_encoder_layer = 1\nn_encoder_head = 2\nn_encoder_inner = 16\n"
        "n_decoder_layer = 1\nn_decoder_head = 2\nn_decoder_inner = 16",
    }
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
        name = "tiny"
        language = "ko"
        license = "CC0-1.0"
        data_root = {json.dumps(str(tmp_path))}
        validation_every = 3
        precision = "float32"
        [model]
        kind = "{kind}"
        vocab_size = {Tokenizer.from_file(tmp_path / "set" / "tokenizer.model").vocab_size}
        n_ctx = 96
        n_embd = 16
        {shapes[kind]}
        [[stages]]
        name = "talk"
        objective = "dialogue"
        steps = 6
        batch_size = 2
        learning_rate = 1e-2
        warmup_steps = 1
        sources = [{{ path = "set", license = "CC0-1.0" }}]
        """,
        encoding="utf-8",
    )
    run = tmp_path / "run"
    assert main(["train", str(recipe), "-o", str(run), "--device", "cpu"]) == 0
    assert (run / "tiny" / "model.safetensors").exists()
    assert "set" in (run / "tiny" / "README.md").read_text(encoding="utf-8")
    (use,) = read_uses(tmp_path / "set")
    assert use["manifest_sha256"] == PreparedDataset(tmp_path / "set").sha256
    assert json.loads((run / "data.json").read_text())[0]["sha256"] == use["manifest_sha256"]
    capsys.readouterr()
    # Whoever asks to be forgotten learns which models know them, and the run does not go on.
    assert main(["data", "speakers", str(tmp_path / "set"), "--name", "나래", "--json"]) == 0
    (speaker,) = json.loads(capsys.readouterr().out)
    assert main(["data", "forget", str(tmp_path / "set"), "--speaker", speaker["id"]]) == 0
    assert "tiny in" in capsys.readouterr().out
    assert main(["data", "speakers", str(tmp_path / "set"), "--name", "나래"]) == 0
    assert capsys.readouterr().out == "Nobody.\n"
    assert main(["train", str(recipe), "-o", str(run), "--device", "cpu"]) == 1
    assert "changed since the run began" in capsys.readouterr().err


def test_speakers_by_room_and_reviews(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = command(inputs, tmp_path / "set", "--review", "5", "--set", "dedup.near=false")
    assert main(call) == 0
    capsys.readouterr()
    assert main(["data", "speakers", str(tmp_path / "set"), "--json"]) == 0
    people = json.loads(capsys.readouterr().out)
    assert len(people) == 2
    room = people[0]["rooms"][0]
    assert main(["data", "speakers", str(tmp_path / "set"), "--room", room]) == 0
    assert capsys.readouterr().out.count("speaker-") == 2
    sample = tmp_path / "set-review.csv"
    text = sample.read_text(encoding="utf-8-sig").replace(",,", ",n,")
    sample.write_text(text, encoding="utf-8-sig")
    assert main(["data", "review", str(sample)]) == 0
    assert "0 of 5 messages" in capsys.readouterr().out
    forget = ["data", "forget", str(tmp_path / "set"), "--json", "--speaker"]
    assert main([*forget, people[0]["id"]]) == 0
    assert f"{sample} may still hold what this person said; delete it." in capsys.readouterr().err
    sample.unlink()
    assert main([*forget, people[1]["id"]]) == 0
    assert capsys.readouterr().err == ""
