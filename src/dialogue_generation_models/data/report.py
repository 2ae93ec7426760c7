"""`report.html`: a manifest in pictures. Counts alone: no text, no name of a person or a private file."""

from __future__ import annotations

import importlib.resources
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import MissingExtraError

_ACCENT, _SOFT, _ALERT = "#2f6fae", "#9db8d2", "#b4472f"
_INK = "#3b4856"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dgm",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c3ccd6",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_MOST_BARS = 12
_RULES = {"built_on_dropped": "built on a dropped turn", "left_alone": "left alone"}


def check_report_packages() -> None:
    """Make sure that a report can be drawn.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        try:
            __import__(name)
        except ImportError:
            raise MissingExtraError(name, "data") from None


def render(manifest: Mapping[str, Any]) -> str:
    """Return the report of a manifest as one HTML page without anything to load.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    check_report_packages()
    from jinja2 import Environment

    source = importlib.resources.files(__package__) / "templates" / "report.html"
    template = Environment(autoescape=True).from_string(source.read_text(encoding="utf-8"))
    settings = manifest["settings"]
    return template.render(
        tool=manifest["tool"],
        created=manifest["created"],
        profile=settings["profile"],
        scrub_mode=settings["scrub"]["mode"],
        vouched=manifest["vouched_for_by_user"],
        numbers=_numbers(manifest["counts"]),
        pictures=_pictures(manifest),
        rows=[_row(source) for source in manifest["sources"]],
        split=_describe_split(manifest),
        tokenizer=manifest["tokenizer"]["sha256"],
    )


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
    from matplotlib import rc_context

    removed: Counter[str] = Counter()
    personal: Counter[str] = Counter()
    for source in manifest["sources"]:
        removed.update(source["filters"]["by_rule"])
        removed.update({label: source["filters"][name] for name, label in _RULES.items()})
        personal.update(source["scrub"]["counts"])
    letters = {int(key): value for key, value in manifest["letters_per_turn"].items()}
    turns = {int(key): value for key, value in manifest["turns_per_dialogue"].items()}
    with rc_context(_STYLE):
        return [
            _picture(
                _bars("Turns after each step", _steps(manifest)), "Dialogue alone, without texts."
            ),
            _picture(
                _bars("Turns removed, by rule", _top(removed), _ALERT),
                "The first rule that drops a turn is counted; what was said after it goes too.",
            ),
            _picture(
                _bars("Personal data replaced, by kind", _top(personal), _ALERT),
                "What the rules and name models found in the turns that stayed.",
            ),
            _picture(
                _histogram("Letters of a turn", letters, "characters", width=5),
                "The last bar holds all that are longer.",
            ),
            _picture(
                _bars("Tokens kept, by source", _tokens(manifest)),
                "Dialogues and texts, learnt or held out.",
            ),
            _picture(
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


def _bars(title: str, bars: Sequence[tuple[str, int]], colour: str = _ACCENT) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    if not bars:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", color=_SOFT)
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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.bar([*counts], [*counts.values()], width=0.9 * width, align="edge", color=_ACCENT)
    axes.set_xlabel(label)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="#e7ecf1")
    axes.set_axisbelow(True)
    return figure


def _picture(figure: Any, caption: str) -> dict[str, Any]:
    from markupsafe import Markup

    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        svg = file.getvalue()
    return {"svg": Markup(svg[svg.index("<svg") :]), "caption": caption}


def _row(source: Mapping[str, Any]) -> dict[str, str]:
    kept = source["kept"].values()
    rights = {file.get("license") or file.get("consent") or "" for file in source["files"]}
    read, filters = source["read"], source["filters"]
    figures = {
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


def _describe_split(manifest: Mapping[str, Any]) -> str:
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
