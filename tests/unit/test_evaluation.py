"""Evaluation: every figure against a value computed by hand, or against a slow twin."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.evaluation import EvaluationConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.config.training import (
    Recipe,
    SourceConfig,
    StageConfig,
    TokenizerConfig,
)
from dialogue_generation_models.dialogue import Dialogue, Turn
from dialogue_generation_models.errors import CheckpointError, DataError, UsageError
from dialogue_generation_models.evaluation.card import (
    CardFacts,
    DataSource,
    TrainingFacts,
    model_card,
)
from dialogue_generation_models.evaluation.diversity import distinct, diversity
from dialogue_generation_models.evaluation.exchanges import (
    Exchange,
    build_context,
    encode_exchanges,
    exchanges,
    reply_limit,
)
from dialogue_generation_models.evaluation.material import read_material, recipe_material
from dialogue_generation_models.evaluation.measure import Subject, evaluate
from dialogue_generation_models.evaluation.perplexity import (
    Perplexity,
    perplexity,
    score_exchanges,
    summarize,
)
from dialogue_generation_models.evaluation.ranking import Ranking, rank_replies, wilson_interval
from dialogue_generation_models.evaluation.report import Evaluation, Sample
from dialogue_generation_models.evaluation.scoring import score_in_batches
from dialogue_generation_models.evaluation.trigram import TrigramModel, trigram_pairs
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

TALK = [
    Exchange(("오늘 뭐 먹을까?",), "저녁에 영화 볼래?"),
    Exchange(("안녕하세요", "반갑습니다"), "재밌는 거 있대 ㅋㅋㅋ"),
    Exchange(("아 진짜 힘들다 ㅠㅠ",), "쉬어"),
    Exchange(("그래", "그럼", "내일 보자!"), "그래 그럼 내일 보자! 좀 쉬고 싶어"),
]


# --- exchanges ---------------------------------------------------------------------------------


def test_each_turn_after_the_first_is_a_reply_to_all_before_it() -> None:
    dialogue = Dialogue.from_texts(["a", "b", "c"])
    assert list(exchanges(dialogue)) == [Exchange(("a",), "b"), Exchange(("a", "b"), "c")]


def test_only_one_speaker_can_be_asked_for() -> None:
    dialogue = Dialogue.from_texts(["a", "b", "c", "d"])
    assert [item.reply for item in exchanges(dialogue, "B")] == ["b", "d"]
    assert [item.reply for item in exchanges(dialogue, "A")] == ["c"]


def test_neighbouring_messages_are_one_turn_and_blank_ones_none() -> None:
    said = [("A", "a"), ("A", "b"), ("B", "  "), ("A", "c"), ("B", "d")]
    dialogue = Dialogue(tuple(Turn(speaker, text) for speaker, text in said))
    assert list(exchanges(dialogue)) == [Exchange(("a b c",), "d")]


def test_a_lonely_turn_gives_no_exchange() -> None:
    assert list(exchanges(Dialogue.from_texts(["a"]))) == []


def test_reply_has_its_end_token_and_its_characters(
    tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    [item] = encode_exchanges(tiny_gpt.config, tiny_tokenizer, [Exchange(("안녕",), "쉬어")])
    assert item.reply == [*tiny_tokenizer.encode("쉬어"), tiny_gpt.config.eos_id]
    assert item.characters == len("쉬어") + 1
    assert not item.is_cut


def test_long_reply_is_cut_and_has_no_end(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    text = "오늘 뭐 먹을까? " * 40
    [item] = encode_exchanges(tiny_gpt.config, tiny_tokenizer, [Exchange(("안녕",), text)])
    assert item.is_cut
    assert item.reply == tiny_tokenizer.encode(text)[: reply_limit(tiny_gpt.config)]
    assert item.characters == len(tiny_tokenizer.decode(item.reply)) < len(text)


def test_oldest_turns_go_whole_until_context_and_reply_fit(
    tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    config = tiny_gpt.config
    turns = tuple(f"오늘 뭐 먹을까? {i}" for i in range(30))
    [item] = encode_exchanges(config, tiny_tokenizer, [Exchange(turns, "쉬어")])
    prompt = build_context(config, item, len(item.reply))
    kept = [config.bos_id]
    for text in turns[-prompt.count(config.sept_id) :]:
        kept += [*tiny_tokenizer.encode(text), config.sept_id]
    assert prompt == kept
    used = len(prompt) + len(item.reply) - 1
    next_turn = len(tiny_tokenizer.encode(turns[0])) + 1
    assert used <= config.n_ctx < used + next_turn


def test_exchange_whose_newest_turn_is_too_long_is_left_out(
    tiny_gpt: GPT, tiny_meena: Meena, tiny_tokenizer: Tokenizer
) -> None:
    items = [Exchange(("안녕하세요 " * 40,), "쉬어"), Exchange(("안녕",), "쉬어")]
    for model in (tiny_gpt, tiny_meena):
        assert len(encode_exchanges(model.config, tiny_tokenizer, items)) == 1


@pytest.mark.parametrize("length", [20, 31, 32, 33, 34, 63, 64, 65])
def test_every_kept_exchange_can_be_scored_beside_the_longest_reply(
    length: int, tiny_gpt: GPT, tiny_meena: Meena, tiny_tokenizer: Tokenizer
) -> None:
    context = "1" * length  # digits are tokens of their own
    items = [Exchange((context,), "2" * 200)]
    for model in (tiny_gpt, tiny_meena):
        encoded = encode_exchanges(model.config, tiny_tokenizer, items)
        for scores, item in zip(score_exchanges(model, encoded), encoded, strict=True):
            assert len(scores) == len(item.reply)


# --- perplexity --------------------------------------------------------------------------------


def test_uniform_model_has_the_vocabulary_as_perplexity(
    tiny_gpt: GPT, tiny_meena: Meena, tiny_tokenizer: Tokenizer
) -> None:
    for model in (tiny_gpt, tiny_meena):
        torch.nn.init.zeros_(model.token_embedding.weight)
        result = perplexity(model, tiny_tokenizer, TALK)
        assert result.per_token == pytest.approx(tiny_tokenizer.vocab_size, rel=1e-5)
        tokens = sum(len(tiny_tokenizer.encode(item.reply)) + 1 for item in TALK)
        characters = sum(len(item.reply) + 1 for item in TALK)
        assert (result.tokens, result.characters) == (tokens, characters)
        nats = tokens * math.log(tiny_tokenizer.vocab_size)
        assert result.per_character == pytest.approx(math.exp(nats / characters), rel=1e-5)
        assert result.mean_logp == pytest.approx(-math.log(tiny_tokenizer.vocab_size), rel=1e-5)


def test_perplexity_is_that_of_one_plain_pass(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    encode = tiny_tokenizer.encode
    prompt = [2, *encode("안녕하세요"), 4, *encode("반갑습니다"), 4]
    reply = [*encode("쉬어"), 3]
    logits = tiny_gpt(torch.tensor([prompt + reply]))[0].detach()
    logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    nats = -sum(float(logp[i, token]) for i, token in enumerate(reply))
    result = perplexity(tiny_gpt, tiny_tokenizer, [Exchange(("안녕하세요", "반갑습니다"), "쉬어")])
    assert result.per_token == pytest.approx(math.exp(nats / len(reply)), rel=1e-5)
    assert result.per_character == pytest.approx(math.exp(nats / 3), rel=1e-5)


def test_batching_changes_nothing(
    tiny_gpt: GPT, tiny_meena: Meena, tiny_tokenizer: Tokenizer
) -> None:
    for model in (tiny_gpt, tiny_meena):
        encoded = encode_exchanges(model.config, tiny_tokenizer, TALK)
        prompts = [build_context(model.config, item, len(item.reply)) for item in encoded]
        replies = [item.reply for item in encoded]
        done: list[int] = []
        single = score_in_batches(model, prompts, replies, batch_tokens=1, progress=done.append)
        together = score_in_batches(model, prompts, replies)
        assert done == [1] * len(TALK)
        for a, b, reply in zip(single, together, replies, strict=True):
            assert len(a) == len(reply)
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_dropout_of_a_model_in_training_stays_out(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    for layer in tiny_gpt.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.5
    expected = perplexity(tiny_gpt, tiny_tokenizer, TALK)
    tiny_gpt.train()
    assert perplexity(tiny_gpt, tiny_tokenizer, TALK) == expected
    assert tiny_gpt.training


def test_damaged_model_is_refused(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    torch.nn.init.constant_(tiny_gpt.token_embedding.weight, math.nan)
    with pytest.raises(CheckpointError, match="not finite"):
        perplexity(tiny_gpt, tiny_tokenizer, TALK)


def test_nothing_to_evaluate_is_refused(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="two turns"):
        perplexity(tiny_gpt, tiny_tokenizer, [])


# --- ranking -----------------------------------------------------------------------------------

NUMBERED = [Exchange((f"질문 {i}",), f"대답 {i}") for i in range(30)]


def _rig(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, logp_of: dict[bool, float]
) -> list[list[list[int]]]:
    """Score a reply by whether it carries the context's number; return the batches seen."""
    seen: list[list[list[int]]] = []

    def score(
        _: object, prompts: Sequence[list[int]], replies: Sequence[list[int]]
    ) -> list[Tensor]:
        seen.append([list(reply) for reply in replies])
        scores = []
        for prompt, reply in zip(prompts, replies, strict=True):
            asked = tokenizer.decode(prompt).split()[-1]
            given = tokenizer.decode(reply).split()[-1]
            scores.append(torch.full((len(reply),), logp_of[asked == given]))
        return scores

    monkeypatch.setattr("dialogue_generation_models.evaluation.scoring.score_replies", score)
    return seen


