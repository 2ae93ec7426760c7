"""What scrubbing left: a sample that a person labels, and the rate with its interval.

The sample is a CSV file beside the data set, not in it. It holds what people said: delete it when you are done.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..files import replacing

COLUMNS = ("number", "personal", "message")
_YES, _NO = ("y", "yes", "1"), ("n", "no", "0")
_Z = 1.959964  # of a two-sided 95 % interval


@dataclass(frozen=True)
class ResidualRisk:
    """How many of the labelled messages still hold personal data."""

    labelled: int
    personal: int
    rate: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""


def review_file(dataset: Path) -> Path:
    """Return where a data set's sample lies: beside it, so that who gets the one does not get the other."""
    place = dataset.resolve()
    return place.with_name(f"{place.name}-review.csv")


def write_review(path: Path, messages: Sequence[str]) -> None:
    """Write messages for a person to label, for this user's eyes alone."""
    with (
        replacing(path, is_private=True) as partial,
        partial.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        # A spreadsheet takes what begins with these signs for a formula.
        table.writerows(
            (number, "", f"'{text}" if text[:1] in "=+-@" else text)
            for number, text in enumerate(messages, start=1)
        )


def read_review(path: Path) -> ResidualRisk:
    """Read a labelled sample: y or n in the column `personal`.

    Raises:
        DataError: the file cannot be read, or a message has no label or another one.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            labels = [(row.get("personal") or "").strip().lower() for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"Cannot read {path}; give the CSV file of --review.") from None
    if not labels:
        raise DataError(f"{path} holds no message; give the CSV file of --review.")
    for number, label in enumerate(labels, start=1):
        if label not in (*_YES, *_NO):
            raise DataError(f"Message {number} has no label y or n in the column 'personal'.")
    personal = sum(label in _YES for label in labels)
    low, high = wilson(personal, len(labels))
    return ResidualRisk(len(labels), personal, personal / len(labels), low, high)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate (1927); sound for rates near 0, as this one should be."""
    rate, z2 = hits / trials, _Z * _Z
    middle = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    reach = _Z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, middle - reach), min(1.0, middle + reach)
