"""What a preparation promises: splits, copies, people, consent; and that training reads what it wrote."""

from __future__ import annotations

import json
import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

import dialogue_generation_models.files as files_module
from dialogue_generation_models.config.model import GPTConfig, MeenaConfig
from dialogue_generation_models.config.preparation import (
    ExecutorConfig,
    SourceStatement,
    preparation_config,
)
from dialogue_generation_models.data.consent import check_statement, find_statement
from dialogue_generation_models.data.dataset import (
    PackedRows,
    ReplyPairs,
    dialogue_samples,
    text_samples,
)
from dialogue_generation_models.data.forget import forget, list_speakers, speaker_id
from dialogue_generation_models.data.manifest import describe_reading, unread_files
from dialogue_generation_models.data.preparation import Order, prepare
from dialogue_generation_models.data.review import read_review, wilson, write_review
from dialogue_generation_models.data.shards import (
    FIELDS,
    StoredDialogue,
    make_shard,
    open_shard,
    write_shard,
)
from dialogue_generation_models.data.sources import find_sources, tell_kind
from dialogue_generation_models.data.split import choose_rooms
from dialogue_generation_models.data.steps import Job, count_part, read_source
from dialogue_generation_models.data.stored import (
    PreparedDataset,
    StoredRows,
    StoredSamples,
    decode_dialogues,
    read_uses,
)
from dialogue_generation_models.errors import ConfigError, DataError, UsageError
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

Prepare = Callable[..., dict[str, Any]]
LICENCE = [{"path": "*", "license": "CC0-1.0"}]
SAID = [
    "오늘 뭐 먹을까",
    "저녁에 영화 볼래",
    "아 진짜 힘들다 좀 쉬고 싶어",
    "그래 그럼 내일 보자",
    "안녕하세요 반갑습니다",
    "재밌는 거 있대",
]


