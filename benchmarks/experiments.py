"""The comparisons that the published models invite, run at a size that two cores can train.

    python benchmarks/experiments.py --corpora ../shared/data --runs runs/experiments \\
        --json benchmarks/results/experiments.json --plot docs/experiments.svg
    python benchmarks/experiments.py --corpora ../shared/data --bundled \\
        --json benchmarks/results/bundled.json --plot docs/bundled.svg

Dialogue alone or text first; filtered dialogue or unfiltered; two sizes; GPT, Meena and Evolved Transformer of
equal size; Korean and Japanese. Every variant learns as many tokens (`--tokens`: of replies, and of text where
a variant has any), from data sets that `dgm prepare` makes, and is measured on the same dialogues of its
language: those that the unfiltered data set holds out. The same command goes on where it was stopped.

`--bundled` measures the models that are bundled instead, a language's on the same held-out dialogues.

Tokens are counted, not steps, since a step of packed GPT rows learns more of them than one of Meena's pairs.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dialogue_generation_models.checkpoint.tensors import read_tensors
from dialogue_generation_models.config.decoding import PRESETS
from dialogue_generation_models.config.evaluation import EvaluationConfig
from dialogue_generation_models.config.io import read_config_file
from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.data.stored import PreparedDataset
from dialogue_generation_models.evaluation.diversity import diversity
from dialogue_generation_models.evaluation.exchanges import encode_exchanges
from dialogue_generation_models.evaluation.material import (
    Material,
    recipe_material,
    stored_exchanges,
)
from dialogue_generation_models.evaluation.measure import Subject, evaluate, generate_replies
from dialogue_generation_models.evaluation.scoring import Progress
from dialogue_generation_models.files import write_whole
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer
from dialogue_generation_models.training.checkpointing import BEST
from dialogue_generation_models.training.corpus import Corpus
from dialogue_generation_models.training.processes import start_processes
from dialogue_generation_models.training.run import TOKENIZER, run
from dialogue_generation_models.training.starting import trained_model

RECIPES = Path(__file__).parent.parent / "recipes"
TOKENIZERS = {"ko": "gpt-mini-ko", "ja": "meena-mini-ja"}
_SHAPE = {"vocab_size": 8192, "n_embd": 256, "dropout": 0.1}
_PAIR = {**_SHAPE, "n_ctx": 256, "n_encoder_ctx": 128}
GPT = {"kind": "gpt", **_SHAPE, "n_ctx": 256, "n_layer": 5, "n_head": 4, "n_inner": 1024}
LARGER = {**GPT, "n_embd": 384, "n_layer": 6, "n_head": 6, "n_inner": 1536}
MEENA = {
    "kind": "meena", **_PAIR, "n_encoder_layer": 2, "n_encoder_head": 4, "n_encoder_inner": 1024,
    "n_decoder_layer": 2, "n_decoder_head": 4, "n_decoder_inner": 1024,
}  # fmt: skip
EVOLVED = {
    "kind": "evolved_transformer", **_PAIR, "n_encoder_layer": 1, "n_decoder_layer": 1,
    "n_head": 4, "n_inner": 1024,
}  # fmt: skip
STRATEGIES = {"beam": "beam", "top-p": "top_p", "sample-and-rank": "meena_paper"}
"""Shown name → preset."""
ROWS = {"gpt": 8, "meena": 32, "evolved_transformer": 32}
"""Batch: packed rows, or pairs."""


@dataclass(frozen=True)
class Variant:
    """One model of the comparisons."""

    name: str
    title: str
    model: dict[str, Any]
    language: str = "ko"
    profile: str = "unfiltered"
    text_share: float = 0.0
    seed: int = field(default=0)

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.seed}"


VARIANTS = [
    Variant("gpt", "GPT, dialogue alone", GPT),
    Variant("gpt-text", "GPT, text first", GPT, text_share=1 / 3),
    Variant("gpt-larger", "GPT, larger", LARGER),
    Variant("meena", "Meena, unfiltered", MEENA),
    Variant("meena-filtered", "Meena, filtered", MEENA, profile="filtered"),
    Variant("evolved", "Evolved Transformer", EVOLVED),
    Variant("gpt-ja", "GPT, Japanese", GPT, language="ja"),
    Variant("meena-ja", "Meena, Japanese", MEENA, language="ja"),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/experiments"))
    parser.add_argument("--bundled", action="store_true", help="measure the bundled models")
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    parser.add_argument("--tokens", type=int, default=600_000, help="learnt by each variant")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--generated", type=int, default=200, help="replies of each strategy")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--plot", type=Path, help="write the picture here (.svg or .png)")
    options = parser.parse_args()
    chosen = [variant for variant in VARIANTS if variant.name in options.variants]
    rows = []
    for row in bundled(options) if options.bundled else experiments(chosen, options):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw(rows, options.plot)


def bundled(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the bundled models on what their recipes hold out: Meena's 1 %, part of the others' 2 %."""
    for language, spoken in {"ko": "Korean", "ja": "Japanese"}.items():
        settings = read_config_file(RECIPES / f"meena-mini-{language}.toml")
        material = recipe_material(Recipe(**settings | {"data_root": str(options.corpora)}))
        for family in ("GPT", "Meena"):
            name = f"{family.lower()}-mini-{language}"
            yield {
                "variant": name,
                "title": f"{family}, {spoken}",
                "language": language,
                **measure(Subject.load(name), material, options),
            }


