"""The model card: what a model is, what it was made of, how good it is, and what it must not be used for.

The front matter follows the Hugging Face model card (model-index), so that hubs show the figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .report import Evaluation, Sample, figures

_LANGUAGES = {"ko": "Korean", "ja": "Japanese", "en": "English"}

_CAUTIONS = """\
- What the model says is a guess at how a chat could go on. It is not fact, not advice and nobody's opinion.
- It can be rude, biased or plainly wrong. Fine-tune it on data of your own purpose, and filter what it
  says, before you use it for anything real.
- It cannot tell when somebody needs help. If a person is in a crisis or speaks of harming themselves,
  point them to real help: people nearby, the emergency number, a crisis line of their country.
- Say to the people who talk to it that they talk to a program."""

_WEAKNESSES = (
    "It is small: it knows few facts and makes up the rest.",
    "It forgets what was said a few turns ago, and contradicts itself.",
    "It likes short, general answers that fit anywhere.",
    "It cannot reckon, plan, follow instructions or write long texts.",
    "Other languages, dialects, technical words and typing errors confuse it.",
)

_CITATIONS = """\
```bibtex
@misc{adiwardana2020meena,
  title = {Towards a Human-like Open-Domain Chatbot},
  author = {Adiwardana, Daniel and Luong, Minh-Thang and So, David R. and Hall, Jamie and Fiedel, Noah
            and Thoppilan, Romal and Yang, Zi and Kulshreshtha, Apoorv and Nemade, Gaurav and Lu, Yifeng
            and Le, Quoc V.},
  year = {2020}, eprint = {2001.09977}, archivePrefix = {arXiv}
}
@techreport{radford2019gpt2,
  title = {Language Models are Unsupervised Multitask Learners},
  author = {Radford, Alec and Wu, Jeffrey and Child, Rewon and Luan, David and Amodei, Dario
            and Sutskever, Ilya},
  institution = {OpenAI}, year = {2019}
}
@misc{pingpong2020dial_gen_models,
  title = {dialogue-generation-models},
  author = {Park, Chaehun and Seo, Sangwoo and Jung, Dawoon},
  howpublished = {\\url{https://github.com/pingpong-ai/dialogue-generation-models}}, year = {2020}
}
```"""


@dataclass(frozen=True)
class DataSource:
    """One file or data set that the model was trained on."""

    name: str
    licence: str
    use: str
    """What it was used for, such as a stage's name."""
    lines: int | None = None
    """Dialogues or texts in it."""


@dataclass(frozen=True)
class TrainingFacts:
    """How the model came to be."""

    steps: int
    tokens: int
    """Tokens learnt (with a label), repeats included."""
    hours: float
    hardware: str
    seed: int
    command: str
    """What trains it again."""
    note: str = ""
    """What else is to be known, in sentences."""


@dataclass(frozen=True)
class BaseFacts:
    """The model that a fine-tuning began with."""

    name: str
    evaluation: Evaluation
    """Its figures on what the fine-tuned model is measured on."""


@dataclass(frozen=True)
class CardFacts:
    """Everything that a model card says; what is none is left out."""

    name: str
    language: str
    """ISO 639-1, such as `ko`."""
    licence: str
    """SPDX name of the weights' licence, such as `Apache-2.0`."""
    architecture: str
    """In words: kind, layers, width, heads, positions."""
    parameters: int
    vocab_size: int
    data: tuple[DataSource, ...]
    training: TrainingFacts | None = None
    evaluation: Evaluation | None = None
    evaluated_on: str = "held-out dialogues"
    """What the figures were measured on."""
    base: BaseFacts | None = None
    """What it was fine-tuned from."""
    weaknesses: tuple[str, ...] = ()
    """What was seen to go wrong, besides what goes wrong with every small model."""