@pytest.fixture
def prepared(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Prepare:
    """Prepare inputs into `tmp_path/set` (or `name`) and return the manifest."""
    tokenizer = tmp_path / "tokenizer.model"
    tokenizer.write_bytes(tiny_tokenizer.to_bytes())

    def make(*inputs: Path, name: str = "set", **settings: Any) -> dict[str, Any]:
        table = {
            "sources": LICENCE,
            "parts": 2,
            "dedup": {"near": False},
            "scrub": {"name_models": False},
            "validation_percent": 20.0,
            **settings,
        }
        has_consent = table.pop("has_consent", False)
        overwrite = table.pop("overwrite", True)
        order = Order(
            inputs=inputs,
            output=tmp_path / name,
            tokenizer=tokenizer,
            tool="test",
            has_consent=has_consent,
            overwrite=overwrite,
            executor=ExecutorConfig(),
        )
        manifest = prepare(
            order, preparation_config(table, None), lambda *_: nullcontext(lambda stage: None)
        )
        assert manifest is not None
        return manifest

    return make


def dialogue_lines(path: Path, dialogues: Sequence[Sequence[str]], **meta: Any) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number, texts in enumerate(dialogues):
            turns = [{"speaker": "AB"[i % 2], "text": text} for i, text in enumerate(texts)]
            record = {"id": f"{path.stem}-{number}", "turns": turns, "meta": meta}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


def talk(number: int) -> list[str]:
    """Four turns that share little with those of other numbers."""
    codes = [
        [0xAC00 + (number * 811 + i * 131 + k * 4001) % 11172 for k in range(5)] for i in range(4)
    ]
    return [f"{SAID[(number + i) % 6]} {''.join(map(chr, codes[i]))}" for i in range(4)]


def chat_lines(path: Path, rooms: dict[str, list[tuple[str, str]]]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for room, messages in rooms.items():
            said = [
                {"at": f"2024-01-{1 + i // 4:02d}T10:{i % 4:02d}:00", "speaker": who, "text": text}
                for i, (who, text) in enumerate(messages)
            ]
            record = {"id": room, "source": "test", "title": room, "messages": said}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


def room_talk(people: tuple[str, str], seed: int) -> list[tuple[str, str]]:
    texts = [text for n in range(5) for text in talk(seed * 5 + n)]
    return [(people[i % 2], text) for i, text in enumerate(texts)]


def all_text(folder: Path) -> list[str]:
    dataset = PreparedDataset(folder)
    return [
        text
        for split in ("train", "valid")
        for texts, _ in decode_dialogues(dataset, split)
        for text in texts
    ]


def test_dialogues_come_out_as_they_went_in(prepared: Prepare, tmp_path: Path) -> None:
    dialogues = [talk(n) for n in range(30)]
    manifest = prepared(dialogue_lines(tmp_path / "a.jsonl", dialogues))
    assert sorted(all_text(tmp_path / "set")) == sorted(t for texts in dialogues for t in texts)
    counts = manifest["counts"]
    assert counts["train"]["dialogues"] + counts["valid"]["dialogues"] == 30
    assert counts["valid"]["dialogues"] >= 1
    assert counts["train"]["replies"] == 3 * counts["train"]["dialogues"]
    assert manifest["sources"][0]["name"] == "a"
    assert manifest["sources"][0]["files"][0]["license"] == "CC0-1.0"


def test_the_steps_add_up(prepared: Prepare, tmp_path: Path) -> None:
    dialogues = [*(talk(n) for n in range(10)), talk(0), ["이거 봐봐 여기", "http://a.example/b"]]
    (source,) = prepared(dialogue_lines(tmp_path / "a.jsonl", dialogues))["sources"]
    assert source["read"]["dialogues"] == 12
    assert source["filters"]["by_rule"] == {"drop_urls": 1}
    assert source["filters"]["dialogues_out"] == 11
    assert source["copies"]["copied_dialogues"] == 1
    assert sum(row["dialogues"] for row in source["kept"].values()) == 10


def test_near_copies_go_and_other_digits_are_no_copies(prepared: Prepare, tmp_path: Path) -> None:
    long = "주말에 친구들이랑 바다 보러 가기로 했는데 비가 온다고 해서 걱정이야 어떡하지"
    answer = "우산 챙기고 실내에서 놀 만한 곳도 하나쯤 찾아 두면 괜찮을 거야 걱정하지 마"
    dialogues = [
        [long, answer],
        [long + " ㅠ", answer],
        [long.replace("친구들", "2 친구들"), answer],
        [long.replace("친구들", "3 친구들"), answer],
    ]
    path = dialogue_lines(tmp_path / "a.jsonl", dialogues)
    off = {"profile": "unfiltered", "validation_percent": 0.01}
    copies = prepared(path, **off, dedup={})["sources"][0]["copies"]
    assert copies == {"copied_dialogues": 1, "copied_replies": 0, "copies_of_held_out": 0}
    copies = prepared(path, **off, dedup={"near": False})["sources"][0]["copies"]
    assert copies["copied_dialogues"] == 0
    copies = prepared(path, **off, dedup={"keep_replies": 2})["sources"][0]["copies"]
    assert copies["copied_replies"] == 1
    stored = PreparedDataset(tmp_path / "set").dialogues("train", 200)
    assert sorted(made.is_reply[1] for made in stored) == [True, True]


def test_texts_are_learnt_whole_and_once(prepared: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    texts = ["한 줄짜리 글입니다", "또 다른 글", "한 줄짜리 글입니다", " "]
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    talking = dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(10)])
    manifest = prepared(path, talking)
    assert manifest["counts"]["text"]["dialogues"] == 2
    assert manifest["split"]["rooms_by"] == "none"


def test_nobody_of_a_held_out_room_is_learnt_from(prepared: Prepare, tmp_path: Path) -> None:
    rooms = {f"room{n}": room_talk((f"가람{n}", f"나래{n}"), n) for n in range(8)}
    rooms |= {"room8": room_talk(("가람0", "다온"), 8)}
    manifest = prepared(chat_lines(tmp_path / "c.jsonl", rooms), has_consent=True)
    assert manifest["split"]["rooms_by"] == "speakers"
    assert manifest["counts"]["valid"]["dialogues"] > 0
    folder = tmp_path / "set"
    dataset = PreparedDataset(folder)
    people: dict[str, set[int]] = {}
    for split in ("train", "valid"):
        shards = [open_shard(folder / split, f"{part:05d}") for part in range(2)]
        people[split] = {number for shard in shards for number in shard.speakers.tolist()}
        assert len(dataset.dialogues(split, 64)) == manifest["counts"][split]["dialogues"]
    assert people["valid"].isdisjoint(people["train"])


def test_one_room_is_held_out_by_dialogues(prepared: Prepare, tmp_path: Path) -> None:
    path = chat_lines(tmp_path / "c.jsonl", {"r": room_talk(("가람", "나래"), 0)})
    assert prepared(path, has_consent=True)["split"]["rooms_by"] == "dialogues"


def test_rooms_that_share_people_go_together() -> None:
    rooms = [(f"r{n}", frozenset({f"p{n}", f"p{n + 1}"})) for n in range(3)]
    alone = [(f"s{n}", frozenset({f"q{n}"})) for n in range(7)]
    chosen = choose_rooms([*rooms, *alone], 30.0, 50.0)
    assert chosen is not None
    assert not chosen & {"r0", "r1", "r2"} or {"r0", "r1", "r2"} <= chosen
    assert 1 <= len(chosen) <= 4
    assert choose_rooms(rooms, 5.0, 20.0) is None
    assert choose_rooms([], 5.0, 20.0) is None
    smallest = choose_rooms([*rooms, *rooms, ("s", frozenset())], 1.0, 20.0)
    assert smallest == {"s"}


def test_copies_of_held_out_exchanges_are_not_learnt(prepared: Prepare, tmp_path: Path) -> None:
    same = [
        "이 문장은 모두 같은 말로 시작하는 아주 긴 문장이에요",
        "그리고 대답도 모두 같은 말이에요",
    ]
    dialogues = [
        [*same, f"{'가나다라마바사아자차'[n]} 이야기로 끝나요", f"네 {n}"] for n in range(10)
    ]
    path = dialogue_lines(tmp_path / "a.jsonl", dialogues)
    manifest = prepared(path, profile="unfiltered")
    held = manifest["counts"]["valid"]["dialogues"]
    assert held > 0
    assert manifest["sources"][0]["copies"]["copies_of_held_out"] == 10 - held
    assert "train" not in manifest["counts"]


def test_greetings_are_no_copies_of_held_out_exchanges(prepared: Prepare, tmp_path: Path) -> None:
    hello = ["はじめまして、よろしくお願いします", "こちらこそよろしく"]
    path = dialogue_lines(tmp_path / "a.jsonl", [[*hello, *talk(n)] for n in range(20)])
    copies = prepared(path, profile="unfiltered")["sources"][0]["copies"]
    assert copies["copies_of_held_out"] == 0
    copies = prepared(path, profile="unfiltered", shared_letters=10)["sources"][0]["copies"]
    assert copies["copies_of_held_out"] > 10


NAMED = {
    "turns": ("turns", "speaker", "text"),
    "messages": ("messages", "role", "content"),
    "ShareGPT": ("conversations", "from", "value"),
}


@pytest.mark.parametrize("form", NAMED)
@pytest.mark.parametrize("meta", [{}, {"room": "r"}, {"room": 7}])
def test_names_of_a_dialogues_speakers_go_from_its_text(
    prepared: Prepare, tmp_path: Path, form: str, meta: dict[str, Any]
) -> None:
    field, speaker, text = NAMED[form]
    said = [("최나래", "나 왔어 어디야 지금"), ("김민준", "나래야 같이 가자 기다릴게")]
    talks = [[*said, *zip(["최나래", "김민준"] * 2, talk(n), strict=True)] for n in range(6)]
    records = [
        {"id": f"d{n}", field: [{speaker: who, text: what} for who, what in lines], "meta": meta}
        for n, lines in enumerate(talks)
    ]
    path = tmp_path / "named.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    prepared(path, filters={"max_repeats": 0})
    written = [text for text in all_text(tmp_path / "set") if "같이 가자" in text]
    assert written
    assert all("나래" not in text and "야 같이 가자" in text for text in written)
    assert "민준" not in "".join(all_text(tmp_path / "set"))


def test_roles_of_a_corpus_stay_words(prepared: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for n in range(6):
            texts = [f"{text} 고객님 상담사 연결할게요" for text in talk(n)]
            turns = [
                {"speaker": ("고객", "상담사 2")[i % 2], "text": t} for i, t in enumerate(texts)
            ]
            file.write(json.dumps({"id": f"c{n}", "turns": turns}, ensure_ascii=False) + "\n")
    prepared(path)
    assert all("고객님 상담사 연결" in text for text in all_text(tmp_path / "set"))


def test_only_me_is_learnt(prepared: Prepare, tmp_path: Path) -> None:
    path = chat_lines(tmp_path / "c.jsonl", {"r": room_talk(("가람", "나래"), 0)})
    everybody = prepared(path, has_consent=True)["counts"]["train"]
    mine = prepared(path, has_consent=True, sessions={"me": "나래"})
    assert mine["counts"]["train"]["replies"] < everybody["replies"]
    assert "나래" not in json.dumps(mine, ensure_ascii=False)
    other = chat_lines(tmp_path / "o.jsonl", {"s": room_talk(("다온", "나"), 1)})
    both = prepared(path, other, has_consent=True, sessions={"me": ["나래", "나", "아무개"]})
    one = prepared(path, other, has_consent=True, sessions={"me": ["나래"]})
    assert both["counts"]["train"]["replies"] > one["counts"]["train"]["replies"]
    assert [source["read"]["rooms_without_me"] for source in both["sources"]] == [0, 0]
    assert "나래" not in json.dumps(both, ensure_ascii=False)


def test_the_same_inputs_give_the_same_shards(prepared: Prepare, tmp_path: Path) -> None:
    path = chat_lines(
        tmp_path / "c.jsonl", {f"r{n}": room_talk((f"가{n}", f"나{n}"), n) for n in range(6)}
    )
    one = prepared(path, name="one", has_consent=True)["files"]
    two = prepared(path, name="two", has_consent=True)["files"]
    shards = [name for name in one if name.endswith(".npy")]
    assert len(shards) == 3 * 2 * len(FIELDS)
    assert all(one[name] == two[name] for name in shards)
    assert one["speakers.json"] != two["speakers.json"], "pseudonyms are the data set's own"


def test_no_name_and_no_text_leaves_the_shards(prepared: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "가람과의 대화.jsonl"
    chat_lines(path, {f"나래의 방{n}": room_talk((f"가람{n}", f"나래{n}"), n) for n in range(6)})
    prepared(path, has_consent=True)
    folder = tmp_path / "set"
    for name in ("manifest.json", "report.html", "speakers.json"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "가람" not in text, name
        assert "먹을까" not in text, name
    assert not (tmp_path / ".set.work").exists()


@pytest.mark.parametrize("is_text", [False, True])
def test_stored_rows_equal_rows_in_memory(
    prepared: Prepare, tmp_path: Path, tiny_tokenizer: Tokenizer, is_text: bool
) -> None:
    config = GPTConfig(
        vocab_size=tiny_tokenizer.vocab_size, n_ctx=48, n_embd=8, n_layer=1, n_head=1, n_inner=8
    )
    texts = tmp_path / "t.jsonl"
    lines = [json.dumps({"text": " ".join(talk(n))}) + "\n" for n in range(12)]
    texts.write_text("".join(lines), encoding="utf-8")
    prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(30)]), texts)
    dataset = PreparedDataset(tmp_path / "set")
    stored = dataset.dialogues("text" if is_text else "train", 1000 if is_text else 20)
    if is_text:
        tokenizer = Tokenizer.from_file(dataset.tokenizer)
        words = [tokenizer.decode(list(made.turns[0])) for made in stored]
        samples = list(text_samples(words, tokenizer, config))
    else:
        samples = list(dialogue_samples(list(stored), config))
    lazy = StoredSamples(stored, config, is_text=is_text)
    assert list(lazy) == samples
    assert lazy.lengths.tolist() == [len(sample.input_ids) for sample in samples]
    in_memory = PackedRows(samples, config, batch_size=3, seed=5)
    on_disk = StoredRows(lazy, config, batch_size=3, seed=5)
    assert on_disk.batches_per_epoch == in_memory.batches_per_epoch
    for number in range(2 * in_memory.batches_per_epoch):
        one, two = in_memory.batch(number), on_disk.batch(number)
        np.testing.assert_array_equal(one.labels, two.labels)
        for name, ids in one.inputs.items():
            np.testing.assert_array_equal(ids, two.inputs[name])


def test_stored_pairs_equal_pairs_in_memory(
    prepared: Prepare, tmp_path: Path, tiny_meena: Any
) -> None:
    config = tiny_meena.config
    assert isinstance(config, MeenaConfig)
    prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(20)]))
    stored = PreparedDataset(tmp_path / "set").dialogues("train", 31)
    one, two = (ReplyPairs(d, config, 4, 3) for d in (stored, list(stored)))
    for number in range(one.batches_per_epoch):
        for name, ids in one.batch(number).inputs.items():
            np.testing.assert_array_equal(ids, two.batch(number).inputs[name])
    assert one.batch(0).inputs["context_ids"].shape[1] <= 32


