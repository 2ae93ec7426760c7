"""What a detector reports: a kind and a place, never the text itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal[
    "rrn",
    "frn",
    "my_number",
    "phone",
    "account",
    "card",
    "email",
    "messenger_id",
    "url",
    "address",
    "plate",
    "passport",
    "licence",
    "business_number",
    "school",
    "name",
]


class Finding(NamedTuple):
    """Personal data of one kind at [start, end) of the original conversation text."""

    kind: Kind
    start: int
    end: int


def merge_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Join overlapping findings into their union, under the kind of the longest; ordered by start."""
    merged: list[Finding] = []
    longest = 0
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        if merged and finding.start < merged[-1].end:
            last = merged[-1]
            length = finding.end - finding.start
            kind = finding.kind if length > longest else last.kind
            longest = max(longest, length)
            merged[-1] = Finding(kind, last.start, max(last.end, finding.end))
        else:
            merged.append(finding)
            longest = finding.end - finding.start
    return merged