def experiments(
    variants: Sequence[Variant], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Train and measure variants, each with each seed."""
    for seed in range(options.seeds):
        for variant in variants:
            yield experiment(replace(variant, seed=seed), options)


def experiment(variant: Variant, options: argparse.Namespace) -> dict[str, Any]:
    """Prepare, train and measure, each unless it is done already."""
    folder: Path = options.runs / f"{variant.folder}-{options.tokens}-{options.generated}"
    result = folder / "result.json"
    if result.exists():
        row: dict[str, Any] = json.loads(result.read_text("utf-8"))
        return row
    for profile in sorted({variant.profile, "unfiltered"}):
        prepare(variant.language, profile, options)
    recipe = make_recipe(variant, options)
    with start_processes(torch.device("cpu")) as processes:
        run(recipe, folder, processes=processes, console=Console())
    row = {
        "variant": variant.name,
        "title": variant.title,
        "language": variant.language,
        "seed": variant.seed,
        "tokens": options.tokens,
        "steps": [stage.steps for stage in recipe.stages],
        **measure(load(recipe, folder), held_out(variant.language, options), options),
    }
    write_whole(result, json.dumps(row, indent=1) + "\n")
    return row


def prepare(language: str, profile: str, options: argparse.Namespace) -> None:
    """Make the data set of a language's dialogues in a profile."""
    output = options.runs / data_set(language, profile)
    if output.exists():
        return
    files = [options.corpora / source["path"] for source in sources(language, "dialogue")]
    where = ["-o", output, "--tokenizer", TOKENIZERS[language], "--profile", profile]
    run_dgm("prepare", *files, *where, "--workers", "2", "--i-have-consent")


def data_set(language: str, profile: str) -> str:
    return f"data-{language}-{profile}"


def sources(language: str, objective: str) -> list[dict[str, Any]]:
    """Return the sources of the bundled recipe's first stage of an objective."""
    stages = read_config_file(RECIPES / f"gpt-mini-{language}.toml")["stages"]
    found: list[dict[str, Any]] = next(
        stage["sources"] for stage in stages if stage["objective"] == objective
    )
    return found


def make_recipe(variant: Variant, options: argparse.Namespace) -> Recipe:
    """Make a recipe whose stages learn the tokens asked for."""
    data = data_set(variant.language, variant.profile)
    common = {"batch_size": ROWS[variant.model["kind"]], "learning_rate": 2e-3, "steps": 1}
    dialogue = {
        **common,
        "name": "dialogue",
        "objective": "dialogue",
        "sources": [{"path": str((options.runs / data).resolve()), "license": "of its sources"}],
    }
    stages = [dialogue]
    if variant.text_share:
        stages.insert(0, {**common, "name": "text", "objective": "text", "final_rate": 1.0})
        stages[0]["sources"] = sources(variant.language, "text")
        dialogue["warmup_steps"] = 0
    recipe = Recipe(
        name=variant.name,
        language=variant.language,
        license="of its sources",
        data_root=str(options.corpora.resolve()),
        seed=variant.seed,
        optimizer="muon",
        validation_every=100_000,  # once, at the end
        model=variant.model,
        stages=stages,
    )
    shares = [variant.text_share, 1 - variant.text_share][-len(stages) :]
    wanted = [share * options.tokens for share in shares]
    corpus = Corpus(recipe)
    tokenizer = corpus.train_tokenizer()
    lengths = []
    for stage, tokens in zip(recipe.stages, wanted, strict=True):
        batches = corpus.stage(stage, tokenizer, []).batches
        learnt = [batches.batch(n).tokens for n in range(min(32, batches.batches_per_epoch))]
        lengths.append(math.ceil(tokens * len(learnt) / sum(learnt)))
    sized = [
        stage.model_copy(update={"steps": steps})
        for stage, steps in zip(recipe.stages, lengths, strict=True)
    ]
    return recipe.model_copy(update={"stages": sized})


def held_out(language: str, options: argparse.Namespace) -> Material:
    """Return what all variants of a language are measured on."""
    name = data_set(language, "unfiltered")
    return Material((name,), list(stored_exchanges(PreparedDataset(options.runs / name), "valid")))


def load(recipe: Recipe, folder: Path) -> Subject:
    """Load what a run left, in the precision it was trained in."""
    model = trained_model(recipe, read_tensors(folder / BEST), str(folder))
    tokenizer = Tokenizer.from_file(folder / TOKENIZER)
    return Subject(recipe.name, model.eval(), tokenizer, recipe.decoding)


def measure(subject: Subject, material: Material, options: argparse.Namespace) -> dict[str, Any]:
    """Score held-out replies, rank the true one among others, and write replies in three ways."""
    scored = evaluate(
        subject,
        material,
        EvaluationConfig(limit=1500, ranked=500, generated=0, seed=0),
        track,
    )
    assert scored.ranking is not None, "too few replies are held out"
    items = encode_exchanges(subject.model.config, subject.tokenizer, material.items)
    contexts = [item.turns for item in items[:: -(-len(items) // options.generated)]]
    return {
        "parameters": sum(p.numel() for p in subject.model.parameters()),
        "perplexity_per_token": round(scored.perplexity.per_token, 2),
        "perplexity_per_character": round(scored.perplexity.per_character, 3),
        "recall": round(scored.ranking.recall, 3),
        "recall_interval": [round(scored.ranking.low, 3), round(scored.ranking.high, 3)],
        "decoding": {name: written(subject, name, contexts) for name in STRATEGIES},
    }


def written(
    subject: Subject, strategy: str, contexts: Sequence[Sequence[Sequence[int]]]
) -> dict[str, float]:
    """Describe the replies that a strategy writes."""
    decided = replace(subject, decoding=PRESETS[STRATEGIES[strategy]])
    found = diversity(generate_replies(decided, contexts, 0, lambda _: None))
    return {
        "distinct_2": round(found.distinct_2, 3),
        "repetition": round(found.repetition, 3),
        "most_common": round(found.most_common, 3),
        "mean_tokens": round(found.mean_tokens, 1),
    }


def track(name: str, count: int) -> Progress:
    print(f"{name}: {count}", file=sys.stderr)
    return lambda _: None


def run_dgm(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "dialogue_generation_models", *map(str, arguments)]
    subprocess.run(command, check=True)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel a figure, a bar a variant: the mean of its seeds, and each as a point."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    titles = list(dict.fromkeys(row["title"] for row in rows))
    panels = {
        "perplexity per character": lambda row: row["perplexity_per_character"],
        "recall@1 of 20": lambda row: row["recall"],
        "distinct-2, top-p": lambda row: row["decoding"]["top-p"]["distinct_2"],
        "distinct-2, beam": lambda row: row["decoding"]["beam"]["distinct_2"],
    }
    with rc_context({"font.size": 9, "svg.hashsalt": "dgm", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 5.4), layout="constrained")
        for axes, (name, value) in zip(
            figure.subplots(2, 2, sharey=True).flat, panels.items(), strict=True
        ):
            for place, title in enumerate(titles):
                found = [value(row) for row in rows if row["title"] == title]
                axes.barh(place, sum(found) / len(found), color="#9dbbe0", height=0.65)
                axes.plot(found, [place] * len(found), "o", color="#1f5fa8", ms=3.5)
            if name.startswith("recall"):
                axes.axvline(0.05, color="#888888", ls=":", lw=1.2)
            axes.set_yticks(range(len(titles)), titles)
            axes.set_title(name)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(visible=True, axis="x", color="#dddddd", lw=0.6)
            axes.set_axisbelow(True)
        figure.axes[0].invert_yaxis()
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


if __name__ == "__main__":
    main()