def test_turns_that_a_model_cannot_hold_are_cut_and_not_learnt(
    prepared: Prepare, tmp_path: Path
) -> None:
    prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(20)]))
    stored = PreparedDataset(tmp_path / "set").dialogues("train", 5)
    assert {len(turn) for made in stored for turn in made.turns} == {5}
    assert not any(reply for made in stored for reply in made.is_reply)


def test_a_source_is_repeated_in_training_alone(prepared: Prepare, tmp_path: Path) -> None:
    path = dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(20)])
    said = [{"path": "a.jsonl", "license": "MIT", "repeat": 3}]
    counts = prepared(path, sources=said)["counts"]
    dataset = PreparedDataset(tmp_path / "set")
    assert len(dataset.dialogues("train", 64)) == 3 * counts["train"]["dialogues"]
    assert len(dataset.dialogues("valid", 64)) == counts["valid"]["dialogues"]


def test_forgetting_a_person(prepared: Prepare, tmp_path: Path) -> None:
    rooms = {f"r{n}": room_talk((f"가람{n}", f"나래{n}"), n) for n in range(6)}
    prepared(chat_lines(tmp_path / "c.jsonl", rooms), has_consent=True)
    folder = tmp_path / "set"
    before = all_text(folder)
    who = speaker_id(folder, "나래3")
    (found,) = [speaker for speaker in list_speakers(folder) if speaker.id == who]
    (room,) = found.rooms
    assert room.startswith("room-")  # the id was no import's, and may have told a name
    PreparedDataset(folder).note_use("my-bot", tmp_path / "run")
    hash_before = PreparedDataset(folder).sha256
    removal = forget(folder, who)
    after = all_text(folder)
    gone = [text for text in before if text not in after]
    assert found.turns <= removal.turns == len(removal.hashes)
    assert len(before) - len(after) >= removal.turns
    assert {text for _, text in rooms["r3"][1::2]} <= set(gone)
    assert all(text in after for room in ("r1", "r2") for _, text in rooms[room][4:8])
    assert [use["model"] for use in removal.models] == ["my-bot"]
    assert who not in {speaker.id for speaker in list_speakers(folder)}
    dataset = PreparedDataset(folder)
    dataset.verify()
    assert dataset.sha256 != hash_before
    assert sum(row["turns"] for row in dataset.manifest["counts"].values()) == len(after)
    assert dataset.manifest["forgotten"][0]["manifest_before"] == hash_before
    assert read_uses(folder)[0]["manifest_sha256"] == hash_before
    record = json.loads((folder / "forgotten.jsonl").read_text(encoding="utf-8"))
    assert record["hashes"] == list(removal.hashes)
    with pytest.raises(DataError, match="Nobody"):
        forget(folder, who)


