"""All rules at once: what no name model is needed for."""

from __future__ import annotations

from .addresses import detect_addresses
from .contacts import detect_contacts
from .finding import Finding, merge_findings
from .normalize import Conversation
from .numbers import detect_numbers
from .schools import detect_schools


def find_personal_data(conversation: Conversation) -> list[Finding]:
    """Find numbers, contact data, addresses and schools; ordered, no two overlap."""
    return merge_findings(
        [
            *detect_numbers(conversation),
            *detect_contacts(conversation),
            *detect_addresses(conversation),
            *detect_schools(conversation),
        ]
    )
