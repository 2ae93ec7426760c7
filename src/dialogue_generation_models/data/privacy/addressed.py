"""Speakers whose names are words: where the place in a message shows that somebody is meant.

안녕 하늘, 하늘 어디야?, さくら、おはよう and ひかり来る? mean the speaker; 하늘 봐봐, さくら咲いた mean the sky
and the flower. Asked only of names that the room's export tells.
"""

from __future__ import annotations

import re

_REACH = 40
_NEVER = frozenset(
    ("아침", "저녁", "오늘", "내일", "집", "일", "밥", "今日", "明日", "昨日", "みんな")
)
"""Words that begin such messages themselves: 오늘 뭐해."""
_TIMES = frozenset(
    (
        "봄",
        "여름",
        "가을",
        "겨울",
        "하루",
        "새벽",
        "はる",
        "なつ",
        "あき",
        "ふゆ",
        "春",
        "夏",
        "秋",
        "冬",
    )
)
"""What comes and goes like somebody: 여름 언제 와, 春は来る."""
_HELLO = re.compile(
    r"(?:(?:안녕|하이|ㅎㅇ|굿 ?(?:모닝|나잇|밤)|좋은 ?아침|잘 ?자|고마워|고맙다|땡큐|감사|미안|쏘리"
    r"|수고했어|수고|생일 ?축하해|축하해|사랑해|보고 ?싶어"
    r"|힘내|화이팅|파이팅|야|어이|근데|그래|ㅇㅇ|응|아니|오|우리|울|おはよう?|おやすみ|ありがとう?|ごめんね?|ねえ|ねぇ|ねー"
    r"|なあ|おーい|(?:誕生日)?おめでとう?|お疲れ(?:様|さま)?|おつかれ|ただいま|おかえり|こんにちは|こんばんは|やっほー"
    r"|またね|よろしく|久しぶり|頑張れ|がんばれ|大好き)[ ,、!~ー〜。]{0,3})?"
)
_ENDS = re.compile(r"[ !?~.,ㅋㅎㅠㅜ♥♡ー〜。、！？♪]{0,6}")
_CRIED = re.compile(r"[!~ー〜！]{1,6}[ ?？ㅋㅎㅠㅜ]{0,4}")
_COMMA = re.compile(r"[,、~] ?(?!(?:[가-힣]{1,4}|[^、,\n]{1,6})[,、])(?=[^\n]{2})")
_ASKED_ALWAYS = (
    r" ?(?:뭐 ?해|뭐 ?하|뭐함|어디야|어디니|어딨|밥 ?먹|밥은|전화|톡 ?[봐좀]|자니|자\?|자냐"
    r"|일어나|출근|퇴근|너[는도랑 ]|넌|생일 ?(?:언제|축)"
    r"|번호 ?(?:뭐|알|좀)|괜찮아|축하|심심|바쁘|바빠|최고|천재|바보|고마|미안|안녕|ㅎㅇ|깨워|불러|둘 ?다)"
    r"|(?:起きて|今どこ|いまどこ|どこに?い|どこ[?？]|何して|なにして|元気[?？]|暇[?？]|ひま|今ひま|電話して|遅い|おはよ|おやすみ|ありがと"
    r"|ごめん|大丈夫[?？]|聞いて|一緒に(?:行|来|帰)|明日ひま|今日ひま|今日休|バイト)"
)
_ASKED_OF_PERSONS = (
    r" ?(?:언제 ?(?:와|오|올|도착)|왔|도착|어디 ?[갔가]|집에|먼저 ?[가갔감자잔먹]|왜 ?안 ?[와오]"
    r"|오늘 ?(?:와|못|안)|오늘은?[?]|늦[어었는을]|온대|간대|잔대)"
    r"|(?:来る|くる[?？]|来た[?？]|来て|来ない|今日(?:来|くる)|着いた|寝た|寝て|帰っ|いる[?？]|もう(?:着|寝|起き|帰|家|駅))"
)
_DOES = re.compile(
    r"(?:[은는도]|[이가]) [^\n]{0,10}?(?:온대|간대|잔대|왔대|갔대|못 ?온|안 ?온|못 ?와|안 ?와|늦는|늦을"
    r"|늦어|잔다|자고 ?있|일어났|퇴근했|출근했|아프대"
    r"|알아\?|먹었대)|도 (?:와|온|가|갈|간|같이|불러)"
    r"|[はも](?:もう|まだ|今日|明日|一緒に)?(?:来る|来ない|来て|来られ|寝た|寝て|起き|帰っ|帰る|行く|行かな|いる[?？って]|いない|休み|遅れ|遅刻|知って)"
    r"|に(?:言[っうわ]|聞[いこけ]|電話|連絡|渡し|頼[んも])|と一緒に|の家(?![族具庭賃])|んち(?![ゃゅょ])"
)
_ASKED = re.compile(f"{_ASKED_ALWAYS}|{_ASKED_OF_PERSONS}")
_ASKED_OF_TIMES = re.compile(_ASKED_ALWAYS)


def is_addressed(text: str, start: int, end: int, others: frozenset[str]) -> bool:
    """Whether a word at [start, end) calls or mentions a speaker.

    Args:
        text: messages, joined by line breaks.
        start: where the word begins.
        end: where it ends.
        others: the names of the room.
    """
    name = text[start:end]
    if name in _NEVER:
        return False
    line = text.rfind("\n", max(0, start - _REACH), start) + 1
    if line == 0 and start > _REACH:
        return False
    before, after = text[line:start], text[end : end + _REACH].partition("\n")[0]
    if before.endswith("@"):
        return True
    is_alone = not before.strip() or before.strip() in others
    if not is_alone and not _HELLO.fullmatch(before):
        return False
    is_time = name in _TIMES
    if (_CRIED if is_alone else _ENDS).fullmatch(after):
        return True
    if _COMMA.match(after) and not is_time:
        return True
    if (_ASKED_OF_TIMES if is_time else _ASKED).match(after):
        return True
    return not is_time and bool(_DOES.match(after))