def test_without_the_key_no_name_leads_to_an_id(prepared: Prepare, tmp_path: Path) -> None:
    prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(10)]))
    (tmp_path / "set" / "speakers.key").unlink()
    with pytest.raises(DataError, match="without it"):
        speaker_id(tmp_path / "set", "가람")


def test_people_of_a_corpus_can_be_forgotten_too(prepared: Prepare, tmp_path: Path) -> None:
    path = dialogue_lines(
        tmp_path / "a.jsonl", [talk(n) for n in range(9)], interlocutors=["X", "Y"]
    )
    prepared(path)
    people = {speaker.id: speaker.turns for speaker in list_speakers(tmp_path / "set")}
    assert sorted(people.values()) == [18, 18]


TIMED = '{"id": "r", "messages": [{"at": "%s", "speaker": "가람", "text": "안녕"}]}'


@pytest.mark.parametrize("kind", ["dialogues", "chats", "texts"])
def test_broken_lines_of_a_corpus_are_left_out_and_counted(
    prepared: Prepare, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.jsonl"
    if kind == "dialogues":
        dialogue_lines(path, [talk(n) for n in range(9)])
    elif kind == "chats":
        chat_lines(path, {f"r{n}": room_talk(("가람", "나래"), n) for n in range(9)})
    else:
        texts = [json.dumps({"text": " ".join(talk(n))}) for n in range(9)]
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    whole = path.read_bytes()
    expected = prepared(path, name="whole", has_consent=True)["counts"]
    damaged = ["{비밀".encode(), b"[]", '{"a": "비밀'.encode(), b'{"turns": [1]}']
    damaged += [whole.splitlines()[3][:-9] + b'\xff"}]}', (TIMED % "어제").encode()]
    path.write_bytes(b"\n".join([damaged[0], whole, *damaged[1:]]))
    manifest = prepared(path, has_consent=True)
    (source,) = manifest["sources"]
    assert source["kind"] == kind
    assert source["read"]["files"][0]["unparsed"] == len(damaged)
    assert source["read"]["files"][0]["message"] == 9
    assert manifest["counts"] == expected
    assert "비밀" not in json.dumps(manifest, ensure_ascii=False)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_prepared_like_the_same_lines(
    prepared: Prepare, tmp_path: Path, indent: int | None
) -> None:
    lines = dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(9)])
    expected = prepared(lines, name="lines")["counts"]
    records = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    array = tmp_path / "a.json"
    array.write_text(json.dumps([*records, {"비밀": 1}], indent=indent), encoding="utf-8")
    manifest = prepared(array)
    assert manifest["counts"] == expected
    (note,) = describe_reading(manifest)
    assert note == "a, file 1: unparsed and left out: 1 (entry 10)."


