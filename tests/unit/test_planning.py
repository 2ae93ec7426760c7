"""What a fine-tuning says of the data that it learns from."""

from __future__ import annotations

from typing import Any

import pytest

from dialogue_generation_models.training.planning import describe_licences

STATED = {"consent": "Everybody agreed in writing.", "all_adults": True}


@pytest.mark.parametrize(
    ("kind", "files", "said"),
    [
        ("export", [STATED, STATED], "private, with the consent of its people"),
        ("chats", [STATED], "private, with the consent of its people"),
        ("export", [{}], "private, vouched for by who prepared it"),
        ("dialogues", [{}], "no licence stated"),
        ("texts", [{"consent": "Everybody."}], "no licence stated"),
        ("pairs", [{"license": "CC0-1.0"}], "CC0-1.0"),
        (
            "export",
            [STATED, {}],
            "private, with the consent of its people; private, vouched for by who prepared it",
        ),
    ],
)
def test_consent_is_said_only_of_chats_for_which_it_was_stated(
    kind: str, files: list[dict[str, Any]], said: str
) -> None:
    assert describe_licences([{"kind": kind, "files": files}]) == said


def test_each_licence_of_a_data_set_is_named_once() -> None:
    sources = [
        {"kind": kind, "files": [said]}
        for kind, said in [("texts", {"license": "MIT"}), ("export", STATED), ("pairs", {})] * 2
    ]
    named = "MIT; private, with the consent of its people; no licence stated"
    assert describe_licences(sources) == named
