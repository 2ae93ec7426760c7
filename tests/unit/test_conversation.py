"""The conversation of `dgm chat` with a view that is driven and read by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.chat import Chatbot
from dialogue_generation_models.cli.conversation import Conversation
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.errors import OptionError
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

Line = str | BaseException | Callable[[], str]


class ScriptedView:
    """Types the script's lines, then leaves; keeps what is shown."""

    def __init__(self, script: Sequence[Line]) -> None:
        self._script = list(script)
        self.replies: list[str] = []
        self.notes: list[str] = []
        self.errors: list[str] = []
        self.shown: list[Sequence[Sequence[str]]] = []
        self.title = ""
        self.stop_after: int | None = None

    def ask(self) -> str | None:
        if not self._script:
            return None
        line = self._script.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line if isinstance(line, str) else line()

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        if self.stop_after == 0:
            raise KeyboardInterrupt
        yield

    @contextmanager
    def replying(self) -> Iterator[None]:
        self.replies.append("")
        yield

    def write(self, piece: str) -> None:
        self.replies[-1] += piece
        if self.stop_after is not None and len(self.replies[-1]) >= self.stop_after:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)

    def error(self, text: str) -> None:
        self.errors.append(text)

    def banner(self, title: str, lines: Sequence[str]) -> None:
        self.title = title

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        self.shown.append(rows)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.shown.append(rows)