def test_a_corpus_of_broken_lines_alone_is_an_error(prepared: Prepare, tmp_path: Path) -> None:
    good = dialogue_lines(tmp_path / "good.jsonl", [talk(n) for n in range(9)])
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"turns": [{"speaker": "비밀"}]}\n' * 3, encoding="utf-8")
    with pytest.raises(DataError, match=r"Nothing was read.*none of its lines could be read"):
        prepared(bad)
    manifest = prepared(good, bad)
    assert unread_files(manifest) == [
        "bad, file 1: none of its lines could be read; check that it is the right file, and mend it."
    ]
    assert manifest["counts"]["train"]["dialogues"] > 0


def test_people_whom_a_corpus_names_can_be_forgotten_by_name(
    prepared: Prepare, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    pairs = [("최나래", "Grace"), ("user", "assistant"), ("최나래", "상담사 2"), ("화자 A", "별")]
    with path.open("w", encoding="utf-8") as file:
        for n in range(16):
            turns = [
                {"speaker": pairs[n % 4][i % 2], "text": text} for i, text in enumerate(talk(n))
            ]
            file.write(json.dumps({"turns": turns}, ensure_ascii=False) + "\n")
    chat = chat_lines(tmp_path / "c.jsonl", {"r": room_talk(("최나래", "가람"), 9)})
    prepared(path, chat, has_consent=True)
    folder = tmp_path / "set"
    found = {speaker.id: speaker.dialogues for speaker in list_speakers(folder)}
    known = {name: speaker_id(folder, name) for name in ("최나래", "Grace", "가람")}
    assert set(found) == set(known.values())
    assert found[known["Grace"]] == 4
    removal = forget(folder, known["최나래"])
    assert removal.dialogues == found[known["최나래"]] > 8
    said = {text for n in range(16) if n % 2 == 0 for text in talk(n)}
    assert said.isdisjoint(all_text(folder))
    assert {text for n in (1, 3, 5) for text in talk(n)} <= set(all_text(folder))


def test_only_a_corpus_with_a_licence_is_called_by_its_file(
    prepared: Prepare, tmp_path: Path
) -> None:
    texts = tmp_path / "가람의 일기.jsonl"
    texts.write_text(json.dumps({"text": " ".join(talk(3))}) + "\n" + '{"비밀"', encoding="utf-8")
    named, own, public = (
        dialogue_lines(tmp_path / f"{name}.jsonl", [talk(10 * k + n) for n in range(9)])
        for k, name in enumerate(("가람과", "나래와", "komuchat"))
    )
    statements = [{"path": "komuchat.jsonl", "license": "MIT"}, {"path": "가람과*", "repeat": 2}]
    manifest = prepared(texts, named, own, public, sources=statements, has_consent=True)
    assert [source["name"] for source in manifest["sources"]] == [
        "texts 1",
        "dialogues 2",
        "dialogues 3",
        "komuchat",
    ]
    for name in ("manifest.json", "report.html"):
        text = (tmp_path / "set" / name).read_text(encoding="utf-8")
        assert "가람" not in text
        assert "나래" not in text


def test_what_nobody_vouches_for_is_refused(prepared: Prepare, tmp_path: Path) -> None:
    corpus = dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(10)])
    chat = chat_lines(tmp_path / "가람.jsonl", {"r": room_talk(("가람", "나래"), 0)})
    with pytest.raises(DataError, match="Input 1 has no licence"):
        prepared(corpus, sources=[])
    with pytest.raises(DataError, match="Input 2 is a private chat") as refused:
        prepared(corpus, chat)
    assert "가람" not in str(refused.value)
    assert not (tmp_path / "set").exists()
    assert prepared(corpus, chat, sources=[], has_consent=True)["vouched_for_by_user"]


