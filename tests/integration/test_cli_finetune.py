"""`dgm finetune`: from an export to a model folder that chats, and what it leaves and refuses."""

from __future__ import annotations

import json
import pkgutil
import random
import re
import shutil
import stat
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dialogue_generation_models.checkpoint.folder import load_folder, save_folder
from dialogue_generation_models.cli.main import main
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.data.stored import (
    USES,
    PreparedDataset,
    decode_dialogues,
    read_uses,
)
from dialogue_generation_models.errors import TrainingError
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer
from dialogue_generation_models.training.interruption import only_trainer

pytestmark = pytest.mark.usefixtures("empty_pictures")

ME, OTHER = "나래", "가람"
PHONE = "010-2345-6789"
ASKED = ["오늘 뭐 먹을까", "영화 볼래", "내일 보자", "힘들다 쉬고 싶어", "재밌는 거 있대"]
ANSWERED = ["그래 내일 보자", "진짜 재밌는 영화", "좀 쉬고 싶어", "안녕하세요 반갑습니다"]
# What the tests need nothing of, and what takes long.
SETTINGS = "parts = 2\n[scrub]\nname_models = false\n[dedup]\nnear = false\nkeep_dialogues = 0\n"
FAST = ["--set", "epochs=1", "--set", "batch_size=8", "--set", "precision=float32"]


def write_export(path: Path, days: int) -> Path:
    chooser = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{OTHER} 님과 카카오톡 대화\n저장한 날짜 : 2022-11-03 10:44:52\n\n")
        for day in range(days):
            file.write(
                f"--------------- 2020년 {1 + day // 28}월 {1 + day % 28}일 일요일 ---------------\n"
            )
            for n in range(3):
                asked, answered = chooser.choice(ASKED), chooser.choice(ANSWERED)
                file.write(f"[{OTHER}] [오전 9:{2 * n:02d}] {asked} {chooser.randrange(99)}\n")
                file.write(f"[{ME}] [오전 9:{2 * n + 1:02d}] {answered} {chooser.randrange(99)}\n")
        ask = f"내일 저녁에 우리 집에 만나러 오다가 혹시 길을 잃어버리면 바로 여기로 전화해 줘 알았지 {PHONE}"
        file.write(f"[{OTHER}] [오전 9:30] {ask}\n[{ME}] [오전 9:31] 그래 저장할게\n")
    return path


def write_base(folder: Path, tokenizer: Tokenizer | None, seed: int) -> None:
    """Write the model to begin with."""
    assert tokenizer is not None
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size, n_ctx=64, n_embd=32, n_layer=2, n_head=4, n_inner=64
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT(config)
    card = "---\nlicense: mit\n---\nA card.\n"
    save_folder(folder, model, tokenizer, DecodingConfig(max_tokens=6), card=card)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    """A folder with an export, settings, and a model to begin with; for `place` to copy."""
    folder = tmp_path_factory.mktemp("finetune")
    write_export(folder / "chat.txt", 120)
    (folder / "prep.toml").write_text(SETTINGS, encoding="utf-8")
    write_base(folder / "base", tiny_tokenizer, seed=0)
    return folder