@pytest.fixture
def bot(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> Chatbot:
    return Chatbot(tiny_gpt, tiny_tokenizer, DecodingConfig(max_tokens=8, min_tokens=4), "tiny")


def talk(
    bot: Chatbot, *script: Line, seed: int | None = 1, stop_after: int | None = None, **options: Any
) -> ScriptedView:
    view = ScriptedView(script)
    view.stop_after = stop_after
    Conversation(bot, view, options, seed, ["Korean"]).run()
    return view


def read_turns(path: Path) -> list[str]:
    return [turn["text"] for turn in json.loads(path.read_text(encoding="utf-8"))["turns"]]


@pytest.mark.parametrize("strategy", ["greedy", "top_p", "beam", "sample_and_rank"])
def test_each_message_gets_a_reply(bot: Chatbot, strategy: str) -> None:
    view = talk(bot, "안녕", "", "  ", "오늘 뭐 먹을까?", strategy=strategy)
    assert view.title == f"tiny · Korean · {strategy}"
    assert len(view.replies) == 2
    assert all(view.replies)
    assert not view.notes
    assert not view.errors


def test_the_dialogue_is_what_the_model_reads(bot: Chatbot, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    talk(bot, "안녕", "뭐해?", f"/save {path}", strategy="greedy")
    first = bot.reply(["안녕"], strategy="greedy")[0].text
    second = bot.reply(["안녕", first, "뭐해?"], strategy="greedy")[0].text
    assert read_turns(path) == ["안녕", first, "뭐해?", second]


def test_a_seed_repeats_the_conversation_and_retry_draws_anew(bot: Chatbot) -> None:
    script = ("안녕", "/retry", "/retry", "뭐해?")
    view = talk(bot, *script)
    assert view.replies == talk(bot, *script).replies
    assert len(set(view.replies)) == 4
    assert view.replies != talk(bot, *script, seed=2).replies
    assert view.replies != talk(bot, *script, seed=None).replies


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_retry_says_where_it_cannot_help(bot: Chatbot, strategy: str) -> None:
    view = talk(bot, "안녕", "/retry", strategy=strategy)
    assert len(view.replies) == 1
    assert "always finds the same reply" in view.notes[0]


@pytest.mark.parametrize("strategy", ["greedy", "top_p", "beam", "sample_and_rank"])
def test_candidates_are_ranked_and_best_first(bot: Chatbot, strategy: str) -> None:
    view = talk(bot, "안녕", "/candidates", "/candidates 12", strategy=strategy)
    ten, twelve = view.shown
    assert [row[0] for row in ten] == [str(i) for i in range(1, 11)]
    assert len(twelve) == 12
    scores = [float(row[1]) for row in ten]
    assert scores == sorted(scores, reverse=True)
    if strategy in ("beam", "sample_and_rank"):
        assert ten[0][3] == view.replies[0]


def test_more_candidates_than_the_options_allow(bot: Chatbot) -> None:
    view = talk(bot, "안녕", "/candidates", "/candidates 12", num_samples=3)
    assert [len(rows) for rows in view.shown] == [3, 12]


@pytest.mark.parametrize("argument", ["0", "-1", "many", "101", "²", "1 2"])
def test_candidates_takes_a_number(bot: Chatbot, argument: str) -> None:
    view = talk(bot, "안녕", f"/candidates {argument}")
    assert "number from 1 to 100" in view.notes[0]


def test_undo_and_new(bot: Chatbot, tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    view = talk(
        bot,
        "안녕",
        "뭐해?",
        "/undo",
        f"/save {one}",
        "/new",
        "다시",
        f"/save {two}",
        "/undo",
        "/undo",
    )
    assert read_turns(one)[::2] == ["안녕"]
    assert read_turns(two)[::2] == ["다시"]
    assert view.notes[-2:] == ["Taken back.", "Nothing to take back."]


@pytest.mark.parametrize("command", ["/retry", "/candidates", "/undo", "/save x.jsonl"])
def test_commands_before_the_first_message(bot: Chatbot, command: str) -> None:
    view = talk(bot, command)
    assert view.notes[0].startswith("Nothing")
    assert not view.replies


def test_unknown_commands_get_a_hint_and_two_slashes_a_reply(bot: Chatbot, tmp_path: Path) -> None:
    path = tmp_path / "talk"
    view = talk(bot, "/dance", "//dance", f"/save {path}")
    assert view.notes[0].startswith("No such command; /help")
    assert read_turns(path)[0] == "/dance"


def test_help_names_every_command(bot: Chatbot) -> None:
    view = ScriptedView(["/help"])
    conversation = Conversation(bot, view, {})
    conversation.run()
    named = {row[0].split()[0] for row in view.shown[0]}
    assert set(conversation.commands) - {"/help"} <= named


def test_quit_and_end_of_input_leave(bot: Chatbot) -> None:
    assert talk(bot, "/quit", "안녕").replies == []
    assert talk(bot).replies == []


def test_ctrl_c_at_the_prompt_tells_how_to_leave(bot: Chatbot) -> None:
    view = talk(bot, KeyboardInterrupt(), "안녕")
    assert view.notes == ["Ctrl+D or /quit leaves."]
    assert len(view.replies) == 1


def test_ctrl_c_keeps_the_part_of_a_reply_that_was_shown(bot: Chatbot, tmp_path: Path) -> None:
    path = tmp_path / "talk"
    view = talk(bot, "안녕", f"/save {path}", strategy="greedy", stop_after=2)
    assert view.notes[0].startswith("Stopped")
    assert read_turns(path) == ["안녕", view.replies[0]]


def test_ctrl_c_before_a_reply_leaves_the_dialogue_as_it_was(bot: Chatbot) -> None:
    view = talk(bot, "안녕", "/undo", stop_after=0)
    assert view.replies == []
    assert view.notes[0].startswith("Stopped before a reply")
    assert view.notes[1].startswith("Nothing")


def test_a_message_that_is_too_long_keeps_the_session(bot: Chatbot) -> None:
    view = talk(bot, "가나다 " * 5000, "안녕")
    assert "shorten it" in view.errors[0]
    assert len(view.replies) == 1


def test_status(bot: Chatbot) -> None:
    view = talk(bot, "/status", *["오늘 뭐 먹을까?"] * 5, "/status", temperature=0.5)
    before, after = (dict(rows) for rows in view.shown)
    assert before["model"] == "tiny · Korean"
    assert before["last reply"] == "none yet"
    assert "sample_and_rank" in before["strategy"]
    assert "temperature 0.5" in before["strategy"]
    assert "tokens/s" in after["last reply"]
    assert after["dialogue"].startswith("10 turns; the model reads the newest")


def test_save_never_overwrites(bot: Chatbot, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text("mine")
    missing = tmp_path / "no" / "talk.jsonl"
    impossible = ["/save ~nobody-of-this-name/a", f"/save {'a' * 300}"]
    view = talk(bot, "안녕", f"/save {path}", f"/save {missing}", "/save", *impossible)
    assert "exists already" in view.errors[0]
    assert all(error.startswith("Cannot write") for error in view.errors[1:])
    assert len(view.errors) == 4
    assert "name a file" in view.notes[0]
    assert path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["talk.jsonl"]


def test_wrong_options_are_refused_before_the_conversation(bot: Chatbot) -> None:
    with pytest.raises(OptionError):
        talk(bot, strategy="loud")
