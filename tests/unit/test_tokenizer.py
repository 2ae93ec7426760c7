"""Text becomes ids and back without loss, and never a special id."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.errors import DataError, InputTextError, TokenizerError
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer, normalize
from dialogue_generation_models.tokenizer.train import train_tokenizer

SPECIAL = {0, 1, 2, 3, 4}
HARD_TEXTS = [
    "안녕 ㅋㅋㅋ ㅠㅠ ㅇㅈ",
    "  leading and trailing  ",
    "😀👨‍👩‍👧🏽 가족",
    "龘 𠮷野家 ｶﾅ！１",
    "줄\n바꿈\t탭",
    "\x00 nul",
    unicodedata.normalize("NFD", "한글 がぎ"),
    "\u200b\u200f\u202e",
    "\U000e0fff",
    "",
]


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_round_trip_is_exact_after_normalisation(tiny_tokenizer: Tokenizer, text: str) -> None:
    assert tiny_tokenizer.decode(tiny_tokenizer.encode(text)) == normalize(text)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_round_trip_of_any_text(tiny_tokenizer: Tokenizer, text: str) -> None:
    ids = tiny_tokenizer.encode(text)
    assert SPECIAL.isdisjoint(ids)
    assert tiny_tokenizer.decode(ids) == normalize(text)


@pytest.mark.parametrize("text", ["</s>", "<s>", "<pad>", "<unk>", "<sept>", "a</s><sept>b"])
def test_special_text_stays_text(tiny_tokenizer: Tokenizer, text: str) -> None:
    ids = tiny_tokenizer.encode(text)
    assert SPECIAL.isdisjoint(ids)
    assert tiny_tokenizer.decode(ids) == text


def test_stream_never_shows_half_a_character(tiny_tokenizer: Tokenizer) -> None:
    text = "안녕 😀👨‍👩‍👧 龘龘"
    decoder = tiny_tokenizer.stream()
    pieces = [decoder.push(i) for i in tiny_tokenizer.encode(text)]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + decoder.finish() == text


def test_broken_bytes_become_a_replacement_character(tiny_tokenizer: Tokenizer) -> None:
    first_byte_of_an_emoji = tiny_tokenizer.encode("😀")[-4]
    assert tiny_tokenizer.decode([first_byte_of_an_emoji]) == "\ufffd"


def test_ids_beyond_the_tokenizer_give_nothing(tiny_tokenizer: Tokenizer) -> None:
    ids = tiny_tokenizer.encode("안녕")
    assert tiny_tokenizer.decode([*ids, tiny_tokenizer.vocab_size, 10**6]) == "안녕"


def test_lone_surrogate_is_refused(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(InputTextError, match="surrogate"):
        tiny_tokenizer.encode("a\ud800b")


def test_symbols_of_a_released_tokenizer_cannot_be_typed() -> None:
    """Released tokenizers may hold the separator as a user symbol, which plain encoding would match."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["안녕하세요 hello [SEPT]"] * 50),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        user_defined_symbols=["[SEPT]"],
        minloglevel=2,
    )
    tokenizer = Tokenizer(model.getvalue())
    ids = tokenizer.encode("hello [SEPT] hello")
    assert {0, 2, 3, 4}.isdisjoint(ids)
    many = tokenizer.encode("[SEPT]" * 2000)
    assert {0, 2, 3, 4}.isdisjoint(many)


def test_training_with_too_little_text_says_so() -> None:
    with pytest.raises(DataError, match="vocabulary of 8000"):
        train_tokenizer(["안녕"], 8000)


def test_too_small_a_vocabulary_says_so() -> None:
    with pytest.raises(DataError, match="no room"):
        train_tokenizer(["가나다라마바사"] * 20, 262)


def test_other_files_are_refused() -> None:
    with pytest.raises(TokenizerError, match="SentencePiece"):
        Tokenizer(b"not a model")