def test_model_that_knows_the_reply_has_recall_one(
    monkeypatch: pytest.MonkeyPatch, tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    _rig(monkeypatch, tiny_tokenizer, {True: -1.0, False: -2.0})
    result = rank_replies(tiny_gpt, tiny_tokenizer, NUMBERED)
    assert (result.recall, result.mrr, result.count, result.candidates) == (1.0, 1.0, 30, 20)
    assert result.high == pytest.approx(1.0)
    assert result.low == pytest.approx(30 / (30 + 1.959963984540054**2))


def test_model_that_is_always_wrong_has_recall_zero(
    monkeypatch: pytest.MonkeyPatch, tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    _rig(monkeypatch, tiny_tokenizer, {True: -2.0, False: -1.0})
    result = rank_replies(tiny_gpt, tiny_tokenizer, NUMBERED)
    assert (result.recall, result.mrr) == (0.0, pytest.approx(1 / 20))


def test_a_tie_counts_against_the_model(
    monkeypatch: pytest.MonkeyPatch, tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    _rig(monkeypatch, tiny_tokenizer, {True: -1.0, False: -1.0})
    assert rank_replies(tiny_gpt, tiny_tokenizer, NUMBERED).recall == 0.0


def test_distractors_differ_from_the_truth_and_follow_the_seed(
    monkeypatch: pytest.MonkeyPatch, tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    items = [*NUMBERED[:19], *[Exchange((f"질문 {i}",), "대답 0") for i in range(100)]]
    items.append(Exchange(("질문 7",), "대답 99"))

    def candidate_sets(seed: int) -> list[set[tuple[int, ...]]]:
        seen = _rig(monkeypatch, tiny_tokenizer, {True: -1.0, False: -2.0})
        rank_replies(tiny_gpt, tiny_tokenizer, items, candidates=10, seed=seed)
        # Batches of one exchange follow one another; they hold 10 replies in all.
        flat = [tuple(reply) for batch in seen for reply in batch]
        return [set(flat[i : i + 10]) for i in range(0, len(flat), 10)]

    first = candidate_sets(0)
    assert len(first) == len(items)
    assert all(len(candidates) == 10 for candidates in first)
    assert candidate_sets(0) == first
    assert candidate_sets(1) != first


def test_ranking_needs_enough_different_replies(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="at least 20 different replies, but there are 1;"):
        rank_replies(tiny_gpt, tiny_tokenizer, [Exchange(("a",), "b")] * 50)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (5, 10, 0.236593, 0.763407),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),  # the same
    ],
)
def test_wilson_interval_has_the_published_values(
    hits: int, count: int, low: float, high: float
) -> None:
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=6e-5)