@pytest.fixture(scope="module")
def finished(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fine-tuned model and its run; for `bot` to copy."""
    folder = tmp_path_factory.mktemp("finished") / "place"
    assert main(call(Path(shutil.copytree(material, folder)), "bot", "--me", ME)) == 0
    return folder


@pytest.fixture
def place(material: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with an export, settings, and a model to begin with."""
    return Path(shutil.copytree(material, tmp_path / "place"))


@pytest.fixture
def bot(place: Path, finished: Path) -> Path:
    """A fine-tuned model in the test's own folder, its run beside it."""
    shutil.copytree(finished / "bot.run", place / "bot.run")
    return Path(shutil.copytree(finished / "bot", place / "bot"))


def call(place: Path, output: str, *options: str, export: str = "chat.txt") -> list[str]:
    where = ["--model", str(place / "base"), "-o", str(place / output), "--device", "cpu"]
    preparation = ["--config", str(place / "prep.toml"), "--i-have-consent"]
    return ["finetune", str(place / export), *where, *preparation, *FAST, *options]


def test_an_export_becomes_a_model_that_chats_and_says_what_was_gained(bot: Path) -> None:
    loaded, base = load_folder(bot), load_folder(bot.parent / "base")
    assert loaded.tokenizer is not None
    assert loaded.decoding == base.decoding
    changed = [
        name
        for name, weight in base.model.state_dict().items()
        if not torch.equal(weight.bfloat16(), loaded.model.state_dict()[name].bfloat16())
    ]
    assert len(changed) > 20
    card = (bot / "README.md").read_text(encoding="utf-8")
    assert 'base_model: "base"' in card
    assert "Weights under the licence mit." in card
    assert "| private, vouched for by who prepared it |" in card
    assert re.search(r"\| time \| [\d.]+ minutes \|", card)
    row = next(line for line in card.splitlines() if line.startswith("| perplexity per token"))
    before, after = (float(cell) for cell in row.split("|")[2:4])
    assert after < 0.9 * before


def test_only_what_is_scrubbed_stays_and_it_stays_private(bot: Path, finished: Path) -> None:
    run = bot.with_name("bot.run")
    if sys.platform != "win32":
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
    names = sorted(path.name for path in run.iterdir() if path.name != ".lock")
    assert names == [
        "base-evaluation.json",
        "data",
        "data.json",
        "evaluation.json",
        "log.jsonl",
        "options.json",
        "recipe.json",
        "report.html",
        "tokenizer.model",
    ]
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    assert (recipe["start_from"], recipe["data_root"]) == ("base", run.name)
    dataset = PreparedDataset(run / "data")
    texts = [
        t for s in ("train", "valid") for turns, _ in decode_dialogues(dataset, s) for t in turns
    ]
    assert dataset.manifest["sources"][0]["scrub"]["counts"]["phone"] == 1
    assert not any(PHONE in text for text in texts)
    for path in [*run.rglob("*"), *bot.iterdir()]:
        if path.is_file():
            content = path.read_bytes()
            assert not any(word.encode() in content for word in (ME, OTHER, PHONE)), path.name
            if path.name != USES:  # by which `dgm data forget` finds this run
                assert str(finished).encode() not in content, path.name


def test_replies_of_me_alone_are_learnt(bot: Path, finished: Path) -> None:
    dataset = PreparedDataset(bot.with_name("bot.run") / "data")
    learnt = [
        text
        for split in ("train", "valid")
        for texts, is_reply in decode_dialogues(dataset, split)
        for text, mine in zip(texts, is_reply, strict=True)
        if mine
    ]
    assert len(learnt) > 300
    assert all(text.startswith((*ANSWERED, "그래 저장할게")) for text in learnt)
    assert [use["run"] for use in read_uses(dataset.folder)] == [str(finished / "bot.run")]


def stop_after_a_step(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """Give a command and press Ctrl+C in the first step of its training."""

    @contextmanager
    def stop_at_once() -> Iterator[object]:
        yield lambda: True

    with monkeypatch.context() as patch:
        patch.setattr("dialogue_generation_models.training.run.stop_after_step", stop_at_once)
        assert main(command) == 130


def first_key(run: Path) -> str:
    """What each preparation draws anew."""
    return (run / "data" / "speakers.key").read_text()


def test_a_stopped_call_goes_on_and_ends_like_a_straight_one(
    place: Path, bot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after_a_step(monkeypatch, call(place, "again", "--me", ME))
    assert "The same command goes on" in capsys.readouterr().err
    assert not (place / "again").exists()
    assert main(call(place, "again", "--me", ME)) == 0
    expected, found = (load_folder(place / name).model.state_dict() for name in ("bot", "again"))
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())


def test_a_stopped_call_is_refused_other_options_and_overwrite_begins_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = call(place, "other", "--me", ME)
    stop_after_a_step(monkeypatch, stopped)
    key = first_key(place / "other.run")
    options = ["--set", "max_steps=1", "--set", "patience=2"]
    assert main([*stopped, *options]) == 2
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert "changed: --set max_steps)" in refusal
    assert "give the same to go on" in refusal
    assert "--overwrite to begin anew" in refusal
    assert main([*call(place, "other", "--me", OTHER)]) == 2
    assert "add --overwrite to begin anew" in capsys.readouterr().err
    write_base(place / "elsewhere" / "base", load_folder(place / "base").tokenizer, seed=1)
    assert main([*stopped, "--model", str(place / "elsewhere" / "base")]) == 2
    assert "changed: --model)" in capsys.readouterr().err
    assert first_key(place / "other.run") == key
    assert main([*stopped, *options, "--overwrite"]) == 0
    assert first_key(place / "other.run") != key
    card = (place / "other" / "README.md").read_text(encoding="utf-8")
    assert "| steps | 1 |" in card


def test_a_stopped_overwriting_goes_on_by_the_same_command_and_keeps_the_older_model(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["--me", ME, "--set", "max_steps=2"]
    assert main(call(place, "twice", *short)) == 0
    older = (place / "twice" / "model.safetensors").read_bytes()
    again = call(place, "twice", *short, "--set", "seed=1", "--overwrite")
    stop_after_a_step(monkeypatch, again)
    assert (place / "twice" / "model.safetensors").read_bytes() == older
    key = first_key(place / "twice.run")
    assert main(again) == 0
    assert first_key(place / "twice.run") == key
    assert (place / "twice" / "model.safetensors").read_bytes() != older
    assert main(again) == 0
    assert first_key(place / "twice.run") != key


def test_overwrite_takes_other_inputs_in_the_place_of_unfinished_ones(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after_a_step(monkeypatch, call(place, "inputs", "--me", ME))
    assert main(call(place, "inputs", "--me", OTHER, "--set", "max_steps=1", "--overwrite")) == 0


def test_nobody_else_trains_in_the_run_until_the_model_is_in_its_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the data are prepared and measured, and while the model is saved."""
    seen = []

    def watch(module: str, name: str) -> None:
        path = f"dialogue_generation_models.{module}.{name}"
        real = pkgutil.resolve_name(path)

        def watched(*given: object, **named: object) -> object:
            with pytest.raises(TrainingError, match="Another process"):
                only_trainer(place / "held.run").__enter__()
            seen.append(name)
            return real(*given, **named)

        monkeypatch.setattr(path, watched)

    watch("training.finetuning", "prepare")
    watch("training.finetuned", "evaluate")
    watch("training.finetuned", "save_folder")
    assert main(call(place, "held", "--me", ME, "--set", "max_steps=1")) == 0
    assert seen == ["prepare", "evaluate", "evaluate", "save_folder"]


def test_texts_left_by_a_call_that_was_killed_while_tidying_up_go_away(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # the data set is in place, its work folder is still whole
        patch.setattr("dialogue_generation_models.data.manifest.shutil.rmtree", stop)
        assert main(call(place, "tidy", "--me", ME)) == 130
    run = place / "tidy.run"
    left = [path for path in (run / ".data.work").rglob("*") if path.is_file()]
    assert any(PHONE.encode() in path.read_bytes() for path in left)
    assert main(call(place, "tidy", "--me", ME, "--set", "max_steps=1")) == 0
    assert not (run / ".data.work").exists()


def test_a_model_that_was_removed_is_made_again_by_the_same_command(place: Path, bot: Path) -> None:
    """Also where the log and the base's figures are damaged."""
    expected = load_folder(bot).model.state_dict()
    shutil.rmtree(bot)
    run = bot.with_name("bot.run")
    (run / "log.jsonl").unlink()
    (run / "base-evaluation.json").write_text("{", encoding="utf-8")
    assert main(call(place, "bot", "--me", ME)) == 0
    found = load_folder(bot).model.state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())


def test_a_data_set_is_learnt_from_where_it_is(place: Path, bot: Path) -> None:
    dataset = bot.with_name("bot.run") / "data"
    where = ["--model", str(place / "base"), "-o", str(place / "from-data"), "--device", "cpu"]
    assert main(["finetune", "--data", str(dataset), *where, *FAST]) == 0
    expected, found = (
        load_folder(place / name).model.state_dict() for name in ("bot", "from-data")
    )
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())
    assert not (place / "from-data.run" / "data").exists()


def test_adapters_are_merged_into_the_folder_and_left_alone_where_asked(
    place: Path, bot: Path
) -> None:
    pytest.importorskip("peft")
    from dialogue_generation_models.training.lora import load_adapter, merge

    dataset = bot.with_name("bot.run") / "data"
    where = ["--model", str(place / "base"), "-o", str(place / "lora"), "--device", "cpu"]
    adapters = ["--lora", "--lora-rank", "2", "--keep-adapter", "--set", "max_steps=4"]
    assert main(["finetune", "--data", str(dataset), *where, *FAST, *adapters]) == 0
    base, found = (load_folder(place / name).model for name in ("base", "lora"))
    card = (place / "lora" / "README.md").read_text(encoding="utf-8")
    assert "--data DATASET --model base -o lora --set " in card
    assert "--set lora.rank=2" in card
    assert "--set max_steps=4" in card
    assert torch.equal(found.token_embedding.weight, base.token_embedding.weight.bfloat16().float())
    merged = merge(load_adapter(base, place / "lora.run" / "adapter"))
    for name, weight in found.state_dict().items():
        assert torch.equal(weight, merged.state_dict()[name].bfloat16().float()), name


def test_a_private_run_says_what_it_spent(
    place: Path, bot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opacus")
    dataset = bot.with_name("bot.run") / "data"
    where = ["--model", str(place / "base"), "-o", str(place / "private"), "--device", "cpu"]
    private = ["--dp-epsilon", "8", "--set", "max_steps=5"]
    assert main(["finetune", "--data", str(dataset), *where, *FAST, *private]) == 0
    said = re.search(r"epsilon ([\d.]+) for each dialogue", capsys.readouterr().out)
    assert said is not None
    assert 6.0 < float(said[1]) <= 8.0
    card = (place / "private" / "README.md").read_text(encoding="utf-8")
    assert f"epsilon {said[1]} at delta 1e-05 for each of the " in card
    log = (place / "private.run" / "log.jsonl").read_text(encoding="utf-8")
    assert '"unit": "dialogue"' in log


def test_an_older_model_is_replaced_only_when_asked_and_only_when_the_new_one_is_whole(
    place: Path, bot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bot / "model.safetensors").read_bytes()
    assert main(call(place, "bot", "--me", ME)) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert (bot / "model.safetensors").read_bytes() == before
    run = bot.with_name("bot.run")
    files = sorted(run.rglob("*"))
    wrong = [["--me", "아무개"], ["--me", ME, "--model", "no-such-model"]]
    assert [main(call(place, "bot", *options, "--overwrite")) for options in wrong] == [1, 1]
    own = ["--data", str(run / "data"), "--model", str(place / "base"), "-o", str(bot)]
    assert main(["finetune", *own, "--overwrite"]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert sorted(run.rglob("*")) == files
    shorter = ["--me", ME, "--overwrite", "--set", "max_steps=2"]
    assert main(call(place, "bot", *shorter)) == 0
    assert (bot / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--me", "아무개"], 1, "None of the 2 speakers"),
        (["--data", "somewhere"], 2, "either files to learn from or --data"),
        (["--set", "epochs=0"], 2, "epochs"),
        (["--set", "rate=1"], 2, "Unknown field 'rate'"),
        (["--set", "lora.rank=0"], 2, "rank"),
        (["--set", "lora.rnk=1"], 2, "rnk"),
        (["--dp-epsilon", "-1"], 2, "epsilon"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    assert main(call(place, "refused", *options)) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert not any(name in error for name in (ME, OTHER, "아무개"))
    assert not (place / "refused").exists()
    assert not (place / "refused.run").exists()


def test_a_small_export_is_refused_and_nothing_is_kept_of_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(place / "small.txt", 12)
    (place / "broken.jsonl").write_text(
        '{"비밀\n{"turns": [{"speaker": "A", "text": "안녕하세요"}, {"speaker": "B", "text": "반가워요"}]}\n',
        encoding="utf-8",
    )
    broken = str(place / "broken.jsonl")
    assert main(call(place, "small", "--me", ME, broken, export="small.txt")) == 1
    printed = capsys.readouterr()
    assert "replies to learn" in printed.err
    assert "file 1: unparsed and left out: 1 (line 1)." in printed.out
    assert "비밀" not in printed.out + printed.err
    assert not list(place.glob("*small*.run"))


def test_a_file_that_cannot_be_read_is_not_passed_over(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "other.txt").write_text("이것은 대화가 아니다\n", encoding="utf-8")
    assert main(call(place, "unread", str(place / "other.txt"))) == 1
    assert "mend it or leave it out" in capsys.readouterr().err
    assert not (place / "unread.run").exists()
    (place / "unread.run" / ".data.work").mkdir(parents=True)  # as if a first call had been stopped
    for _ in range(2):
        assert main(call(place, "unread", str(place / "other.txt"))) == 1
    assert "mend it or leave it out" in capsys.readouterr().err.splitlines()[-1]
    assert not (place / "unread.run" / "data").exists()


def test_another_tokenizer_is_refused(
    place: Path, bot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    dataset = bot.with_name("bot.run") / "data"
    options = ["--model", "gpt-mini-ko", "-o", str(place / "x"), "--device", "cpu"]
    assert main(["finetune", "--data", str(dataset), *options]) == 1
    assert "another tokenizer" in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


def test_who_was_forgotten_does_not_come_back_by_overwriting(
    place: Path, bot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = bot.with_name("bot.run") / "data" / "forgotten.jsonl"
    record.write_text("{}\n", encoding="utf-8")
    assert main(call(place, "bot", "--me", ME, "--overwrite")) == 2
    assert "would bring them back" in capsys.readouterr().err
    assert record.exists()


def test_a_run_of_other_inputs_is_not_gone_on_with(
    place: Path, bot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(bot)
    assert main(call(place, "bot", "--me", OTHER)) == 2
    assert "other inputs or settings" in capsys.readouterr().err


def test_the_name_is_found_in_any_unicode_form(place: Path) -> None:
    from dialogue_generation_models.data.owner import find_owner
    from dialogue_generation_models.data.sources import find_sources

    sources = find_sources([place / "chat.txt"], [], has_consent=True)
    assert find_owner(sources, [unicodedata.normalize("NFD", f" {ME}"), "나"]) == [ME, "나"]
