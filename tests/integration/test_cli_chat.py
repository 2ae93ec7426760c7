"""`dgm chat` as a user meets it: in a pipe, on a terminal, and with wrong arguments."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

SECRET = "비밀이야기"
PROGRAM = "import sys; from dialogue_generation_models.cli.main import main; sys.exit(main())"


def pipe(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: bytes,
    *arguments: str,
) -> tuple[int, list[str], str]:
    """Run `dgm chat` in this process with `text` on its standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="ascii"))
    code = main(["chat", *arguments])
    out, err = capfd.readouterr()
    return code, out.split("\n")[:-1], err


def test_a_pipe_gets_one_reply_a_line(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--model", str(tiny_folder), "--seed", "1")
    text = "안녕\n\n</s><sept>/quit\n/save x\n".encode() + b"\xff\xfe\xb0\xa1\n" + "끝".encode()
    code, lines, errors = pipe(capfd, monkeypatch, text, *arguments)
    assert (code, errors) == (0, "")
    assert len(lines) == 6
    assert lines[1] == ""
    assert pipe(capfd, monkeypatch, text, *arguments)[1] == lines


def test_a_line_that_cannot_be_read_is_named_and_the_rest_goes_on(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"안녕\n{SECRET * 200}\n안녕\n".encode()
    code, lines, errors = pipe(capfd, monkeypatch, text, "--model", str(tiny_folder))
    assert code == 1
    assert len(lines) == 3
    assert lines[1] == ""
    assert errors.startswith("dgm: line 2: The message has ")
    assert errors.count("\n") == 1
    assert SECRET not in errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "no-such-model"], 1, "no-such-model"),
        (["--model", "GPT-base-trained-on-dialogue-data-only-KR"], 1, "withdrawn"),
        (["--model", "TINY", "--strategy", "loud"], 2, "Unknown strategy 'loud'"),
        (["--model", "TINY", "--set", "loud=1"], 2, "loud"),
        (["--model", "TINY", "--set", "seed=1"], 2, "option of its own"),
        (["--model", "TINY", "--temperature", "-1"], 2, "temperature"),
        (["--model", "TINY", "--max-tokens", "1000"], 2, "max_tokens must be at most 48"),
        (["--model", "TINY", "--precision", "int4"], 2, "float32"),
        (["--model", "TINY", "--device", "abacus"], 2, "abacus"),
    ],
)
def test_errors_are_one_sentence(
    arguments: list[str],
    code: int,
    words: str,
    tiny_folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [str(tiny_folder) if argument == "TINY" else argument for argument in arguments]
    found, lines, errors = pipe(capfd, monkeypatch, b"hi\n", *arguments)
    assert (found, lines) == (code, [])
    assert errors.startswith("dgm: ")
    assert errors.count("\n") == 1
    assert words in errors


@pytest.mark.parametrize("command", ["chat", "generate"])
def test_help_needs_no_torch_and_no_terminal(command: str) -> None:
    program = (
        "import sys\n"
        "from dialogue_generation_models.cli.main import main\n"
        f"code = main(['{command}', '--help'])\n"
        "sys.exit(code or 3 * ('torch' in sys.modules))"
    )
    environment = {"PATH": os.environ["PATH"], "CI": "true", "TERM": "dumb", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=environment, check=False
    )
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    for option in ("--model", "--strategy", "--temperature", "--seed", "--precision", "--set"):
        assert option in shown
    assert "sample_and_rank" in shown
    assert "gpt-mini-ko" in shown


class Terminal:
    """A program on a pseudo-terminal of 80 × 24."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        import fcntl
        import struct
        import termios

        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {
            **os.environ,
            "TERM": "xterm",
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "OMP_NUM_THREADS": "1",  # threads that wait for each other are slow on a busy machine
            "LC_ALL": "C",
            "HOME": "/nonexistent",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(side)
        self.screen = ""

    def send(self, text: str) -> None:
        os.write(self._main, text.encode())

    def wait_for(self, text: str, seconds: float = 120.0) -> str:
        """Read until `text` appears; return what came up to it and forget that."""
        deadline = time.monotonic() + seconds
        received = self.screen.encode()
        while text.encode() not in received:
            ready, _, _ = select.select([self._main], [], [], deadline - time.monotonic())
            assert ready, f"no {text!r} in {received.decode(errors='replace')!r}"
            try:
                received += os.read(self._main, 65536)
            except OSError:
                break
        shown = received.decode(errors="replace")
        assert text in shown, f"the program ended without {text!r}: {shown!r}"
        before, self.screen = shown.split(text, 1)
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._main)


def test_a_session_on_a_terminal(tiny_folder: Path, tmp_path: Path) -> None:
    arguments = ["chat", "--model", str(tiny_folder), "--seed", "1", "--set", "min_tokens=3"]
    terminal = Terminal(arguments, tmp_path)
    try:
        banner = terminal.wait_for("leaves.")
        assert "tiny · sample_and_rank" in banner
        assert "not fact" in banner
        terminal.wait_for("› ")
        terminal.send("\x1b[200~안녕\n하세요\x1b[201~\r")
        terminal.wait_for("› ")
        terminal.send("/status\r")
        terminal.wait_for("tokens/s")
        terminal.send("/candidates\r")
        terminal.wait_for("score")
        terminal.send("/save talk.jsonl\r")
        terminal.wait_for("Saved 2 turns to talk.jsonl.")
        # Control keys mean something else until the prompt is there.
        terminal.wait_for("› ")
        terminal.send("\x03")
        terminal.wait_for("Ctrl+D or /quit leaves.")
        terminal.wait_for("› ")
        terminal.send("\x04")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()
    assert "안녕\\n하세요" in (tmp_path / "talk.jsonl").read_text(encoding="utf-8")


def test_ctrl_c_stops_a_reply_and_keeps_the_session(tiny_folder: Path, tmp_path: Path) -> None:
    # So many samples that the search is still going on when Ctrl+C comes.
    options = ["--set", "num_samples=1000", "--set", "min_tokens=48", "--max-tokens", "48"]
    terminal = Terminal(["chat", "--model", str(tiny_folder), *options], tmp_path)
    try:
        terminal.wait_for("leaves.")
        terminal.wait_for("› ")
        terminal.send("안녕\r")
        terminal.wait_for("⠋")  # the sign that a search has begun
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("the dialogue is as it was.")
        terminal.send("/quit\r")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()
