"""Reports in pictures: one look for those of data sets and of trainings, drawn by matplotlib, set by jinja2."""

from __future__ import annotations

import importlib.resources
import io
import warnings
from contextlib import AbstractContextManager
from typing import Any

from ..errors import MissingExtraError

ACCENT, SOFT, ALERT = "#2f6fae", "#9db8d2", "#b4472f"
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


def check_report_packages(extra: str = "data") -> None:
    """Make sure that a report can be drawn.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed; `extra` brings them.
    """
    for name in ("jinja2", "matplotlib"):
        try:
            __import__(name)
        except ImportError:
            raise MissingExtraError(name, extra) from None


def report_style() -> AbstractContextManager[None]:
    """Draw what is inside in the reports' style."""
    from matplotlib import rc_context

    return rc_context(_STYLE)


def new_figure(title: str) -> tuple[Any, Any]:
    """Make a figure of the reports' size, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def picture(figure: Any, caption: str) -> dict[str, Any]:
    """Make what the page shows of a figure: its SVG, the same bytes for the same figure."""
    from markupsafe import Markup

    with io.StringIO() as file, warnings.catch_warnings():
        # Text stays text, so it is the browser's font that must have the letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", metadata={"Date": None})
        svg = file.getvalue()
    return {"svg": Markup(svg[svg.index("<svg") :]), "caption": caption}


def render_page(package: str, **values: Any) -> str:
    """Return the report of a package's `templates/report.html` as one page without anything to load.

    Args:
        package: which has the template; it extends `page`, the frame of all reports.
        values: for both; the frame needs `title`, `numbers` (pairs of value and label) and `pictures`.
    """
    from jinja2 import DictLoader, Environment

    def read(package: str, name: str) -> str:
        source = importlib.resources.files(package) / "templates" / name
        return source.read_text(encoding="utf-8")

    own = __package__ or ""
    sources = {"page": read(own, "page.html"), "report": read(package, "report.html")}
    template = Environment(autoescape=True, loader=DictLoader(sources)).get_template("report")
    return template.render(**values)