def test_a_statement_stands_in_the_settings_or_beside_the_input(
    prepared: Prepare, tmp_path: Path
) -> None:
    chat = chat_lines(tmp_path / "c.jsonl", {"r": room_talk(("가람", "나래"), 0)})
    said = {"consent": "signed by both on 2024-02-01", "all_adults": True}
    (source,) = prepared(chat, sources=[{"path": "c.jsonl", **said}])["sources"]
    assert source["files"][0]["consent"] == said["consent"]
    beside = tmp_path / "c.jsonl.source.json"
    beside.write_text(json.dumps(said), encoding="utf-8")
    assert prepared(chat, sources=[])["sources"][0]["files"][0]["all_adults"] is True
    beside.write_text(json.dumps({**said, "all_adults": False}), encoding="utf-8")
    with pytest.raises(DataError, match="under age"):
        prepared(chat, sources=[], has_consent=True)
    beside.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="private chat"):
        prepared(chat, sources=[])
    beside.write_text('{"licence": "MIT"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="licence"):
        find_statement(chat, [])


def test_consent_without_age_is_none() -> None:
    said = SourceStatement(consent="yes")
    with pytest.raises(DataError, match="of age"):
        check_statement(said, "Input 1", is_private=True, has_consent=False)


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    for line, kind in (
        ('{"turns": []}', "dialogues"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "dialogues"),
        ('{"messages": [{"at": null, "speaker": "a", "text": "b"}]}', "chats"),
        ('{"conversations": [{"from": "human", "value": "a"}]}', "dialogues"),
        ('{"text": "a"}', "texts"),
        ('[{"conversations": [{"from": "human", "value": "a"}]}]', "dialogues"),
        ('[\n {"messages": [{"at": null, "speaker": "a", "text": "b"}]}\n]', "chats"),
        ('[ {"text": "a"},', "texts"),
        ("Q,A,label\n안녕,반가워,0", "pairs"),
        ("안녕\t반가워", "pairs"),
        ("2020년 1월 1일 오전 1:00, 가람 : 안녕", "export"),
    ):
        path.write_text(line + "\n", encoding="utf-8")
        assert tell_kind(path, 1) == kind
        path.write_bytes(zstandard.compress(path.read_bytes()))
        assert tell_kind(path, 1) == kind
    for first in ("{", "oops", '{"messages": []}'):
        path.write_text(
            first + '\n{"messages": [{"speaker": "a", "text": "b"}]}\n', encoding="utf-8"
        )
        assert tell_kind(path, 1) == "chats", "the first line that is whole tells"
    for content in (b"", "아무 말\n".encode(), b"\x28\xb5\x2f\xfd...."):
        path.write_bytes(content)
        assert tell_kind(path, 2) == "export"
    path.write_text('{"text": \n')
    with pytest.raises(DataError, match=r"^Input 2, line 1 is not valid JSON"):
        tell_kind(path, 2)
    path.write_text('{"other": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="input 3 is no chat"):
        tell_kind(path, 3)
    path.write_text('[{"other": 1}]', encoding="utf-8")
    with pytest.raises(DataError, match="first entry of input 4 is no chat"):
        tell_kind(path, 4)
    with pytest.raises(DataError, match="no regular file"):
        tell_kind(tmp_path, 1)


def test_pairs_are_a_corpus(prepared: Prepare, tmp_path: Path) -> None:
    pairs = [f"{SAID[n % 6]} {n},{SAID[(n + 1) % 6]} {n},0" for n in range(40)]
    path = tmp_path / "ChatbotData.csv"
    path.write_text("\n".join(["Q,A,label", *pairs, '"열린']), encoding="utf-8")
    (source,) = prepared(path)["sources"]
    assert (source["name"], source["kind"]) == ("pairs 1", "pairs")
    assert source["read"]["dialogues"] == 40
    assert source["read"]["files"][0]["unparsed"] == 1


def test_shards_come_back_and_damage_is_told(tmp_path: Path) -> None:
    dialogues = [
        StoredDialogue([[5, 6], [7]], [False, True], [1, 2], 1, 0),
        StoredDialogue([[8], [9, 10, 70_000], [11]], [False, True, True], [0, 3, 0], 0, 2),
    ]
    write_shard(make_shard(dialogues, 100_000), tmp_path, "00000")
    shard = open_shard(tmp_path, "00000")
    assert isinstance(shard.input_ids, np.memmap)
    assert shard.input_ids.tolist() == [5, 6, 7, 8, 9, 10, 70_000, 11]
    assert (shard.dialogue_ends.tolist(), shard.turn_ends.tolist()) == (
        [0, 2, 5],
        [0, 2, 3, 4, 7, 8],
    )
    assert make_shard([], 300).input_ids.dtype == np.uint16
    lengths = tmp_path / "00000.turn_lengths.npy"
    whole = lengths.read_bytes()
    lengths.write_bytes(whole[:-4])
    with pytest.raises(DataError, match="missing or damaged"):
        open_shard(tmp_path, "00000")
    np.save(lengths, np.array([1, 1, 1], dtype=np.uint32))
    with pytest.raises(DataError, match="go together"):
        open_shard(tmp_path, "00000")
    np.save(lengths, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="damaged"):
        open_shard(tmp_path, "00000")


def test_a_changed_shard_is_found(prepared: Prepare, tmp_path: Path) -> None:
    prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(20)]))
    dataset = PreparedDataset(tmp_path / "set")
    dataset.verify()
    path = tmp_path / "set" / "train" / "00000.input_ids.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="not what the manifest says"):
        dataset.verify()


