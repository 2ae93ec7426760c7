"""Where a person is reached on the net: e-mail, messenger names, links.

Each pattern is tried only around a letter that it cannot do without (`@`, a dot before a domain, a cue).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .finding import Finding
from .normalize import Conversation

_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63} ?$")
_DOMAIN = re.compile(
    r" ?(?:[A-Za-z0-9\-]{1,63} ?(?:\. ?[A-Za-z][A-Za-z0-9\-]{1,62}){1,4}"
    r"|(?:naver|gmail|daum|hanmail|kakao|nate|hotmail|yahoo|icloud)(?![A-Za-z0-9])"
    r"|(?:네이버|지메일|한메일|다음|카카오|네이트|핫메일)(?: ?\. ?[a-z]{2,3}){0,2})"
)
_HANDLE = re.compile(r"[A-Za-z0-9_.]{3,29}[A-Za-z0-9_]")
_LINK = re.compile(r"(?:[hH][tT]{2}[pP][sS]?://|www\.)[!-~]{1,2000}")
_SUFFIX = re.compile(
    r"\.(?:com|net|org|info|kr|jp|io|me|gg|tv|app|dev|shop|xyz|co\.kr|co\.jp|ne\.jp|or\.kr)"
    r"(?![A-Za-z0-9\-])(?:[/?:][!-~]{0,2000})?"
)
_HOST = re.compile(r"(?<![A-Za-z0-9@])[A-Za-z0-9][A-Za-z0-9\-.]{0,80}$")
_CUE = re.compile(
    r"(?:카톡|카카오(?:톡)?|라인|텔레(?:그램)?|인스타(?:그램)?|디스코드|디코|위챗|트위터|틱톡|페북"
    r"|(?<![A-Za-z])(?i:line|kakao(?:talk)?|insta(?:gram)?|discord|telegram|wechat|twitter)"
    r"|ライン|カカオ|インスタ|ディスコード|ツイッター|아이디|(?<![A-Za-z])(?:ID|id)(?![A-Za-z]))"
)
_AFTER_CUE = re.compile(
    r"(?P<said> ?(?:의|の)? ?(?:아이디|계정|주소|친추|추가|(?i:id)(?![A-Za-z])|アカウント|アカ)?)"
    r"[^A-Za-z0-9\n]{0,12}\n?[^A-Za-z0-9\n]{0,8}(?P<id>[A-Za-z0-9][A-Za-z0-9_.\-]{2,29}[A-Za-z0-9_])(?![A-Za-z0-9])"
)
_TAGGED = re.compile(r"(?<![A-Za-z0-9_.])[A-Za-z0-9_.]{2,32}#[0-9]{4}(?![0-9])")
_ORDINARY = frozenset(
    ("please", "line", "kakao", "kakaotalk", "insta", "instagram", "discord", "https", "http")
)


def detect_contacts(conversation: Conversation) -> list[Finding]:
    """Find e-mail addresses, messenger names and links; findings may overlap."""
    text = conversation.folded
    return [
        *_mail_and_handles(conversation, text),
        *_links(conversation, text),
        *_messenger_names(conversation, text),
    ]


def _mail_and_handles(conversation: Conversation, text: str) -> Iterator[Finding]:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text[max(0, at - 65) : at])
        domain = _DOMAIN.match(text, at + 1)
        handle = _HANDLE.match(text, at + 1)
        if local and domain:
            yield conversation.find("email", at - len(local.group()), domain.end())
        elif handle and not local:
            yield conversation.find("messenger_id", at, handle.end())
        at = text.find("@", at + 1)


def _links(conversation: Conversation, text: str) -> Iterator[Finding]:
    for match in _LINK.finditer(text):
        yield conversation.find("url", *match.span())
    for match in _SUFFIX.finditer(text):
        first = max(0, match.start() - 81)
        host = _HOST.search(text[first : match.start()])
        if host:
            yield conversation.find("url", first + host.start(), match.end())


def _messenger_names(conversation: Conversation, text: str) -> Iterator[Finding]:
    for match in _TAGGED.finditer(text):
        yield conversation.find("messenger_id", *match.span())
    for cue in _CUE.finditer(text):
        said = _AFTER_CUE.match(text, cue.end())
        if not said or said["id"].lower() in _ORDINARY:
            continue
        asked = said["said"].strip(" 의の") and cue.group().lower() != "id"
        marked = any(c.isdigit() or c in "_." for c in said["id"])
        lettered = any(c.isalpha() for c in said["id"])
        if lettered and (asked or marked):
            yield conversation.find("messenger_id", *said.span("id"))