def model_card(facts: CardFacts) -> str:
    """Write the README.md of a model folder."""
    parts = [_front_matter(facts), f"# {facts.name}", _what_it_is(facts), _data(facts)]
    if facts.training:
        parts.append(_training(facts.training))
    if facts.evaluation:
        parts.append(_figures(facts, facts.evaluation))
        if facts.evaluation.samples:
            parts.append(_samples(facts.evaluation.samples, facts.evaluation.options.seed))
    weaknesses = "\n".join(f"- {line}" for line in (*facts.weaknesses, *_WEAKNESSES))
    parts.append(f"## What it is bad at\n\n{weaknesses}")
    parts.append(f"## Cautions\n\n{_CAUTIONS}")
    parts.append(f"## Citation\n\n{_CITATIONS}")
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: CardFacts) -> str:
    """YAML; every value is written as JSON, which YAML contains."""
    names = dict.fromkeys(source.name for source in facts.data)
    lines = [
        "---",
        f"license: {_yaml(facts.licence.lower())}",
        "language:",
        f"- {_yaml(facts.language)}",
        "library_name: dialogue-generation-models",
        "pipeline_tag: text-generation",
        "tags:",
        "- conversational",
    ]
    if facts.base:
        lines.append(f"base_model: {_yaml(facts.base.name)}")
    if names:
        lines += ["datasets:", *(f"- {_yaml(name)}" for name in names)]
    if facts.evaluation:
        metrics = _metrics(facts.evaluation)
        lines += [
            "metrics:",
            *(f"- {_yaml(kind)}" for kind in dict.fromkeys(k for k, _, _ in metrics)),
        ]
        lines += [
            "model-index:",
            f"- name: {_yaml(facts.name)}",
            "  results:",
            "  - task:",
            "      type: text-generation",
            '      name: "Dialogue response generation"',
            "    dataset:",
            f"      type: {_yaml(', '.join(facts.evaluation.data))}",
            f"      name: {_yaml(facts.evaluated_on)}",
            "    metrics:",
        ]
        for kind, name, value in metrics:
            lines += [f"    - type: {kind}", f"      name: {_yaml(name)}", f"      value: {value}"]
    return "\n".join([*lines, "---"])


def _metrics(evaluation: Evaluation) -> list[tuple[str, str, float]]:
    """Kind, name and value of each figure for the front matter."""
    found = [
        ("perplexity", "Perplexity per token", round(evaluation.perplexity.per_token, 3)),
        ("perplexity", "Perplexity per character", round(evaluation.perplexity.per_character, 3)),
    ]
    if evaluation.ranking:
        name = f"Recall@1 of {evaluation.ranking.candidates}"
        found.append(("recall", name, round(evaluation.ranking.recall, 4)))
    if evaluation.diversity:
        found.append(("distinct-2", "Distinct-2", round(evaluation.diversity.distinct_2, 4)))
    return found


def _what_it_is(facts: CardFacts) -> str:
    language = _LANGUAGES.get(facts.language, facts.language)
    origin = f" It was fine-tuned from {facts.base.name}." if facts.base else ""
    return (
        f"A small {language} model for open-domain chat: it reads the turns of a conversation and writes "
        f"the next one. {facts.architecture}; {facts.parameters / 1e6:.1f} M parameters, "
        f"{facts.vocab_size:,} tokens in the vocabulary.{origin} Weights under the licence {facts.licence}.\n\n"
        f"```\ndgm chat --model {facts.name}\n```"
    )


def _data(facts: CardFacts) -> str:
    rows = [
        (source.name, source.use, f"{source.lines:,}" if source.lines else "", source.licence)
        for source in facts.data
    ]
    table = _table(("data set", "used for", "lines", "licence"), rows)
    return f"## Data\n\nThe data sets keep their own licences.\n\n{table}"


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _training(training: TrainingFacts) -> str:
    rows = [
        ("steps", f"{training.steps:,}"),
        ("tokens learnt", f"{training.tokens:,}"),
        ("time", _time(training.hours)),
        ("hardware", training.hardware),
        ("seed", str(training.seed)),
    ]
    return (
        f"## Training\n\n{_table(('', ''), rows)}\n\n"
        f"This trains such a model:\n\n```\n{training.command}\n```"
        + (f"\n\n{training.note}" if training.note else "")
    )


def _figures(facts: CardFacts, evaluation: Evaluation) -> str:
    baseline = (
        " The trigram model (interpolated modified Kneser-Ney) learnt from the training dialogues and is "
        "scored on the same tokens."
        if evaluation.trigram
        else ""
    )
    ranking = (
        " Recall@1 of 20: how often the true reply has the highest log-likelihood per token among 19 "
        "random ones (chance 0.05)."
        if evaluation.ranking
        else ""
    )
    header, rows = ["", ""], [[name, value] for name, value in figures(evaluation)]
    if facts.base:
        before = dict(figures(facts.base.evaluation))
        header = ["", facts.base.name, facts.name]
        rows = [[name, before.get(name, ""), value] for name, value in rows]
    return (
        f"## Figures\n\nMeasured on {facts.evaluated_on}. Perplexities count the end of each reply, as "
        f"one token and one character.{baseline}{ranking}\n\n{_table(header, rows)}"
    )


def _samples(samples: Sequence[Sample], seed: int) -> str:
    rows = [(" / ".join(sample.context), sample.reply) for sample in samples]
    return (
        f"## Sample replies\n\nThe first reply to each context of a fixed list, with seed {seed}; none was "
        f"chosen or edited.\n\n{_table(('context', 'reply'), rows)}"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_row(header), "|" + "---|" * len(header)]
    lines += [_row([*map(_escape, row), *[""] * (len(header) - len(row))]) for row in rows]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    """Keep a text in its cell and from being read as markup."""
    return re.sub(r"([\\`*_<>\[\]|~#])", r"\\\1", " ".join(text.split()))


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
