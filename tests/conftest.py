"""Fixtures that all tiers share: tiny models, a tiny tokenizer, and the material beside the project."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig, MeenaConfig
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer
from dialogue_generation_models.tokenizer.train import train_tokenizer

TINY_TEXTS = [
    "안녕하세요 반갑습니다",
    "오늘 뭐 먹을까?",
    "저녁에 영화 볼래? 재밌는 거 있대 ㅋㅋㅋ",
    "아 진짜 힘들다 ㅠㅠ 좀 쉬고 싶어",
    "그래 그럼 내일 보자!",
    "こんにちは、元気ですか?",
    "最近映画とかみた?",
    "うん、面白かったよ!",
    "そうなんだ、私もみようかな...",
    "Hello, how are you? 1234567890",
]


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl+C even where a script started the tests in the background: some send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test material beside the project; `DGM_SHARED` names another place."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("DGM_SHARED", default))
    if not (folder / "golden").is_dir():
        pytest.skip("the shared test material (golden checkpoints, corpora) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """A real tokenizer of a few hundred pieces, Korean and Japanese."""
    return train_tokenizer(TINY_TEXTS * 20, 362, threads=1)


@pytest.fixture
def tiny_gpt(tiny_tokenizer: Tokenizer) -> GPT:
    """A post-norm GPT of two layers with random weights, for `tiny_tokenizer`."""
    torch.manual_seed(0)
    config = GPTConfig(
        vocab_size=tiny_tokenizer.vocab_size, n_ctx=64, n_embd=32, n_layer=2, n_head=4, n_inner=64
    )
    return GPT(config).eval()


@pytest.fixture
def tiny_meena(tiny_tokenizer: Tokenizer) -> Meena:
    """A Meena of 1 + 2 layers with random weights, for `tiny_tokenizer`."""
    torch.manual_seed(0)
    config = MeenaConfig(
        vocab_size=tiny_tokenizer.vocab_size,
        n_ctx=64,
        n_encoder_ctx=32,
        n_embd=32,
        n_encoder_layer=1,
        n_encoder_head=4,
        n_encoder_inner=64,
        n_decoder_layer=2,
        n_decoder_head=4,
        n_decoder_inner=64,
    )
    return Meena(config).eval()


@pytest.fixture(autouse=True)
def _no_shared_randomness() -> Iterator[None]:
    """Each test starts from the same seed and leaves the generator as it found it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors are several times slower on many threads of a busy machine than on one."""
    torch.set_num_threads(1)


@pytest.fixture
def empty_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose curves are not drawn, which takes longer than a tiny training."""
    if find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write("<svg></svg>"))


@pytest.fixture
def tiny_folder(tiny_gpt: GPT, tiny_tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A model folder that holds `tiny_gpt`; it answers in at most 6 tokens."""
    folder = tmp_path / "tiny"
    save_folder(folder, tiny_gpt, tiny_tokenizer, DecodingConfig(max_tokens=6), card="A card.")
    return folder
