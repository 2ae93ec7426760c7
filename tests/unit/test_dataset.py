"""What a model is shown and what it should say, token by token."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dialogue_generation_models.config.model import GPTConfig, MeenaConfig
from dialogue_generation_models.data.dataset import (
    IGNORED,
    PackedRows,
    ReplyPairs,
    Sample,
    TokenizedDialogue,
    dialogue_samples,
    text_samples,
    tokenize_dialogues,
)
from dialogue_generation_models.data.split import is_held_out, without_copies
from dialogue_generation_models.dialogue import Dialogue, Turn
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

BOS, EOS, SEPT = 2, 3, 4
X = IGNORED


def gpt_config(n_ctx: int = 16) -> GPTConfig:
    return GPTConfig(vocab_size=100, n_ctx=n_ctx, n_embd=8, n_layer=1, n_head=2, n_inner=8)


def meena_config() -> MeenaConfig:
    return MeenaConfig(
        vocab_size=100,
        n_ctx=24,
        n_encoder_ctx=12,
        n_embd=8,
        n_encoder_layer=1,
        n_encoder_head=2,
        n_encoder_inner=8,
        n_decoder_layer=1,
        n_decoder_head=2,
        n_decoder_inner=8,
    )


def dialogue(*turns: list[int], is_reply: tuple[bool, ...] | None = None) -> TokenizedDialogue:
    default = tuple(i > 0 for i in range(len(turns)))
    return TokenizedDialogue(tuple(turns), is_reply or default)


def test_each_turn_after_the_first_is_learnt_and_ends_with_eos() -> None:
    (sample,) = dialogue_samples([dialogue([10, 11], [20], [30, 31])], gpt_config())
    assert sample.input_ids == [BOS, 10, 11, SEPT, 20, SEPT, 30, 31, SEPT]
    assert sample.labels == [X, X, X, 20, EOS, 30, 31, EOS, X]


def test_only_the_chosen_replies_are_learnt() -> None:
    only_last = dialogue([10], [20], [30], is_reply=(False, False, True))
    (sample,) = dialogue_samples([only_last], gpt_config())
    assert sample.labels == [X, X, X, X, 30, EOS, X][: len(sample.input_ids)]


def test_long_dialogues_are_continued_with_context_and_learnt_once() -> None:
    turns = [[10 + i] * 3 for i in range(12)]
    samples = list(dialogue_samples([dialogue(*turns)], gpt_config(16)))
    assert len(samples) > 1
    assert all(len(s.input_ids) == len(s.labels) <= 16 for s in samples)
    learnt = [label for s in samples for label in s.labels if label >= 10]
    assert learnt == [token for turn in turns[1:] for token in turn]
    for before, after in pairwise(samples):
        assert after.input_ids[1] in before.input_ids  # opens with turns already seen


def test_a_turn_that_fits_only_without_overlap_is_still_learnt() -> None:
    turns = ([10] * 4, [20] * 4, [30] * 13)
    samples = list(dialogue_samples([dialogue(*turns)], gpt_config(16)))
    assert [s.labels.count(20) for s in samples] == [4, 0]
    assert all(len(s.input_ids) <= 16 for s in samples)


def test_texts_are_cut_without_losing_a_token(tiny_tokenizer: Tokenizer) -> None:
    text = "오늘 저녁에 영화 볼래? " * 5
    samples = list(text_samples([text], tiny_tokenizer, gpt_config(16)))
    assert all(len(s.input_ids) == len(s.labels) <= 16 for s in samples)
    labels = [label for s in samples for label in s.labels]
    assert labels == [*tiny_tokenizer.encode(text), EOS]


def test_packing_keeps_every_sample_whole_and_apart() -> None:
    samples = [Sample([BOS, *range(5, 5 + n)], [*range(5, 5 + n), EOS]) for n in range(1, 14)] * 4
    rows = PackedRows(samples, gpt_config(16), batch_size=3, seed=0)
    batches = [rows.batch(i) for i in range(rows.batches_per_epoch)]
    seen = []
    for batch in batches:
        ids, segments = batch.inputs["input_ids"], batch.inputs["segment_ids"]
        assert (batch.labels[segments == 0] == IGNORED).all()
        for row, marks, labels in zip(ids, segments, batch.labels, strict=True):
            for number in range(1, marks.max() + 1):
                place = marks == number
                seen.append((row[place].tolist(), labels[place].tolist()))
    assert sorted(seen) == sorted((s.input_ids, s.labels) for s in samples)
    used = np.mean([(b.inputs["segment_ids"] > 0).mean() for b in batches])
    assert used > 0.85


def test_batches_depend_on_seed_and_number_alone() -> None:
    samples = [Sample([BOS, i], [i, EOS]) for i in range(5, 90)] * 3
    one, two = (PackedRows(samples, gpt_config(), 4, seed=1) for _ in range(2))
    other = PackedRows(samples, gpt_config(), 4, seed=2)
    one.batch(0)
    far = one.batches_per_epoch * 3 + 1
    np.testing.assert_array_equal(one.batch(far).labels, two.batch(far).labels)
    assert not np.array_equal(one.batch(far).labels, one.batch(1).labels)
    assert not np.array_equal(one.batch(0).labels, other.batch(0).labels)


def test_pairs_hold_context_and_reply() -> None:
    pairs = ReplyPairs(
        [dialogue([10, 11], [20], [30, 31])], meena_config(), 4, seed=0, vary_context=False
    )
    batch = pairs.batch(0)
    found = {
        tuple(reply[reply != 0]): tuple(context[context != 0])
        for reply, context in zip(
            batch.inputs["reply_ids"], batch.inputs["context_ids"], strict=True
        )
    }
    assert found == {(BOS, 20): (10, 11, SEPT), (BOS, 30, 31): (10, 11, SEPT, 20, SEPT)}
    for reply, labels in zip(batch.inputs["reply_ids"], batch.labels, strict=True):
        length = (reply != 0).sum()
        assert labels[: length - 1].tolist() == reply[1:length].tolist()
        assert labels[length - 1] == EOS
        assert (labels[length:] == IGNORED).all()


def test_every_reply_comes_once_an_epoch_with_a_context_that_fits() -> None:
    dialogues = [dialogue(*([10 + d] * (1 + t % 4) for t in range(6))) for d in range(20)]
    pairs = ReplyPairs(dialogues, meena_config(), batch_size=8, seed=3)
    for epoch in range(2):
        first = epoch * pairs.batches_per_epoch
        batches = [pairs.batch(first + i) for i in range(pairs.batches_per_epoch)]
        assert sum(len(b.labels) for b in batches) == 20 * 5
        assert max(b.inputs["context_ids"].shape[1] for b in batches) <= 12


def test_pairs_go_on_from_any_step() -> None:
    dialogues = [dialogue(*([10 + d] * 3 for _ in range(4))) for d in range(20)]
    one, two = (ReplyPairs(dialogues, meena_config(), 4, seed=5) for _ in range(2))
    for i in range(20):
        one.batch(i)
    np.testing.assert_array_equal(
        one.batch(20).inputs["context_ids"], two.batch(20).inputs["context_ids"]
    )


def test_tokenising_merges_speakers_and_chooses_the_replying_side(
    tiny_tokenizer: Tokenizer,
) -> None:
    turns = (Turn("A", "안녕"), Turn("A", "뭐해?"), Turn("B", "그냥 쉬고 있어"), Turn("A", "그래"))
    options = {"max_turn_tokens": 50}
    (both,) = tokenize_dialogues([Dialogue(turns)], tiny_tokenizer, **options)
    assert tiny_tokenizer.decode(both.turns[0]) == "안녕 뭐해?"
    assert both.is_reply == (False, True, True)
    (one,) = tokenize_dialogues([Dialogue(turns)], tiny_tokenizer, reply_speaker="B", **options)
    assert one.is_reply == (False, True, False)
    assert not list(
        tokenize_dialogues([Dialogue(turns)], tiny_tokenizer, reply_speaker="C", **options)
    )


def test_cut_turns_are_not_learnt(tiny_tokenizer: Tokenizer) -> None:
    long = Dialogue.from_texts(["안녕", "진짜 " * 100, "그래"])
    (tokenized,) = tokenize_dialogues([long], tiny_tokenizer, max_turn_tokens=20)
    assert len(tokenized.turns[1]) == 20
    assert tokenized.is_reply == (False, False, True)


def test_the_held_out_part_is_stable_and_of_the_asked_size() -> None:
    dialogues = [Dialogue((), f"set-{i}") for i in range(5000)]
    held_out = [d for d in dialogues if is_held_out(d, 2.0)]
    assert held_out == [d for d in dialogues if is_held_out(d, 2.0)]
    assert 60 < len(held_out) < 140


def test_dialogues_without_an_id_are_held_out_by_their_texts() -> None:
    dialogues = [Dialogue.from_texts([f"안녕 {i}", "\ud800"]) for i in range(5000)]
    assert 60 < sum(is_held_out(dialogue, 2.0) for dialogue in dialogues) < 140


MOVIE = "어제 밤에 둘이 같이 본 영화는 어땠어?"
OPINION = "생각보다 훨씬 재밌었어, 또 보고 싶더라!"


@pytest.mark.parametrize(
    ("texts", "is_kept"),
    [
        (["오늘 저녁 뭐 먹을까?", "  오늘 저녁, 뭐먹을까 "], True),
        ([MOVIE, OPINION], False),
        (["딴 얘기", MOVIE, f"{OPINION} ㅎ"], True),
        (["딴 얘기야", MOVIE.replace("?", "??"), OPINION.replace(" ", "  ")], False),
        (["はじめまして、よろしくお願いします", "こちらこそ、お願いします"], True),
    ],
)
def test_copies_of_held_out_exchanges_are_left_out(texts: list[str], is_kept: bool) -> None:
    held_out = [
        Dialogue.from_texts([MOVIE, OPINION]),
        Dialogue.from_texts(["はじめまして、よろしくお願いします", "こちらこそ、お願いします"]),
    ]
    kept = list(without_copies([Dialogue.from_texts(texts)], held_out))
    assert bool(kept) is is_kept