# --- diversity ---------------------------------------------------------------------------------


def test_distinct_counts_over_all_replies() -> None:
    replies = [[5, 6, 5], [5, 6]]
    assert distinct(replies, 1) == 2 / 5
    assert distinct(replies, 2) == 2 / 3  # 5-6, 6-5, 5-6


def test_repetition_length_and_commonest() -> None:
    result = diversity([[5, 6, 7, 5, 6, 7], [5, 6, 7], [5, 6, 7], []])
    assert result.repetition == 1 / 4
    assert result.mean_tokens == 3.0
    assert result.most_common == 1 / 2
    assert result.replies == 4


def test_short_replies_have_no_pairs() -> None:
    assert diversity([[5], []]).distinct_2 == 0.0


def test_no_replies_are_refused() -> None:
    with pytest.raises(DataError, match="generated"):
        diversity([])


# --- trigram -----------------------------------------------------------------------------------


def test_trigram_by_hand() -> None:
    # Four trigrams, each once: absolute discounting of 0.75 at each level.
    model = TrigramModel.fit([([4], [5, 3]), ([4], [6, 3])], 8, start_id=2)
    p1 = 0.25 / 4 + 2.25 / 4 / 8  # 5 follows one token; 3, 5 and 6 each give up 0.75
    p2 = 0.25 / 2 + 1.5 / 2 * p1
    p3 = 0.25 / 2 + 1.5 / 2 * p2
    assert np.exp(model.logp(np.array([[2, 4, 5]])))[0] == pytest.approx(p3)
    # A context never seen: the shorter one decides.
    assert np.exp(model.logp(np.array([[7, 4, 5]])))[0] == pytest.approx(p2)
    assert np.exp(model.logp(np.array([[7, 7, 5]])))[0] == pytest.approx(p1)


