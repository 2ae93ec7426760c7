"""Where a person is reached on the net: e-mail, messenger names, links.

Each pattern is tried only around a letter that it cannot do without: `@`, a dot before a domain, a Latin word
near the name of a messenger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import Match

from .finding import Finding
from .normalize import Conversation
from .patterns import words
from .windows import matches_near

_AT = re.compile(r"[@☆★◎#]")
"""The other signs are `@` to those who hide an address from machines: name☆example.com."""
_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}[ \n]?\Z")
_DOMAIN = re.compile(
    r"[ \n]?(?:[A-Za-z0-9\-]{1,63}[ \n]?(?:\. ?[A-Za-z][A-Za-z0-9\-]{1,62}|\.(?:コム|ネット|こむ)){1,4}"
    r"|(?:naver|gmail|daum|hanmail|kakao|nate|hotmail|yahoo|icloud|docomo|ezweb|softbank)(?![A-Za-z0-9])"
    r"|(?:네이버|지메일|한메일|다음|카카오|네이트|핫메일|야후)(?: ?\. ?[a-z]{2,3}){0,2}"
    r"|(?:ヤフー|ドコモ|ジーメール)(?: ?\. ?[a-z]{2,3}){0,2})"
)
_DOTTED = re.compile(r"[A-Za-z0-9\-]{1,63}\.[A-Za-z]{2}")
_BARE_LOCAL = re.compile(r"(?=[0-9._+\-]{0,32}[A-Za-z])[A-Za-z0-9._+\-]{3,64}\Z")
_HANDLE = re.compile(r"[A-Za-z0-9_.]{3,29}[A-Za-z0-9_]")
_CALLS = frozenset(("everyone", "here", "channel", "todos", "admin", "team"))
"""What follows an `@` to call a whole room."""

_LINK = re.compile(
    r"[hHtTw](?:[tTxX]{1,3}[pP][sS]?[ \n]?:[ \n]?//[ \n]?|(?<=w)ww\.)[!-~]{1,2000}"
    r"(?:(?<=[/=])[^\s]{1,200})?(?: / [A-Za-z0-9][!-~]{0,200}){0,4}"
)
_SUFFIX = re.compile(
    r"\.(?:com|net|org|info|biz|edu|kr|jp|io|me|gg|tv|be|ly|gl|app|dev|shop|store|site|page|blog|link|club|xyz|online"
    r"|co\.kr|co\.jp|ne\.jp|or\.kr|or\.jp|ac\.kr|go\.kr)(?![A-Za-z0-9\-])(?:[/?:][!-~]{0,2000})?"
)
_PORTALS = frozenset(
    words(
        "naver.com google.com daum.net youtube.com gmail.com kakao.com yahoo.co.jp nate.com amazon.co.jp"
    )
)
"""Everybody's places, unless somebody's page on them follows."""
_HOST = re.compile(r"(?<![A-Za-z0-9@])[A-Za-z0-9][A-Za-z0-9\-.]{0,80}\Z")

_WORD = re.compile(r"[A-Za-z0-9._][A-Za-z0-9_.\-]{2,39}")
_APPS = words("""
카톡 카카오 라인 텔레 인스타 디스코드 디코 위챗 트위터 틱톡 페북 스냅 ライン カカオ インスタ
ディスコ ツイッター ティックトック スナチャ line kakao insta discord telegram wechat twitter tiktok
snap
""")
_ACCOUNTS = words("""
아이디 아디 계정 닉네임 친추 アカウント アカ ユーザー名 フォロー 追加 id
""")
_NEAR = re.compile("|".join(_APPS + _ACCOUNTS))
_APP = r"(?:(?<![a-zァ-ヶー])(?<![온프드])(?:{})(?:톡|그램|トーク|グラム|ード|talk|gram)?)".format(
    "|".join(_APPS)
)
"""Not the end of another word: 온라인, 가이드라인, オンライン, online."""
_ID = r"(?:{}|(?<![a-z])id(?![a-z]))名?".format("|".join(_ACCOUNTS[:-1]))
_ASKED = re.compile(
    rf"(?:{_APP} ?(?:의|の)? ?{_ID}[^A-Za-z0-9]{{0,16}}|{_APP} ?[:=] ?"
    rf"|{_ID} ?(?:은|는|이|가|:|=|は|が)?[ \n]?)\Z"
)
"""The name of an account was announced: any Latin word may be it."""
_NAMED = re.compile(rf"(?:{_APP}|{_ID}|wxid)[^A-Za-z0-9]{{0,40}}\Z")
"""An app or an account was named: a word with digits, dots or underscores may be one."""
_SAID_AFTER = re.compile(rf"[가-힣ぁ-ん俺僕私, ]{{0,8}}(?:{_APP}|{_ID})")
_TAG = re.compile(r"#[0-9]{4}(?![0-9])")
_TAGGED = re.compile(r"[A-Za-z0-9_.]{2,32}\Z")
_ORDINARY = frozenset(
    words("""
