"""What the terminal shows: widths, and text that must not steer it."""

from __future__ import annotations

import io

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.cells import cell_len
from rich.console import Console

from dialogue_generation_models.cli.terminal import TerminalView, printable


def make_view(width: int) -> tuple[TerminalView, io.StringIO]:
    view = TerminalView()
    screen = io.StringIO()
    view._console = Console(file=screen, width=width, highlight=False)
    return view, screen


def show(pieces: list[str], width: int) -> str:
    view, screen = make_view(width)
    with view.replying():
        for piece in pieces:
            view.write(piece)
    return screen.getvalue()


@pytest.mark.parametrize("width", [5, 20, 33, 80])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_replies_are_wrapped_by_display_width(width: int, size: int) -> None:
    text = "안녕하세요 오늘은 날씨가 참 좋네요, 最近映画とかみた? indeed 👍 " * 4
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    lines = show(pieces, width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith("  ") for line in lines[:-1])
    assert lines[-1] == ""
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_words_stay_whole_where_they_come_whole() -> None:
    lines = show(["one two", " three", " four"], 12).splitlines()
    assert [line.rstrip() for line in lines] == ["  one two", "  three four", ""]


def test_an_empty_reply_is_an_empty_line() -> None:
    assert show([], 80) == "\n"


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = "a\x1b[2J\x07b\r\nc\u202ed\u2028e"
    assert printable(text) == "a [2J b  c d e"
    assert "\x1b" not in show([text], 80)


def test_markup_in_texts_is_text() -> None:
    view, screen = make_view(80)
    view.note("[bold]x[/bold] :smile:")
    view.table(("#", "reply"), [("1", "[red]y[/red]")])
    view.facts([("name", "[link=z]")])
    shown = screen.getvalue()
    assert "[bold]x[/bold] :smile:" in shown
    assert "[red]y[/red]" in shown
    assert "[link=z]" in shown


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("안녕\r", "안녕"),
        ("\x1b[200~첫 줄\n둘째 줄\x1b[201~\r", "첫 줄\n둘째 줄"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("wrong\x03right\r", "right"),
        ("/sa\t f\r", "/save f"),
        ("\x04", None),
    ],
)
def test_keys(keys: str, expected: str | None) -> None:
    with create_pipe_input() as keyboard, create_app_session(keyboard, DummyOutput()):
        view = TerminalView()
        view.complete(["/save", "/status"])
        keyboard.send_text(keys)
        answer = view.ask()
    assert answer == expected


def test_ctrl_c_at_an_empty_prompt_is_told() -> None:
    with create_pipe_input() as keyboard, create_app_session(keyboard, DummyOutput()):
        view = TerminalView()
        keyboard.send_text("\x03")
        with pytest.raises(KeyboardInterrupt):
            view.ask()