def test_a_folder_that_is_no_data_set_is_left_alone(prepared: Prepare, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="no prepared data set"):
        prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(0)]))
    with pytest.raises(DataError, match="no prepared data set"):
        PreparedDataset(tmp_path / "set")


def test_a_review_is_a_sample_and_gives_a_rate(prepared: Prepare, tmp_path: Path) -> None:
    prepared(dialogue_lines(tmp_path / "a.jsonl", [talk(n) for n in range(20)]), review=10)
    path = tmp_path / "set-review.csv"
    text = path.read_text(encoding="utf-8-sig")
    assert len(text.splitlines()) == 11
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(DataError, match="Message 1 has no label"):
        read_review(path)
    path.write_text(text.replace(",,", ",n,", 9).replace(",,", ",Y,"), encoding="utf-8-sig")
    risk = read_review(path)
    assert (risk.labelled, risk.personal, risk.rate) == (10, 1, 0.1)
    assert 0.0 < risk.low < 0.1 < risk.high < 0.5


def test_wilsons_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_formulas_are_not_handed_to_spreadsheets(tmp_path: Path) -> None:
    write_review(tmp_path / "r.csv", ["=1+1", "안녕"])
    assert ",'=1+1" in (tmp_path / "r.csv").read_text(encoding="utf-8-sig")


