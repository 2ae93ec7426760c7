"""The lists of personal data and of messages that only look like it, names included."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue_generation_models.data.privacy.detect import find_personal_data
from dialogue_generation_models.data.privacy.finding import Finding
from dialogue_generation_models.data.privacy.names import NameModels, find_names
from dialogue_generation_models.data.privacy.normalize import Conversation
from dialogue_generation_models.data.privacy.roster import Roster

LISTS = Path(__file__).parent.parent / "privacy"


@pytest.fixture(params=["rules", "models"], scope="module")
def models(request: pytest.FixtureRequest) -> NameModels | None:
    return NameModels.load() if request.param == "models" else None


def lines(name: str) -> list[str]:
    text = (LISTS / name).read_text(encoding="utf-8").replace("\\u200b", "\u200b")
    return [line for line in text.splitlines() if not line.startswith("#")]


def find(texts: list[str], senders: list[str], models: NameModels | None) -> list[Finding]:
    room = Roster()
    for sender in senders:
        room.add_sender(sender)
    conversation = Conversation.from_texts(texts)
    return find_personal_data(conversation) + find_names(conversation, room, models)


def test_at_most_one_harmless_message_in_200_is_hit(models: NameModels | None) -> None:
    harmless = [line.split("|") for line in lines("harmless.tsv")]
    hits = [texts for texts in harmless if find(texts, [], models)]
    assert len(hits) <= sum(map(len, harmless)) / 200


def test_nine_names_in_ten_are_found(models: NameModels | None) -> None:
    cases = [line.split("\t") for line in lines("cases.tsv") if line.startswith("name\t")]
    missed = 0
    for _, messages, wanted, *senders in cases:
        texts = messages.split("|")
        found = find(texts, senders[0].split(",") if senders else [], models)
        end = 0
        for part in wanted.replace("|", "\n").split(";;"):
            start = "\n".join(texts).index(part, end)
            end = start + len(part)
            if not any(f.start <= start and end <= f.end for f in found):
                missed += 1
                break
    assert missed <= len(cases) / 10
