"""All rules at once: what no name model is needed for."""

from __future__ import annotations

import re

from .addresses import detect_addresses
from .contacts import detect_contacts
from .finding import Finding, merge_findings
from .normalize import Conversation
from .numbers import detect_numbers
from .schools import detect_schools
from .windows import windows

_FIGURE = re.compile(r"[0-9]+")
_REACH = 40
"""How far from a digit the rest of a number or an address, or its cue, may stand."""


def find_personal_data(conversation: Conversation) -> list[Finding]:
    """Find numbers, contact data, addresses and schools; ordered, no two overlap."""
    around_figures = list(windows(conversation.folded, _FIGURE, _REACH))
    return merge_findings(
        [
            *detect_numbers(conversation, around_figures),
            *detect_contacts(conversation),
            *detect_addresses(conversation, around_figures),
            *detect_schools(conversation),
        ]
    )