Pairs = list[tuple[list[int], list[int]]]
_TOKENS = st.integers(3, 7)
_PAIRS = st.lists(
    st.tuples(st.lists(_TOKENS, max_size=3), st.lists(_TOKENS, min_size=1, max_size=12)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(_PAIRS)
def test_trigram_probabilities_sum_to_one(pairs: Pairs) -> None:
    model = TrigramModel.fit(pairs, 9, start_id=2)
    grams = np.array([[a, b, w] for a in range(9) for b in range(9) for w in range(9)])
    p = np.exp(model.logp(grams)).reshape(81, 9)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(_PAIRS)
def test_trigram_equals_its_slow_twin(pairs: Pairs) -> None:
    fast = TrigramModel.fit(pairs, 9, start_id=2).score(pairs)
    slow = _slow_trigram_scores(pairs, 9)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_trigram_equals_its_slow_twin_with_estimated_discounts() -> None:
    generator = np.random.default_rng(0)
    pairs = [
        ([4], (3 + generator.zipf(1.6, size=9) % 20).tolist()) for _ in range(120)
    ]  # many counts of 1, 2, 3 and 4
    counts = Counter(gram for pair in pairs for gram in _grams(*pair))
    assert {1, 2, 3, 4} <= set(counts.values())
    fast = TrigramModel.fit(pairs, 30, start_id=2).score(pairs)
    for a, b in zip(fast, _slow_trigram_scores(pairs, 30), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def _grams(context: Sequence[int], reply: Sequence[int]) -> list[tuple[int, ...]]:
    line = [*[2, 2, *context][-2:], *reply]
    return [tuple(line[i : i + 3]) for i in range(len(reply))]


def _slow_trigram_scores(pairs: Pairs, vocab_size: int) -> list[list[float]]:
    """Modified Kneser-Ney with dictionaries, as in Chen and Goodman 1998."""
    top = Counter(gram for pair in pairs for gram in _grams(*pair))
    middle = Counter(gram[1:] for gram in top)
    low = Counter(gram[1:] for gram in middle)

    def discounts(level: Counter[tuple[int, ...]]) -> list[float]:
        n1, n2, n3, n4 = (sum(c == k for c in level.values()) for k in (1, 2, 3, 4))
        if not n1 * n2 * n3 * n4:
            return [0.75] * 3
        y = n1 / (n1 + 2 * n2)
        raw = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return [min(max(d, 0.1), k - 0.05) for k, d in enumerate(raw, start=1)]

    def probability(gram: tuple[int, ...], levels: list[Counter[tuple[int, ...]]]) -> float:
        if not levels:
            return 1 / vocab_size
        level = levels[0]
        lower = probability(gram[1:], levels[1:])
        d = discounts(level)
        followers = [c for g, c in level.items() if g[:-1] == gram[:-1]]
        if not followers:
            return lower
        count = level[gram]
        kept = count - d[min(count, 3) - 1] if count else 0.0
        held_back = sum(d[min(c, 3) - 1] for c in followers)
        return (kept + held_back * lower) / sum(followers)

    memory: dict[tuple[int, ...], float] = defaultdict(float)
    for gram in top:
        memory[gram] = math.log(probability(gram, [top, middle, low]))
    return [[memory[gram] for gram in _grams(*pair)] for pair in pairs]


def test_trigram_scores_the_same_tokens_as_the_model(
    tiny_gpt: GPT, tiny_tokenizer: Tokenizer
) -> None:
    encoded = encode_exchanges(tiny_gpt.config, tiny_tokenizer, TALK)
    pairs = trigram_pairs(encoded, tiny_gpt.config.sept_id)
    trigram = TrigramModel.fit(pairs, tiny_tokenizer.vocab_size, start_id=2)
    ours = summarize(encoded, score_exchanges(tiny_gpt, encoded))
    theirs = summarize(encoded, trigram.score(pairs))
    assert (ours.tokens, ours.characters) == (theirs.tokens, theirs.characters)
    # It has seen these replies, and the random model has not.
    assert theirs.per_token < ours.per_token
    for (context, _), item in zip(pairs, encoded, strict=True):
        assert context == build_context(tiny_gpt.config, item, len(item.reply))[-2:]


def test_trigram_needs_text() -> None:
    with pytest.raises(DataError, match="trigram"):
        TrigramModel.fit([], 8, start_id=2)


# --- material ----------------------------------------------------------------------------------


def _write_dialogues(path: Path, count: int, prefix: str = "d") -> Path:
    lines = [
        f'{{"id": "{prefix}-{i}", "turns": [{{"speaker": "A", "text": "질문이 있어요 {prefix} {i}"}}, '
        f'{{"speaker": "B", "text": "그래 대답이야 {prefix} {i}"}}]}}'
        for i in range(count)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_held_out_part_is_evaluated_and_the_rest_trains_the_trigram(tmp_path: Path) -> None:
    path = _write_dialogues(tmp_path / "a.jsonl", 200)
    material = read_material([path], held_out=10.0)
    trained = list(material.trigram_items or ())
    assert 5 < len(material.items) < 40
    assert len(material.items) + len(trained) == 200
    assert not set(material.items) & set(trained)


def test_copies_of_evaluated_dialogues_do_not_train_the_trigram(tmp_path: Path) -> None:
    words = "어제 오후에 말하던 그것"  # short exchanges count as no copies
    data = _write_dialogues(tmp_path / "a.jsonl", 3, words)
    train = _write_dialogues(tmp_path / "b.jsonl", 5, words)
    material = read_material([data], train=[train])
    assert [item.reply[-1] for item in material.trigram_items or ()] == ["3", "4"]


def test_recipe_decides_what_is_evaluated(tmp_path: Path) -> None:
    _write_dialogues(tmp_path / "a.jsonl", 100, "a")
    _write_dialogues(tmp_path / "b.jsonl", 100, "b")
    sources = [
        SourceConfig(path="a.jsonl", license="MIT", limit=50, repeat=3),
        SourceConfig(path="b.jsonl", license="MIT", reply_speaker="A"),
    ]
    stage = StageConfig(
        name="talk", objective="dialogue", sources=sources, steps=1, batch_size=1, learning_rate=1.0
    )
    recipe = Recipe(
        name="m",
        language="ko",
        license="MIT",
        data_root=str(tmp_path),
        validation_percent=20.0,
        tokenizer=TokenizerConfig(sources=["a.jsonl"]),
        model=GPTConfig(vocab_size=9, n_embd=4, n_layer=1, n_head=1, n_inner=4),
        stages=[stage],
    )
    material = recipe_material(recipe)
    held_out = set(material.items)
    trained = set(material.trigram_items or ())
    assert material.names == ("a.jsonl", "b.jsonl")
    # In b, A never replies; of a, only the first 50 lines count.
    assert {item.reply.split()[2] for item in held_out | trained} == {"a"}
    assert len(held_out) + len(trained) == 50
    assert 3 <= len(held_out) <= 20
    expected = read_material([tmp_path / "a.jsonl"], held_out=20.0).items
    assert held_out <= set(expected)


def test_folder_gives_its_files_in_order(tmp_path: Path) -> None:
    _write_dialogues(tmp_path / "b.jsonl", 1, "b")
    _write_dialogues(tmp_path / "a.jsonl", 1, "a")
    (tmp_path / "notes.md").write_text("x")
    material = read_material([tmp_path])
    assert material.names == ("a.jsonl", "b.jsonl")
    assert material.trigram_items is None


def test_unusable_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"turns": [{"speaker": "A", "text": "a"}]}\n')
    with pytest.raises(DataError, match="two turns"):
        read_material([path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no"):
        read_material([tmp_path / "empty"])
    with pytest.raises(UsageError, match="not both"):
        read_material([path], train=[path], held_out=1.0)


# --- all together ------------------------------------------------------------------------------


def _evaluate(model: GPT | Meena, tokenizer: Tokenizer, tmp_path: Path) -> Evaluation:
    path = _write_dialogues(tmp_path / "a.jsonl", 40)
    train = _write_dialogues(tmp_path / "b.jsonl", 30, "t")
    contexts = _write_dialogues(tmp_path / "contexts.jsonl", 3, "c")
    decoding = DecodingConfig(strategy="sample", max_tokens=6, num_return=1)
    options = EvaluationConfig(limit=25, ranked=4, generated=9)
    names: list[str] = []

    def track(name: str, _: int) -> object:
        names.append(name)
        return lambda __: None

    subject = Subject("tiny", model, tokenizer, decoding)
    material = read_material([path], train=[train], contexts=contexts)
    result = evaluate(subject, material, options, track)  # type: ignore[arg-type]
    assert names == ["perplexity", "trigram", "ranking", "replies", "samples"]
    return result


def test_all_measures_are_taken_and_repeatable(
    tiny_gpt: GPT, tiny_meena: Meena, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for model in (tiny_gpt, tiny_meena):
        result = _evaluate(model, tiny_tokenizer, tmp_path)
        assert result.exchanges == 25
        assert result.ranking is not None
        assert result.ranking.count == 4
        assert result.diversity is not None
        assert result.diversity.replies == 9
        assert result.diversity.mean_tokens <= 6
        assert result.trigram is not None
        assert result.trigram.tokens == result.perplexity.tokens
        assert [len(sample.context) for sample in result.samples] == [2, 2, 2]
        assert _evaluate(model, tiny_tokenizer, tmp_path) == result


def test_evaluation_is_written_and_read_back(
    tiny_gpt: GPT, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    result = _evaluate(tiny_gpt, tiny_tokenizer, tmp_path)
    path = tmp_path / "evaluation.json"
    result.write(path)
    assert Evaluation.read(path) == result
    assert not list(tmp_path.glob("*.partial"))
    path.write_text("{}")
    with pytest.raises(DataError, match="is no evaluation"):
        Evaluation.read(path)


def test_few_replies_leave_ranking_out(
    tiny_gpt: GPT, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    subject = Subject("tiny", tiny_gpt, tiny_tokenizer, DecodingConfig())
    material = read_material([_write_dialogues(tmp_path / "a.jsonl", 5)])
    result = evaluate(subject, material, EvaluationConfig(generated=0), lambda *_: lambda _: None)
    assert (result.ranking, result.diversity, result.trigram) == (None, None, None)
    assert result.samples == ()


# --- model card --------------------------------------------------------------------------------

EVALUATION = Evaluation(
    model="gpt-mini-ko",
    data=("talk.jsonl",),
    options=EvaluationConfig(),
    decoding=DecodingConfig(num_return=1, seed=0),
    version="0.1.0",
    exchanges=500,
    cut=1,
    left_out=2,
    perplexity=Perplexity(31.25, 4.5, 9000, 20000, -3.44),
    trigram=Perplexity(78.125, 7.25, 9000, 20000, -4.36),
    ranking=Ranking(0.42, 0.38, 0.46, 0.55, 500, 20),
    diversity=diversity([[5, 6, 7], [5, 6, 8]]),
    samples=(Sample(("안녕", "응 | <b>왜</b>?"), "*밥*\n먹자"),),
)
FACTS = CardFacts(
    name="gpt-mini-ko",
    language="ko",
    licence="CC-BY-SA-4.0",
    architecture="GPT, 6 layers, width 384",
    parameters=13_900_000,
    vocab_size=8192,
    data=(DataSource("komuchat", "MIT", "dialogue", 24_613), DataSource("nsmc", "CC0 1.0", "text")),
    training=TrainingFacts(5000, 40_000_000, 2.5, "2 CPU cores", 0, "dgm train recipes/x.toml"),
    evaluation=EVALUATION,
    weaknesses=("It loves films.",),
)


def test_card_front_matter_is_what_hubs_read() -> None:
    _, front, _ = model_card(FACTS).split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["license"] == "cc-by-sa-4.0"
    assert data["language"] == ["ko"]
    assert data["datasets"] == ["komuchat", "nsmc"]
    [entry] = data["model-index"]
    assert entry["name"] == "gpt-mini-ko"
    [result] = entry["results"]
    assert result["task"]["type"] == "text-generation"
    assert set(result["dataset"]) == {"type", "name"}
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["Perplexity per token"] == 31.25
    assert values["Recall@1 of 20"] == 0.42
    assert data["metrics"] == ["perplexity", "recall", "distinct-2"]


def test_card_says_what_a_reader_needs() -> None:
    card = model_card(FACTS)
    for text in (
        "13.9 M parameters",
        "| komuchat | dialogue | 24,613 | MIT |",
        "dgm train recipes/x.toml",
        "| perplexity per token | 31.25 |",
        "| trigram's perplexity per token | 78.12 |",
        "0.420 (0.380-0.460)",
        "It loves films.",
        "real help",
        "not fact",
        "2001.09977",
    ):
        assert text in card


def test_card_shows_chat_text_as_it_is_and_in_its_cell() -> None:
    [row] = [line for line in model_card(FACTS).splitlines() if "안녕" in line]
    assert row == r"| 안녕 / 응 \| \<b\>왜\</b\>? | \*밥\* 먹자 |"


def test_card_of_an_untested_model_has_no_figures() -> None:
    bare = CardFacts("m", "ja", "mit", "Meena", 1_000_000, 8192, ())
    card = model_card(bare)
    assert "## Figures" not in card
    assert "model-index" not in card
    assert "Cautions" in card