please line kakao kakaotalk talk insta instagram discord telegram wechat twitter https http www app
android iphone google apple naver login account password hello thanks okay story live reels sticker
""")
)
_REACH = 60


def detect_contacts(conversation: Conversation) -> list[Finding]:
    """Find e-mail addresses, messenger names and links; findings may overlap."""
    text = conversation.folded
    return [
        *_mail_and_handles(conversation, text),
        *_links(conversation, text),
        *_messenger_names(conversation, text),
    ]


def _mail_and_handles(conversation: Conversation, text: str) -> Iterator[Finding]:
    for at in _AT.finditer(text):
        start, end = at.span()
        before = text[max(0, start - 65) : start]
        local = _LOCAL.search(before)
        if at.group() != "@" and not _DOTTED.match(text, end):
            continue
        domain = _DOMAIN.match(text, end)
        handle = _HANDLE.match(text, end)
        bare = _BARE_LOCAL.search(before)
        if local and domain:
            yield conversation.find("email", start - len(local.group()), domain.end())
        elif handle and not local and handle.group().lower() not in _CALLS:
            yield conversation.find("messenger_id", start, handle.end())
        elif bare and not handle:
            yield conversation.find("email", start - len(bare.group()), end)


def _links(conversation: Conversation, text: str) -> Iterator[Finding]:
    for match in _LINK.finditer(text):
        yield conversation.find("url", *match.span())
    for match in _SUFFIX.finditer(text):
        first = max(0, match.start() - 81)
        host = _HOST.search(text[first : match.start()])
        if host and host.group() + match.group() not in _PORTALS:
            yield conversation.find("url", first + host.start(), match.end())


def _messenger_names(conversation: Conversation, text: str) -> Iterator[Finding]:
    for tag in _TAG.finditer(text):
        name = _TAGGED.search(text[max(0, tag.start() - 32) : tag.start()])
        if name:
            yield conversation.find("messenger_id", tag.start() - len(name.group()), tag.end())
    small = text.replace("İ", "I").lower()  # the one letter whose small form is longer
    # Far enough that a word is cut only where no name is near it.
    for word in matches_near(small, _NEAR, _REACH + 40, _WORD):
        if _is_messenger_name(small, word):
            yield conversation.find("messenger_id", *word.span())


def _is_messenger_name(text: str, match: Match[str]) -> bool:
    """Whether a Latin word of a text in small letters is told to be somebody's name in a messenger."""
    word = match.group()
    if word == word.upper() or word.strip(".") in _ORDINARY:
        return False
    before = text[max(0, match.start() - _REACH) : match.start()]
    after = text[match.end() : match.end() + _REACH // 2]
    if len(word) > 3 and _ASKED.search(before):
        return True
    marked = any(c.isdigit() or c in "_." for c in word.rstrip("."))
    if not marked or len(word) < 4:
        return False
    return bool(_NAMED.search(before) or _SAID_AFTER.match(after))
