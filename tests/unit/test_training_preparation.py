"""Recipes that prepare their sources: what is learnt went through filters, scrub and removal of copies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.data.stored import PreparedDataset, decode_dialogues, read_uses
from dialogue_generation_models.errors import ConfigError, DataError, TrainingError
from dialogue_generation_models.training.corpus import Corpus
from dialogue_generation_models.training.export import export
from dialogue_generation_models.training.preparing import own_dataset
from dialogue_generation_models.training.processes import OneProcess
from dialogue_generation_models.training.run import run
from training_material import GPT, run_recipe, write_talk

pytest.importorskip("datatrove", reason="needs the extra `data`")
PHONE = "010-2345-6789"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe with a text stage and two dialogue stages, the last of one source alone."""
    folder = write_talk(tmp_path / "sources")
    lines = [
        {"id": f"more-{i}", "turns": [{"speaker": "A", "text": q}, {"speaker": "B", "text": a}]}
        for i, (q, a) in enumerate(
            [
                *((f"{i}번 버스 언제 와?", f"{i}분 뒤에 온대, 조금만 기다려") for i in range(40)),
                ("전화번호 좀 알려 줘", f"응 내 번호는 {PHONE} 이야"),
                ("이거 봐 봐", "https://example.com/x 여기 있어"),
            ]
        )
    ]
    _write(folder / "more.jsonl", lines)
    _write(folder / "texts.jsonl", [{"text": f"오늘 본 영화는 {i}점이다"} for i in range(30)])
    base = run_recipe(folder, GPT)
    model = {**base.model.model_dump(), "n_ctx": 256}
    (stage,) = (stage.model_dump() for stage in base.stages)
    talk = {"path": "talk.jsonl", "license": "CC0-1.0"}
    more = {"path": "more.jsonl", "license": "MIT", "repeat": 2}
    text = {"path": "texts.jsonl", "license": "MIT", "limit": 20}
    settings = {"parts": 2, "scrub": {"name_models": False}, "filters": {"min_letter_share": 0}}
    stages = [
        {**stage, "name": "text", "objective": "text", "sources": [text], "steps": 2},
        {**stage, "name": "all", "sources": [talk, more], "steps": 2},
        {**stage, "name": "more", "sources": [{**more, "repeat": 3}], "steps": 2},
    ]
    return base.replace(model=model, stages=stages, preparation=settings)


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) for record in records)
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def train(
    recipe: Recipe, tmp_path: Path, empty_pictures: None
) -> Callable[[Recipe], PreparedDataset]:
    """Train in one folder, and return the data set in it."""

    def train_once(chosen: Recipe) -> PreparedDataset:
        with (tmp_path / "out").open("w") as out:
            run(chosen, tmp_path / "run", processes=OneProcess(), console=Console(file=out))
        dataset = own_dataset(chosen, tmp_path / "run")
        assert dataset is not None
        return dataset

    return train_once


def test_what_is_learnt_is_filtered_and_scrubbed(
    recipe: Recipe, train: Callable[[Recipe], PreparedDataset], tmp_path: Path
) -> None:
    dataset = train(recipe)
    texts = [
        text
        for split in ("train", "valid", "text")
        for turns, _ in decode_dialogues(dataset, split)
        for text in turns
    ]
    everything = "\n".join(texts)
    assert "버스" in everything
    assert PHONE not in everything
    assert "example.com" not in everything
    assert dataset.manifest["counts"]["text"]["dialogues"] == 20  # the source's limit
    assert read_uses(dataset.folder)[0]["model"] == recipe.name
    path = export(recipe, tmp_path / "run", command="", track=lambda *_: lambda _: None)
    card = (path / "README.md").read_text(encoding="utf-8")
    assert "the scrub of personal data" in card
    assert "personal data was replaced: 1." in card


def test_a_stage_learns_its_own_sources_as_often_as_it_says(
    recipe: Recipe, train: Callable[[Recipe], PreparedDataset]
) -> None:
    dataset = train(recipe)
    corpus = Corpus(recipe, dataset)
    counts = {
        s["number"]: s["kept"].get("train", {}).get("replies", 0)
        for s in dataset.manifest["sources"]
    }
    texts, talk, more = counts.values()
    assert texts == 0
    assert talk > 50
    assert more > 20
    tokenizer = corpus.train_tokenizer()
    learnt = []
    for config in recipe.stages[1:]:
        batches = corpus.stage(config, tokenizer, []).batches
        made = [batches.batch(number) for number in range(batches.batches_per_epoch)]
        learnt.append(
            sum(int((batch.labels == 3).sum()) for batch in made)
        )  # a reply ends with `eos`
    assert learnt == [talk + 2 * more, 3 * more]


def test_a_run_goes_on_with_the_data_set_that_it_has(
    recipe: Recipe, train: Callable[[Recipe], PreparedDataset]
) -> None:
    assert train(recipe).sha256 == train(recipe).sha256


def test_a_data_set_that_changed_or_is_damaged_is_refused(
    recipe: Recipe, train: Callable[[Recipe], PreparedDataset]
) -> None:
    folder = train(recipe).folder
    manifest = folder / "manifest.json"
    before = manifest.read_text(encoding="utf-8")
    manifest.write_text(before + "\n", encoding="utf-8")  # as `dgm data forget` writes it anew
    with pytest.raises(TrainingError, match="changed since the run began"):
        train(recipe)
    manifest.write_text(before, encoding="utf-8")
    shard = next((folder / "train").glob("*.input_ids.npy"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="not what the manifest says"):
        train(recipe)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"sources": [{"path": "talk.jsonl", "license": "MIT"}]}, "remove preparation.sources"),
        ({"profile": "polished"}, "must be one of"),
        ({"filters": {"max_words": -1}}, "max_words"),
    ],
)
def test_a_wrong_preparation_is_named(recipe: Recipe, fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        recipe.replace(preparation=fields)


def test_a_source_is_prepared_in_one_way(recipe: Recipe) -> None:
    stages = [stage.model_dump() for stage in recipe.stages]
    stages[2]["sources"][0]["reply_speaker"] = "B"
    with pytest.raises(ConfigError, match=r"prepared once; give it one reply_speaker"):
        recipe.replace(stages=stages)


def test_profiles_decide_on_the_filters(recipe: Recipe) -> None:
    loose = recipe.replace(preparation={"profile": "unfiltered", "filters": {"drop_urls": True}})
    assert loose.preparation is not None
    assert loose.preparation.filters.max_words == 0
    assert loose.preparation.filters.drop_urls
    assert Recipe(**loose.model_dump()) == loose


def test_plain_text_is_refused(recipe: Recipe, train: Callable[[Recipe], PreparedDataset]) -> None:
    (Path(recipe.data_root) / "plain.txt").write_text("안녕\n", encoding="utf-8")
    stages = [stage.model_dump() for stage in recipe.stages]
    stages[0]["sources"] = [{"path": "plain.txt", "license": "MIT"}]
    with pytest.raises(DataError, match=r"plain\.txt"):
        train(recipe.replace(stages=stages))
