"""Each rule drops what it is for and spares messenger talk; what is built on a dropped turn goes too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.config.cleaning import FILTER_PROFILES, FilterConfig
from dialogue_generation_models.data.filters import (
    FilterReport,
    count_turns,
    count_words,
    filter_dialogues,
    fold,
    has_markup,
    has_url,
    is_bot,
    letter_share,
    longest_word_run,
    overlap,
)
from dialogue_generation_models.dialogue import Dialogue, Turn
from dialogue_generation_models.errors import ConfigError

OFF = FILTER_PROFILES["unfiltered"]
OPENING = "주말에 뭐 했어"


def run(
    dialogues: list[Dialogue], config: FilterConfig
) -> tuple[list[tuple[Turn, ...]], FilterReport]:
    report = FilterReport()
    counts = count_turns(dialogues, config.repeatable_characters)
    kept = list(filter_dialogues(dialogues, config, report, counts))
    return [dialogue.turns for dialogue in kept], report


def rule_for(reply: str, config: FilterConfig, opening: str = OPENING) -> str | None:
    _, report = run([Dialogue.from_texts([opening, reply])], config)
    return next(iter(report.by_rule), None)


@pytest.mark.parametrize(
    ("rule", "value", "dropped", "spared"),
    [
        ("min_characters", 2, " 응 ", "응응"),
        ("max_characters", 9, "모두 열 글자입니다", "아홉 글자입니다!"),
        ("max_words", 3, "하나 둘 셋 넷", "하나 둘 셋"),
        ("max_words", 3, "映画を見ました", "映画を見た"),
        ("max_words_in_all", 5, "하나 둘 셋", "하나 둘"),
        ("min_letter_share", 0.7, "12345 원", "만이천 원"),
        ("max_parent_overlap", 0.8, "주말에 뭐 했어?", "주말에 집에서 잤지"),
        ("max_word_run", 2, "진짜 진짜 진짜!", "진짜 진짜"),
        ("drop_urls", True, "이거 봐 https://example.com/a", "이거 봐"),
        ("drop_markup", True, "<b>굵게</b>", "하트 <3"),
        ("blocked_words", ["나쁜말"], "이 나쁜말이", "좋은 말"),
        ("blocked_words", ["ass"], "what an ＡＳＳ!", "first class"),
        ("bland_replies", ["글쎄"], "글쎄...", "글쎄 나는 잤어"),
        ("function_words", ["the", "뭐"], "dogs bark", "the dogs bark"),
    ],
)
def test_a_rule_drops_what_it_is_for(rule: str, value: object, dropped: str, spared: str) -> None:
    config = OFF.replace(**{rule: value})
    assert rule_for(dropped, config) == rule
    assert rule_for(spared, config) is None
    assert rule_for(dropped, OFF) is None


@pytest.mark.parametrize(
    "text",
    [
        "ㅋㅋㅋㅋㅋ",
        "아 ㅠㅠㅠ 어떡해",
        "ㅋㅋㅋ ㅋㅋㅋ ㅋㅋㅋ 웃겨",
        "それはないwww",
        "ｗｗｗ",
        "www www www",
        "まじかー",
        "ﾏｼﾞｶ",
    ],
)
def test_messenger_talk_is_spared(text: str) -> None:
    assert rule_for(text, FILTER_PROFILES["filtered"]) is None


@pytest.mark.parametrize("text", ["가나다", "ㅋㅋㅋ", "ㅠㅠ", "かなカナー", "漢字々", "ｶﾞｽ", "www"])
def test_letters_are_those_of_every_script(text: str) -> None:
    assert letter_share(text) == letter_share(fold(text)) == 1.0


def test_letter_share_leaves_spaces_aside_and_knows_empty_texts() -> None:
    assert letter_share("가 나 1 !") == 0.5
    assert letter_share(" \n") == letter_share("") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "HTTP://a.b",
        "www.example.org",
        "example.com에서",
        "ｅｘａｍｐｌｅ．ｃｏ．ｊｐ",
        "youtu.be/x",
    ],
)
def test_addresses_are_found(text: str) -> None:
    assert has_url(fold(text))


@pytest.mark.parametrize("text", ["www", "www...", "草www.", "3.5점", "음.. 그래", "com"])
def test_laughter_and_dots_are_no_addresses(text: str) -> None:
    assert not has_url(fold(text))


def test_brackets_are_markup_and_faces_are_not() -> None:
    assert all(has_markup(fold(text)) for text in ("[사진]", "{x}", "</div>", "［写真］"))
    assert not any(has_markup(fold(text)) for text in (">_<", "<3", "(웃음)", "「はい」", "a < b"))


@pytest.mark.parametrize(
    "text", ["응", "네", "ㅋㅋ", "왜?", "바빠?", "6시", "10분?", "嫌", "7個", "うん!", "^^"]
)
def test_short_replies_of_korean_and_japanese_chats_are_spared(text: str) -> None:
    assert rule_for(text, FILTER_PROFILES["filtered"]) is None


def test_short_turns_may_be_said_by_everybody_and_long_ones_not() -> None:
    config = OFF.replace(max_repeats=3, repeatable_characters=10)
    short = [Dialogue.from_texts([f"질문 {'가' * i}", "응 그래!"]) for i in range(9)]
    assert len(run(short, config)[0]) == 9
    laughter = [Dialogue.from_texts([f"질문 {'가' * i}", "ㅋ" * 30]) for i in range(9)]
    assert len(run(laughter, config)[0]) == 9
    long = [
        Dialogue.from_texts([f"질문 {'가' * i}", "지금 바로 가입하고 선물 받으세요"])
        for i in range(9)
    ]
    assert run(long, config)[1].by_rule == {"max_repeats": 9}


def test_a_soup_of_signs_is_not_short() -> None:
    assert rule_for("!!!!! 12345 ?????", FILTER_PROFILES["filtered"]) == "min_letter_share"


def test_word_runs_are_of_neighbours() -> None:
    assert longest_word_run("아니 아니, 아니!") == 3
    assert longest_word_run("나 너 나 너 나") == 1
    assert longest_word_run("") == 0


def test_words_are_counted_in_both_languages() -> None:
    assert [count_words(t) for t in ("오늘 뭐 먹지?", "映画みた?", "  ", "ok 가자")] == [3, 2, 0, 2]


def test_short_echoes_are_no_overlap() -> None:
    assert overlap("안녕", "안녕") == overlap("ㅋㅋㅋㅋㅋㅋㅋㅋ", "ㅋㅋㅋㅋ") == 0.0
    assert overlap("내일 어디서 볼까", "내일 어디서 볼까?") == 1.0


def test_bots_are_known_by_name_or_by_mark() -> None:
    bots = (
        "WeatherBot",
        "ＢＯＴ",
        "날씨봇",
        "天気ボット",
        "weatherbot",
        "my_bot",
        "Bot 2",
        "bot-7",
        "ChatBOT",
    )
    assert all(map(is_bot, bots))
    people = ("가람", "Abbott", "Botond", "Talbot", "Cabot", "Botticelli", "robotics club")
    assert not any(map(is_bot, people))
    turns = (Turn("가람", "날씨 어때"), Turn("날씨봇", "맑아요"))
    assert run([Dialogue(turns)], OFF.replace(drop_bots=True))[1].by_rule == {"drop_bots": 1}
    marked = Dialogue.from_texts(["날씨 어때", "맑아요"])
    marked = Dialogue(marked.turns, meta={"bot_speakers": ["B"]})
    assert run([marked], OFF.replace(drop_bots=True))[1].by_rule == {"drop_bots": 1}
    assert run([marked], OFF)[1].by_rule == {}


def test_turns_said_too_often_go_every_time() -> None:
    dialogues = [Dialogue.from_texts([f"질문 {'가' * i}", "광고예요!"]) for i in range(4)]
    assert run(dialogues, OFF.replace(max_repeats=3))[0] == []
    assert len(run(dialogues, OFF.replace(max_repeats=4))[0]) == 4
    with pytest.raises(ValueError, match="count_turns"):
        next(filter_dialogues(dialogues, OFF.replace(max_repeats=3), FilterReport()))


def test_what_is_built_on_a_dropped_turn_goes_and_is_counted() -> None:
    long = Dialogue.from_texts(["안녕하세요", "반가워요", "http://a.b", "그게 뭐예요", "몰라요"])
    opened = Dialogue.from_texts(["http://a.b", "이게 뭐야", "그러게"])
    alone = Dialogue.from_texts(["이거 봐봐", "http://a.b"])
    kept, report = run([long, opened, alone], OFF.replace(drop_urls=True))
    assert kept == [long.turns[:2]]
    assert report == FilterReport(3, 1, 10, 2, report.by_rule, 4, 1)
    assert report.by_rule == {"drop_urls": 3}


SAID = "내일 영화 보러 갈래?\n팝콘은 내가 살게!"


@pytest.mark.parametrize(
    ("reply", "stays"),
    [
        ("> 내일 영화 보러 갈래?\n좋아 가자", "좋아 가자"),
        (">내일 영화 보러 갈래\n> 팝콘은 내가 살게\n\n좋아\n가자", "좋아\n가자"),
        ("＞＞ 내일 영화...\n좋아", "좋아"),
        ("좋아\n>>> 팝콘은 내가 살게", "좋아"),
        ("RT @minji_k: 내일 영화 보러…\n나도", "나도"),
        ("「내일 영화 보러 갈래?」\n좋아", "좋아"),
        ("“팝콘은 내가 살게!”\n\n진짜?\n", "진짜?"),
        ("> 내일 영화 보러 갈래?", None),
    ],
)
def test_what_quotes_the_turn_before_is_taken_out(reply: str, stays: str | None) -> None:
    config = OFF.replace(remove_quotes=True)
    dialogue = Dialogue.from_texts([SAID, reply, "그래"])
    kept, report = run([dialogue, Dialogue.from_texts(["A", "B"])], config)
    assert run([dialogue], OFF)[0] == [dialogue.turns]
    if stays is None:
        assert report.by_rule == {"remove_quotes": 1}
        assert (report.built_on_dropped, report.left_alone, report.quotes_removed) == (1, 1, 0)
    else:
        assert [turn.text for turn in kept[0]] == [SAID, stays, "그래"]
        assert (report.by_rule, report.quotes_removed) == ({}, 1)


@pytest.mark.parametrize(
    "reply",
    [
        ">_< 내일",
        ">ㅅ<",
        ">내<",
        "> 모레 어때?",
        ">>12 그거",
        '"내일 영화 보러 갈래?"',
        "「영화」って何？",
        "영화 > 연극",
        "모레\n「영화」",
        '"',
        ">",
    ],
)
def test_faces_echoes_and_other_words_are_no_quotes(reply: str) -> None:
    kept, report = run([Dialogue.from_texts([SAID, reply])], OFF.replace(remove_quotes=True))
    assert [turn.text for turn in kept[0]] == [SAID, reply]
    assert report.quotes_removed == 0


def test_rules_look_at_what_is_left_without_the_quote() -> None:
    config = OFF.replace(remove_quotes=True, max_parent_overlap=0.8, drop_urls=True)
    opening = "이거 봐 여기 진짜 재밌어"
    reply = f"> {opening}\n오 나도 볼래"
    assert rule_for(reply, config, opening) is None
    assert rule_for(f"{opening}!", config, opening) == "max_parent_overlap"


def test_a_dialogue_may_have_a_most_of_turns() -> None:
    dialogue = Dialogue.from_texts([f"말 {n}" for n in range(7)])
    kept, report = run([dialogue, dialogue], OFF.replace(max_turns=4))
    assert kept == [dialogue.turns[:4]] * 2
    assert (report.by_rule, report.built_on_dropped) == ({"max_turns": 2}, 4)
    assert run([dialogue], OFF.replace(max_turns=7))[0] == [dialogue.turns]


def test_bland_openings_stay() -> None:
    assert rule_for("왜 그래?", FilterConfig(), opening="글쎄") is None


def test_illegal_thresholds_are_named() -> None:
    with pytest.raises(ConfigError, match="min_letter_share"):
        FilterConfig(min_letter_share=1.5)
    with pytest.raises(ConfigError, match="blocked_words"):
        FilterConfig(blocked_words=[""])


@pytest.mark.parametrize(
    "piece",
    [
        ">",
        "\n",
        "> ",
        "> 가\n",
        "「\n",
        "RT @a",
        "\t",
        "1",
        "-",
        "<a",
        "www.",
        "a.",
        "[",
        "ㅋ",
        "가 ",
    ],
)
def test_huge_turns_pass_every_rule(piece: str) -> None:
    text = piece * 300_000
    config = FilterConfig(max_characters=0, max_words=0, max_words_in_all=0)
    run([Dialogue.from_texts([OPENING, text])], config)
    assert isinstance(has_url(text) or has_markup(text), bool)


@given(st.lists(st.lists(st.text(max_size=12), max_size=5), max_size=5))
def test_unfiltered_keeps_all_and_filtered_keeps_beginnings(texts: list[list[str]]) -> None:
    dialogues = [Dialogue.from_texts(t) for t in texts]
    kept, _ = run(dialogues, OFF)
    assert kept == [d.turns for d in dialogues if len(d.turns) >= 2]
    kept, report = run(dialogues, FilterConfig())
    assert all(any(d.turns[: len(turns)] == turns for d in dialogues) for turns in kept)
    assert report.turns_in == (
        report.turns_out
        + sum(report.by_rule.values())
        + report.built_on_dropped
        + report.left_alone
    )
