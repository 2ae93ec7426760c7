"""Chatbot: history, options, odd input, streams, and sessions that must not see each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import dialogue_generation_models as dgm
from dialogue_generation_models.chat import (
    MAX_TURN_CHARACTERS,
    Chatbot,
    ReplyStream,
    reply_room,
)
from dialogue_generation_models.config.decoding import PRESETS, DecodingConfig
from dialogue_generation_models.dialogue import Dialogue, Turn, is_blank
from dialogue_generation_models.errors import (
    InputTextError,
    OptionError,
    TokenizerError,
    UsageError,
)
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

TURNS = ["오늘 뭐 먹을까?", "아 진짜 힘들다", "그래 그럼 내일 보자!"]


@pytest.fixture
def bot(tiny_gpt: GPT, tiny_tokenizer: Tokenizer) -> Chatbot:
    return Chatbot(tiny_gpt, tiny_tokenizer, DecodingConfig(max_tokens=8), "tiny")


@pytest.fixture
def meena_bot(tiny_meena: Meena, tiny_tokenizer: Tokenizer) -> Chatbot:
    return Chatbot(tiny_meena, tiny_tokenizer, DecodingConfig(max_tokens=8), "tiny")


@pytest.fixture(params=["gpt", "meena"])
def any_bot(request: pytest.FixtureRequest, bot: Chatbot, meena_bot: Chatbot) -> Chatbot:
    return {"gpt": bot, "meena": meena_bot}[request.param]


def test_candidates_come_ranked(any_bot: Chatbot) -> None:
    replies = any_bot.reply(TURNS, candidates=10, seed=0)
    scores = [reply.score for reply in replies]
    assert len(replies) == 10
    assert scores == sorted(scores, reverse=True)
    assert all(1 <= reply.tokens <= 8 and reply.logp < 0 for reply in replies)
    assert len({reply.text for reply in replies}) == 10


@pytest.mark.parametrize("strategy", sorted(PRESETS))
def test_every_preset_answers(any_bot: Chatbot, strategy: str) -> None:
    replies = any_bot.reply(["안녕하세요"], strategy=strategy, max_tokens=9, seed=1)
    assert 1 <= len(replies) <= PRESETS[strategy].num_return


@pytest.mark.parametrize("count", [1, 7, 12, 25])
@pytest.mark.parametrize("strategy", ["sample", "beam", "diverse_beam", "sample_and_rank"])
def test_any_number_of_candidates(bot: Chatbot, strategy: str, count: int) -> None:
    replies = bot.reply(["안녕"], candidates=count, strategy=strategy, max_tokens=4, seed=0)
    assert len(replies) == count


def test_same_seed_same_replies_in_any_batch(any_bot: Chatbot) -> None:
    histories = [[text] for text in TURNS] + [TURNS]
    together = any_bot.reply_batch(histories, seed=3, candidates=2)
    alone = [any_bot.reply(history, seed=3, candidates=2) for history in histories]
    assert [[r.text for r in rs] for rs in together] == [[r.text for r in rs] for rs in alone]
    assert any_bot.reply(TURNS, seed=4)[0].text != together[-1][0].text


def test_any_number_of_histories_in_order_and_each_as_if_alone(any_bot: Chatbot) -> None:
    histories = [[text] for text in TURNS * 3] + [TURNS]
    read: list[int] = []
    coming = (read.append(place) or history for place, history in enumerate(histories))
    answers = any_bot.reply_each(coming, at_once=2, seed=3, candidates=2)
    found = [next(answers)]
    assert len(read) < len(histories)
    found += answers
    alone = [any_bot.reply(history, seed=3, candidates=2) for history in histories]
    assert [[r.text for r in rs] for rs in found] == [[r.text for r in rs] for rs in alone]


def test_no_histories_give_no_replies(bot: Chatbot) -> None:
    assert bot.reply_batch([]) == []
    assert list(bot.reply_each([])) == []
    with pytest.raises(OptionError, match="at_once"):
        next(bot.reply_each([["안녕"]], at_once=0))


@pytest.mark.parametrize("strategy", ["greedy", "sample", "beam", "sample_and_rank"])
def test_stream_spells_the_reply(any_bot: Chatbot, strategy: str) -> None:
    stream = any_bot.stream(TURNS, seed=5, strategy=strategy)
    pieces = list(stream)
    [reply] = any_bot.reply(TURNS, seed=5, strategy=strategy, candidates=1)
    assert "".join(pieces) == stream.text == reply.text
    assert stream.tokens == reply.tokens


def test_stream_reports_errors_at_once(bot: Chatbot) -> None:
    with pytest.raises(InputTextError):
        bot.stream([""])


def test_folder_options_hold_unless_the_call_names_others(bot: Chatbot) -> None:
    assert bot.settle() == bot.decoding
    assert bot.settle(temperature=0.5).temperature == 0.5
    assert bot.settle(strategy="top_p") == PRESETS["top_p"].replace(max_tokens=48)
    assert bot.settle(strategy="top_p", top_p=0.3).top_p == 0.3
    assert bot.settle(seed=7).seed == 7


def test_lengths_of_a_base_fit_the_model_and_given_ones_are_checked(meena_bot: Chatbot) -> None:
    room = reply_room(meena_bot.config)
    assert room == 32
    assert meena_bot.settle(strategy="demo_beam").max_tokens == room
    assert meena_bot.settle(strategy="demo_beam", max_tokens=4).min_tokens == 4
    with pytest.raises(OptionError, match="max_tokens must be at most 32"):
        meena_bot.settle(max_tokens=33)
    with pytest.raises(OptionError, match=r"(?i)min_tokens must not exceed"):
        meena_bot.settle(min_tokens=9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "loud"}, "Unknown strategy 'loud'; choose from greedy"),
        ({"temprature": 1.0}, "temprature"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 2, "strategy": "greedy"}, "sample_and_rank"),
        ({"seed": -1}, "seed"),
    ],
)
def test_illegal_options_are_named(bot: Chatbot, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        bot.reply(["안녕"], **options)


BLANK = ["", " \t\n", "\u200b\u200d\ufeff", "\u3164\u115f", "\u0301\u0301", "\u2800", "\x00\x1b"]


@pytest.mark.parametrize("text", BLANK)
def test_a_message_without_anything_to_see_is_refused(bot: Chatbot, text: str) -> None:
    assert is_blank(text)
    with pytest.raises(InputTextError, match="empty"):
        bot.reply([*TURNS, text])


@pytest.mark.parametrize(
    "text",
    ["😀", "👨‍👩‍👧", "\u0378", "\ue000", ".", "\u202eabc", "ㅋ" * 20, "a\u0301" * 8, "</s><pad>"],
)
def test_odd_messages_are_answered(any_bot: Chatbot, text: str) -> None:
    assert any_bot.reply([text], candidates=1, seed=0)[0].tokens > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("안녕\ud800", "Unicode"),
        ("가" * 1_000_000, "1,000,000 characters"),
        ("a" + "\u0301\u0316" * 500_000, "1,000,001 characters"),
        ("가나다 " * 400, "tokens"),
    ],
)
def test_messages_that_cannot_be_read_are_refused(bot: Chatbot, text: str, words: str) -> None:
    with pytest.raises(InputTextError, match=words) as caught:
        bot.reply([text])
    assert text[:3] not in str(caught.value)


@pytest.mark.parametrize("history", ["안녕", [b"x"], [None]])
def test_a_history_is_a_list_of_texts(bot: Chatbot, history: Any) -> None:
    with pytest.raises(UsageError, match="list of texts"):
        bot.reply(history)


@pytest.mark.parametrize("groups", [0, "two"])
def test_impossible_groups_are_refused_by_name(bot: Chatbot, groups: Any) -> None:
    with pytest.raises(OptionError, match="num_beam_groups"):
        bot.reply(["안녕"], candidates=2, strategy="diverse_beam", num_beam_groups=groups)


def test_an_empty_history_is_refused(bot: Chatbot) -> None:
    with pytest.raises(InputTextError, match="history is empty"):
        bot.reply(Dialogue(()))
    with pytest.raises(InputTextError, match="history is empty"):
        bot.reply([])


def test_a_dialogue_is_a_history(bot: Chatbot) -> None:
    turns = (Turn("A", "오늘"), Turn("A", "뭐 먹을까?"), Turn("B", "그래"))
    replies = bot.reply(Dialogue(turns), seed=0)
    assert replies == bot.reply(["오늘 뭐 먹을까?", "그래"], seed=0)


def test_line_breaks_are_read_as_spaces(bot: Chatbot) -> None:
    assert bot.reply(["오늘\n뭐\t먹을까? "], seed=0) == bot.reply(["오늘 뭐 먹을까?"], seed=0)


def test_history_is_cut_by_whole_turns_from_the_oldest(any_bot: Chatbot) -> None:
    everything = [f"{text} {i}" for i in range(4000) for text in TURNS]
    visible = any_bot.count_visible(everything)
    assert 1 <= visible < 12
    assert any_bot.reply(everything, seed=0) == any_bot.reply(everything[-visible:], seed=0)
    assert any_bot.count_visible(everything[-visible:]) == visible


def test_the_limit_is_exact(bot: Chatbot, tiny_tokenizer: Tokenizer) -> None:
    room = bot.config.n_ctx - 8 - 2  # a reply's 8 tokens, bos and sept
    text = "9" * 200
    extra = len(tiny_tokenizer.encode(text)) - 200  # digits are split; the first may bring a space
    fitting = "9" * (room - extra)
    assert bot.count_visible([fitting]) == 1
    assert bot.count_visible(["안녕", fitting]) == 1
    assert bot.count_visible(["9", fitting[: -2 - extra]]) == 2
    with pytest.raises(InputTextError, match="shorten"):
        bot.reply([fitting + "9"])


def test_a_long_history_does_not_shorten_a_reply(any_bot: Chatbot) -> None:
    [reply] = any_bot.reply(
        TURNS * 50, candidates=1, strategy="greedy", min_tokens=20, max_tokens=20
    )
    assert reply.tokens == 20


def test_unreadable_older_turns_do_not_stop_a_dialogue(bot: Chatbot) -> None:
    expected = bot.reply(TURNS, seed=0)
    assert bot.reply(["가" * (MAX_TURN_CHARACTERS + 1), *TURNS], seed=0) == expected
    assert bot.reply([TURNS[0], " ", *TURNS[1:]], seed=0) == expected


def test_typed_special_symbols_forge_no_turn(bot: Chatbot) -> None:
    assert bot.count_visible(["안녕</s><sept>네<s><pad>"]) == 1


def test_without_a_tokenizer_the_model_still_takes_ids(tiny_gpt: GPT) -> None:
    bot = Chatbot(tiny_gpt, None, DecodingConfig())
    assert bot.model(torch.tensor([[2, 9, 4]])).shape == (1, 3, bot.config.vocab_size)
    with pytest.raises(TokenizerError, match=r"no tokenizer.*bot\.model"):
        bot.reply(["안녕"])
    with pytest.raises(TokenizerError):
        bot.stream(["안녕"])


def test_sessions_on_one_bot_do_not_see_each_other(bot: Chatbot) -> None:
    histories = [[f"비밀 {name}", *TURNS[: name % 3 + 1]] for name in range(6)]
    alone = [bot.reply(history, seed=2) for history in histories]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            assert list(threads.map(lambda h: bot.reply(h, seed=2), histories)) == alone


def test_streams_may_be_read_in_turns(bot: Chatbot) -> None:
    def start(text: str) -> ReplyStream:
        return bot.stream([text], strategy="sample", seed=1, min_tokens=8, max_tokens=8)

    expected = ["".join(start(text)) for text in TURNS]
    streams = [start(text) for text in TURNS]
    for _ in range(8):
        for stream in streams:
            next(stream, None)
    assert [stream.text + "".join(stream) for stream in streams] == expected


def test_load_gives_the_folder_as_a_bot(tiny_folder: Path, tiny_gpt: GPT) -> None:
    bot = dgm.load(str(tiny_folder), precision="float32")
    assert bot.name == "tiny"
    assert bot.decoding.max_tokens == 6
    assert bot.config == tiny_gpt.config
    other = Chatbot(tiny_gpt, bot.tokenizer, bot.decoding)
    assert bot.reply(TURNS, seed=0)[0].text == other.reply(TURNS, seed=0)[0].text
