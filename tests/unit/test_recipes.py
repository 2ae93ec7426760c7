"""The recipes of the nine published models: the time they state is reckoned, and tiny versions run."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from dialogue_generation_models.config.io import apply_overrides, read_config_file
from dialogue_generation_models.config.preparation import preparation_config
from dialogue_generation_models.config.registry import ModelEntry, list_models
from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.data.preparation import Order, prepare
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer
from dialogue_generation_models.training.checkpointing import BEST
from dialogue_generation_models.training.processes import OneProcess
from dialogue_generation_models.training.run import run

PROJECT = Path(__file__).parents[2]
PUBLISHED = [entry for entry in list_models() if entry.weights == "withdrawn"]
EACH = pytest.mark.parametrize("entry", PUBLISHED, ids=[entry.name for entry in PUBLISHED])
# One of each form runs for twenty steps, the others for two a stage.
LONG = {"GPT-base-trained-on-dialogue-and-wiki-KR", "Meena-base-trained-on-dialogue-data-JP"}
TINY_GPT = ["n_ctx=64", "n_embd=16", "n_layer=1", "n_head=2", "n_inner=32"]
TINY_MEENA = [
    *("n_ctx=64", "n_encoder_ctx=32", "n_embd=16"),
    *("n_encoder_layer=1", "n_encoder_head=2", "n_encoder_inner=32"),
    *("n_decoder_layer=1", "n_decoder_head=2", "n_decoder_inner=32"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    """A prepared data set of a few dialogues and texts."""
    pytest.importorskip("datatrove")
    folder = tmp_path_factory.mktemp("recipes")
    talk = [
        {
            "id": f"d{n}",
            "turns": [{"speaker": s, "text": f"오늘 뭐 먹을까 {n} {s}"} for s in "ABAB"],
        }
        for n in range(60)
    ]
    texts = [{"text": f"저녁에 영화 볼래? 재밌는 거 있대 {n}"} for n in range(40)]
    for name, records in (("talk", talk), ("texts", texts)):
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "tokenizer.model").write_bytes(tiny_tokenizer.to_bytes())
    table = {
        "parts": 1,
        "validation_percent": 10.0,
        "scrub": {"name_models": False},
        "dedup": {"near": False},
    }
    from contextlib import nullcontext

    order = Order(
        inputs=[folder / "talk.jsonl", folder / "texts.jsonl"],
        output=folder / "set",
        tokenizer=folder / "tokenizer.model",
        tool="test",
        has_consent=True,
    )
    prepare(order, preparation_config(table, None), lambda *_: nullcontext(lambda _: None))
    return folder / "set"


def read(entry: ModelEntry) -> Recipe:
    assert entry.recipe is not None
    return Recipe(**read_config_file(PROJECT / entry.recipe))


@EACH
def test_the_recipe_trains_what_its_name_says_on_data_of_its_kind(entry: ModelEntry) -> None:
    recipe = read(entry)
    assert recipe.name == entry.name
    assert [stage.objective for stage in recipe.stages] == (
        ["text", "dialogue"] if "wiki" in entry.name else ["dialogue"]
    )
    (name,) = {source.path for stage in recipe.stages for source in stage.sources}
    assert name.startswith("japanese" if recipe.language == "ja" else "korean")
    assert ("unfiltered" in name) == ("no-filtered" in entry.name)
    text = (PROJECT / str(entry.recipe)).read_text(encoding="utf-8")
    assert f"-o DATA/{name} " in text
    assert f"--profile {'un' * ('no-filtered' in entry.name)}filtered " in text


@EACH
def test_the_time_that_is_stated_is_that_of_the_steps(entry: ModelEntry) -> None:
    text = (PROJECT / str(entry.recipe)).read_text(encoding="utf-8")
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    pattern = (
        r"([\d.]+) billion tokens .* = ([\d.e+]+) FLOP.* ([\d.]+) hours on one H200, ([\d.]+) hours"
    )
    found = re.search(pattern, comment)
    assert found is not None
    billions, flop, one, eight = map(float, found.groups())
    recipe = read(entry)
    each = 256 if recipe.model.kind == "gpt" else 80
    tokens = sum(stage.steps * stage.batch_size * each for stage in recipe.stages)
    work = 6 * entry.parameters * tokens
    hours = work / (0.4 * 989e12) / 3600
    assert billions * 1e9 == pytest.approx(tokens, rel=0.01)
    assert flop == pytest.approx(work, rel=0.03)
    assert one == pytest.approx(hours, rel=0.03)
    assert eight == pytest.approx(hours / 8 / 0.9, rel=0.05)


@EACH
def test_a_tiny_version_of_it_runs(entry: ModelEntry, dataset: Path, tmp_path: Path) -> None:
    full = read_config_file(PROJECT / str(entry.recipe))
    steps = 10 if entry.name in LONG else 2
    tiny = TINY_GPT if full["model"]["kind"] == "gpt" else TINY_MEENA
    overrides = [
        *(f"model.{field}" for field in ("vocab_size=362", *tiny)),
        *(f"stages.{n}.steps={steps}" for n in range(len(full["stages"]))),
        *(f"stages.{n}.batch_size=4" for n in range(len(full["stages"]))),
        *(f"stages.{n}.warmup_steps=0" for n in range(len(full["stages"]))),
        *("compile=false", "precision=float32", "validation_every=10"),
    ]
    name = full["stages"][0]["sources"][0]["path"]
    (tmp_path / name).symlink_to(dataset, target_is_directory=True)
    recipe = Recipe(**apply_overrides(full, [*overrides, f"data_root={tmp_path}"]))
    if entry.name in LONG and len(recipe.stages) == 1:
        recipe = Recipe(**apply_overrides(recipe.model_dump(), ["stages.0.steps=20"]))
    folder = tmp_path / "run"
    done = run(recipe, folder, processes=OneProcess(), console=Console(file=io.StringIO()))
    assert done.total_steps == sum(stage.steps for stage in recipe.stages)
    assert done.total_steps == 20 or entry.name not in LONG
    assert (folder / BEST).is_file()