def test_profiles_can_be_changed_rule_by_rule() -> None:
    config = preparation_config({"filters": {"max_words": 7}}, "unfiltered")
    assert (config.filters.max_words, config.filters.drop_urls) == (7, False)
    with pytest.raises(ConfigError, match="profile"):
        preparation_config({}, "clean")
    with pytest.raises(ConfigError, match="filters"):
        preparation_config({"filters": 3}, None)


def test_no_text_stays_behind(prepared: Prepare, tmp_path: Path) -> None:
    source = dialogue_lines(tmp_path / "d.jsonl", [talk(n) for n in range(8)])
    made = prepared(source)
    left = tmp_path / ".set.work" / "read"

    def leave_texts() -> None:
        """As a kill does between the move of the data set to its place and the end of its texts."""
        left.mkdir(parents=True)
        (left / "00000.jsonl").write_text("비밀", encoding="utf-8")

    leave_texts()
    with pytest.raises(UsageError, match="--overwrite"):
        prepared(source, overwrite=False, filters={"max_words": 7})
    assert not left.parent.exists()
    leave_texts()
    assert prepared(source, overwrite=False) == made, "the same call tidies up and is done"
    assert not left.parent.exists()
    with pytest.raises(UsageError, match="--overwrite"):
        prepared(source, overwrite=False)
    with pytest.raises(DataError, match="Nothing is left"):
        prepared(source, filters={"max_characters": 1})
    assert not [
        path
        for path in (tmp_path / ".set.work").rglob("*")
        if path.is_file() and path.stat().st_size
    ]


def test_a_picture_with_a_source_of_any_script_warns_nobody() -> None:
    from dialogue_generation_models.data.pictures import new_figure, picture

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = picture(new_figure("상담.csv")[0], "")
    assert "상담.csv" in shown["svg"]


def chat_job(tmp_path: Path, work: str) -> Job:
    """The work of preparing one room, in one part."""
    path = tmp_path / "chats.jsonl"
    chat_lines(path, {"방": room_talk(("김철수", "박민지"), 1)})
    config = preparation_config({"sources": LICENCE, "parts": 1}, None)
    return Job(
        work=tmp_path / work,
        config=config,
        sources=tuple(find_sources([path], config.sources, has_consent=True)),
        key=b"key",
        tokenizer=tmp_path / "tokenizer.model",
        output=tmp_path / "set",
        has_consent=True,
        tool="test",
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_task_that_runs_twice_at_once_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, job = chat_job(tmp_path, "alone"), chat_job(tmp_path, "twice")
    put_in_place = files_module.put_in_place
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        for task in (read_source, count_part):
            monkeypatch.setattr(files_module, "put_in_place", put_in_place)
            task(alone, 0)

            def put_after_the_other(
                partial: Path, place: Path, run: Callable[[Job, int], None] = task
            ) -> None:
                other.submit(run, job, 0).result()
                put_in_place(partial, place)

            monkeypatch.setattr(files_module, "put_in_place", put_after_the_other)
            task(job, 0)
    assert contents(job.work) == contents(alone.work)
    assert len(contents(job.work)) == 5
