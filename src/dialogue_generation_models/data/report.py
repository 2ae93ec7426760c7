"""`report.html`: a manifest in pictures. Counts alone: no text, no name of a person or a private file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .pictures import (
    ACCENT,
    ALERT,
    SOFT,
    check_report_packages,
    new_figure,
    picture,
    render_page,
    report_style,
)

_MOST_BARS = 12
_RULES = {
    "built_on_dropped": "built on a dropped turn",
    "left_alone": "left alone",
    "quotes_removed": "shortened by a quote",
}


def render(manifest: Mapping[str, Any]) -> str:
    """Return the report of a manifest as one HTML page without anything to load.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    check_report_packages()
    settings = manifest["settings"]
    return render_page(
        __package__,
        title="Data set report",
        tool=manifest["tool"],
        created=manifest["created"],
        profile=settings["profile"],
        scrub_mode=settings["scrub"]["mode"],
        vouched=manifest["vouched_for_by_user"],
        numbers=_numbers(manifest["counts"]),
        pictures=_pictures(manifest),
        rows=[_row(source) for source in manifest["sources"]],
        split=describe_split(manifest),
        tokenizer=manifest["tokenizer"]["sha256"],
    )


def count_unparsed(source: Mapping[str, Any]) -> int:
    """Return how many lines of a source's files were not understood."""
    return sum(file.get("unparsed", 0) for file in source["read"].get("files", ()))


def _numbers(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    train, valid, text = (counts.get(name, {}) for name in ("train", "valid", "text"))
    numbers = [
        (train.get("dialogues", 0), "dialogues to learn"),
        (train.get("replies", 0), "replies to learn"),
        (train.get("tokens", 0), "tokens of dialogue"),
        (valid.get("dialogues", 0), "dialogues held out"),
    ]
    if text:
        numbers.append((text.get("tokens", 0), "tokens of text"))
    return [(f"{value:,}", label) for value, label in numbers]


def _pictures(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    removed: Counter[str] = Counter()
    personal: Counter[str] = Counter()
    for source in manifest["sources"]:
        removed.update(source["filters"]["by_rule"])
        filters = source["filters"]
        removed.update({label: filters.get(name, 0) for name, label in _RULES.items()})
        personal.update(source["scrub"]["counts"])
    letters = {int(key): value for key, value in manifest["letters_per_turn"].items()}
    turns = {int(key): value for key, value in manifest["turns_per_dialogue"].items()}
    with report_style():
        return [
            picture(
                _bars("Turns after each step", _steps(manifest)), "Dialogue alone, without texts."
            ),
            picture(
                _bars("Turns removed or shortened, by rule", _top(removed), ALERT),
                "The first rule that drops a turn is counted; what was said after it goes too.",
            ),
            picture(
                _bars("Personal data replaced, by kind", _top(personal), ALERT),
                "What the rules and name models found in the turns that stayed.",
            ),
            picture(
                _histogram("Letters of a turn", letters, "characters", width=5),
                "The last bar holds all that are longer.",
            ),
            picture(
                _bars("Tokens kept, by source", _tokens(manifest)),
                "Dialogues and texts, learnt or held out.",
            ),
            picture(
                _histogram("Turns of a dialogue", turns, "turns", width=1),
                "The last bar holds all that are longer.",
            ),
        ]


def _steps(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    talk = [source for source in manifest["sources"] if source["kind"] != "texts"]
    counts = manifest["counts"]
    kept = sum(counts.get(split, {}).get("turns", 0) for split in ("train", "valid"))
    return [
        ("read", sum(source["read"]["turns"] for source in talk)),
        ("after filters", sum(source["filters"]["turns_out"] for source in talk)),
        ("without copies, kept", kept),
        ("of these, learnt as replies", counts.get("train", {}).get("replies", 0)),
    ]


def _tokens(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    rows = [(source["name"], source["kept"].values()) for source in manifest["sources"]]
    return _top(Counter({name: sum(row["tokens"] for row in kept) for name, kept in rows}))


def _top(counts: Counter[str]) -> list[tuple[str, int]]:
    return [(name.replace("_", " "), n) for name, n in counts.most_common(_MOST_BARS) if n]


def _bars(title: str, bars: Sequence[tuple[str, int]], colour: str = ACCENT) -> Any:
    figure, axes = new_figure(title)
    if not bars:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", color=SOFT)
        return figure
    names = [name for name, _ in bars]
    drawn = axes.barh(names, [value for _, value in bars], color=colour, height=0.65)
    axes.bar_label(drawn, labels=[f"{value:,}" for _, value in bars], padding=4, fontsize=9)
    axes.set_ylim(max(len(bars), 4) - 0.5, -0.5)
    axes.margins(x=0.14)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _histogram(title: str, counts: Mapping[int, int], label: str, *, width: int) -> Any:
    figure, axes = new_figure(title)
    axes.bar([*counts], [*counts.values()], width=0.9 * width, align="edge", color=ACCENT)
    axes.set_xlabel(label)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="#e7ecf1")
    axes.set_axisbelow(True)
    return figure


def _row(source: Mapping[str, Any]) -> dict[str, str]:
    kept = source["kept"].values()
    rights = {file.get("license") or file.get("consent") or "" for file in source["files"]}
    read, filters = source["read"], source["filters"]
    figures = {
        "unparsed": count_unparsed(source),
        "read": read["turns"],
        "filtered": 0 if source["kind"] == "texts" else read["turns"] - filters["turns_out"],
        "copies": sum(source["copies"].values()),
        "turns": sum(row["turns"] for row in kept),
        "tokens": sum(row["tokens"] for row in kept),
        "personal": sum(source["scrub"]["counts"].values()),
    }
    named = {name: f"{value:,}" for name, value in figures.items()}
    return {
        "name": source["name"],
        "right": ", ".join(sorted(filter(None, rights))) or "—",
        **named,
    }


def describe_split(manifest: Mapping[str, Any]) -> str:
    """Say what is held out, and who speaks on both sides."""
    split, counts = manifest["split"], manifest["counts"]
    ways = {
        "speakers": "Rooms are held out whole, and nobody speaks on both sides.",
        "speakers but the owner": "Rooms are held out whole; whoever exported them is the only person "
        "who speaks on both sides.",
        "dialogues": "The rooms share their speakers or are too large, so single dialogues are held out: "
        "the same people speak on both sides.",
        "none": "Corpora have no rooms; dialogues are held out by a hash of their id.",
    }
    total = sum(counts.get(name, {}).get("dialogues", 0) for name in ("train", "valid"))
    share = 100 * counts.get("valid", {}).get("dialogues", 0) / max(1, total)
    return f"{ways[split['rooms_by']]} Held out are {share:.1f} % of the dialogues."
