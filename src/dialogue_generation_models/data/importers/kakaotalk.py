"""KakaoTalk exports: Android, iOS, Windows and Mac (CSV), Korean and English.

A text export keeps to one style, which its first message or date line settles: a body may hold lines copied
from another export, and those are text. A body's line that has exactly the style's own form cannot be told
from a message and is taken for one. Formats and traps were read from public parsers and their test files.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator

from ..chats import Message
from .account import LONGEST_MESSAGE, Assembler, LineClass
from .stamps import CLOCK, MONTH, SPACE, parse_clock, parse_day, parse_stamp

_DELETED = frozenset(
    (
        "삭제된 메시지입니다.",
        "메시지가 삭제되었습니다.",
        "채팅방 관리자가 메시지를 가렸습니다.",
        "The message has been deleted.",
        "This message was deleted.",
    )
)
_NOTICE = re.compile(
    r".{1,300}님(?:이 (?:들어왔습니다|나갔습니다|부?방장이 되었습니다)"
    r"|을 (?:내보냈습니다|초대했습니다|초대하였습니다))\."
    r"|.{1,100} (?:joined|left|has been removed from) this chatroom\."
    r"|.{1,100} invited .{1,300}\.|관리자만 말하기 기능이 (?:비)?활성화되었습니다\."
    r"|타인, 기관 등의 사칭.{0,300}|운영정책을 위반한 메시지로 신고 접수 시.{0,300}"
)
_NOTICE_ENDS = (".", "다", "요")
_PLACEHOLDERS = frozenset(
    f"{left}{word}{right}"
    for word in (
        *("사진", "동영상", "이모티콘", "음성메시지", "연락처", "지도", "선물"),
        *("Photo", "photo", "Video", "Emoticon", "emoticon", "Voice message", "Contact", "Map"),
    )
    for left, right in ("<>", "()", ("", ""))
) | {"보이스톡 해요", "페이스톡 해요", "라이브톡", "카카오톡 프로필"}
_PLACEHOLDER = re.compile(
    r"사진 \d{1,3}장|\d{1,3} photos|Photos? \d{1,3}|파일: .{1,300}|File: .{1,300}"
    r"|(?:보이스톡|페이스톡|라이브톡) [\d:]{1,9}"
    r"|샵검색: .{1,300}|톡게시판 '[\s\S]{1,3000}|[\d,]{1,15}원(?:을 받으세요\.| 받기 완료!.{0,300})"
)
_PLACEHOLDER_STARTS = frozenset("사파F보페라샵톡P0123456789")

_DATE_LINE = (
    rf"\d{{4}}년 \d{{1,2}}월 \d{{1,2}}일(?: .요일| {CLOCK})?|\w{{3,6}}day, {MONTH} \d{{1,2}}, \d{{4}}"
    rf"|{MONTH} \d{{1,2}}, \d{{4}}(?:,| at) {CLOCK}|{CLOCK}, {MONTH} \d{{1,2}}, \d{{4}}"
)
_STAMP = (
    rf"\d{{4}}(?:년 \d{{1,2}}월 \d{{1,2}}일|\. \d{{1,2}}\. \d{{1,2}}\.) {CLOCK}"
    rf"|{MONTH} \d{{1,2}}, \d{{4}}(?:,| at) {CLOCK}|{CLOCK}, {MONTH} \d{{1,2}}, \d{{4}}"
)
_DAY = re.compile(_DATE_LINE)
_DASHED_DAY = re.compile(r"-{10,20} .{8,40} -{10,20}")
_DATED = re.compile(rf"({_STAMP})([,:]) ?(.*)", re.DOTALL)
_TIMED = re.compile(rf"((?:오전|오후){SPACE}\d{{1,2}}:\d{{2}})([,:]) ?(.*)", re.DOTALL)
_BRACKETED = re.compile(rf"\[(.{{0,100}}?)\] \[({CLOCK})\] ?(.*)", re.DOTALL)
_SAVED = re.compile(r"(?:저장한 날짜|Date Saved) ?: ")
_TITLES = (
    re.compile(
        r"(.{0,1000}?)(?: \(\d{1,6}명\)과| \d{1,6} 님과| 님과)? 카카오톡 대화(?:-\d{1,3}\.txt)?"
    ),
    re.compile(
        r"(?:KakaoTalk Chats|Chat) with (.{0,1000}?)(?: \(\d{1,6}(?: people)?\))?(?:-\d{1,3}\.txt)?"
    ),
    re.compile(r"(.{0,1000}) with KakaoTalk Chats"),
)
_MOST_STAMPS = 100_000
_CSV_HEADER = "Date,User,Message"
_CSV_START = re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?,")
_CSV_WHOLE_START = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,"[^"]{0,200}","')


def matches(lines: list[str]) -> bool:
    """Whether these first lines of a file are a KakaoTalk export's."""
    if any(line.strip() == _CSV_HEADER for line in lines[:1]):
        return True
    head = lines[:5]
    if any(_SAVED.match(line) for line in head):
        return True
    return any(_DASHED_DAY.fullmatch(line) or _DATED.match(line) for line in lines)


def read_kakaotalk(lines: Iterator[str], out: Assembler) -> Iterator[Message]:
    """Yield the messages of an export's lines and count every line; the room's title goes into `out.title`."""
    first = next(lines, None)
    if first is None:
        return
    if first.strip() == _CSV_HEADER:
        out.account.add("header")
        yield from _read_csv(lines, out)
    else:
        yield from _TextReader(out).read(first, lines)


class _TextReader:
    """One text export; `_form` is the style's message line once a line has settled it."""

    def __init__(self, out: Assembler) -> None:
        self._out = out
        self._form: re.Pattern[str] | None = None
        self._day = ""
        self._stamps: dict[str, str] = {}
        """Stamps that were parsed: most lines repeat that of the line before."""

    def read(self, first: str, lines: Iterator[str]) -> Iterator[Message]:
        out, parse = self._out, self._parse
        for line in itertools.chain([first], lines):
            record = parse(line)
            kind = None if record else self._name(line)
            if not record and not kind:
                out.extend(line)
                continue
            if out.lines:
                if message := self._close():
                    yield message
            else:
                out.close("blank")
            if record:
                out.open(*record)
            elif kind:
                self._take(kind, line)
        if message := self._close():
            yield message

    def _parse(self, line: str) -> tuple[str | None, str, str, bool] | None:
        """Return time, speaker, text and whether it is a notice of a message line; None of any other."""
        if self._form is _DATED:
            stamp, comma, rest = line.partition(", ")
            if comma and (at := self._stamps.get(stamp)):
                speaker, colon, text = rest.partition(" : ")
                return (at, speaker.strip(), text, False) if colon else (at, "", rest, True)
        found = self._form.match(line) if self._form else self._settle(line)
        if not found:
            return None
        first, second, rest = found[1], found[2], found[3]
        if self._form is _BRACKETED:
            return self._on_day(second), first, rest, False
        if self._form is _DATED:
            at = parse_stamp(first)
            if at and len(self._stamps) < _MOST_STAMPS:
                self._stamps[first] = at
        else:
            at = self._on_day(first)
        speaker, colon, text = rest.partition(" : ")
        if second == ":" or not colon:
            return at, "", rest, True
        return at, speaker.strip(), text, False

    def _settle(self, line: str) -> re.Match[str] | None:
        for form in (_BRACKETED, _DATED, _TIMED):
            if found := form.match(line):
                self._form = form
                return found
        return None

    def _name(self, line: str) -> LineClass | None:
        """Name a line that is no message; None if it is blank or goes on with the message before."""
        if not line or line.isspace():
            return None
        if self._is_date(line):
            return "date"
        if self._form is None:
            return "notice" if is_notice(line) else "header"
        return "notice" if self._form is _BRACKETED and is_notice(line) else None

    def _take(self, kind: LineClass, line: str) -> None:
        out = self._out
        out.account.add(kind)
        if kind == "date":
            self._day = parse_day(line) or self._day
            if line[0] == "-":
                self._form = _BRACKETED
        elif self._form is None and not out.title and not _SAVED.match(line):
            out.title = parse_title(line)

    def _is_date(self, line: str) -> bool:
        """A date line; one of a day that is past is a line of a body that was copied from elsewhere."""
        is_dashed = line[0] == "-"
        if self._form and is_dashed != (self._form is _BRACKETED):
            return False
        if not (_DASHED_DAY if is_dashed else _DAY).fullmatch(line):
            return False
        day = parse_day(line)
        if self._form is _DATED:
            # Dated messages need no date lines, and theirs may be out of order.
            return day is not None and (self._out.is_after_blank or not self._out.lines)
        return day is not None and day >= self._day

    def _on_day(self, clock: str) -> str | None:
        time = parse_clock(clock)
        return f"{self._day}T{time}" if self._day and time else None

    def _close(self) -> Message | None:
        out = self._out
        if not out.lines:
            out.close("blank")
            return None
        text = out.text
        line_class: LineClass = "notice" if out.is_notice else _classify(text)
        out.close(line_class)
        return Message(out.at, out.speaker, text) if line_class == "message" else None


def is_notice(text: str) -> bool:
    """Whether the app wrote this text, not a person: somebody came or left, a message was deleted."""
    return text.endswith(_NOTICE_ENDS) and (text in _DELETED or _NOTICE.fullmatch(text) is not None)


def parse_title(line: str) -> str:
    """Return the room's title of an export's first line."""
    for form in _TITLES:
        if found := form.fullmatch(line.strip()):
            return found[1].strip()
    return line.strip()


def _classify(text: str) -> LineClass:
    """Tell what somebody sent: words, or something whose place only a word holds."""
    if not text or text in _PLACEHOLDERS:
        return "placeholder"
    if text[0] in _PLACEHOLDER_STARTS and _PLACEHOLDER.fullmatch(text):
        return "placeholder"
    return "notice" if text in _DELETED else "message"


def _read_csv(lines: Iterator[str], out: Assembler) -> Iterator[Message]:
    record: list[str] = []
    quotes = size = 0
    for line in lines:
        is_start = not record or (quotes % 2 and _CSV_WHOLE_START.match(line))
        if is_start and record:
            # The field before was cut off: a new record begins where its closing quote is missing.
            out.account.add_unparsed(len(record))
        if is_start:
            record, quotes, size = [], 0, 0
        record.append(line)
        quotes += line.count('"')
        size += len(line) + 1
        if quotes % 2 == 0 or size > LONGEST_MESSAGE:
            if message := _take_record(record, out):
                yield message
            record = []
    out.account.add_unparsed(len(record))


def _take_record(record: list[str], out: Assembler) -> Message | None:
    """Count a CSV record's lines, and return its message if it is one."""
    text = "\n".join(record)
    if not text.strip():
        out.account.add("blank", len(record))
        return None
    fields = next(csv.reader([text])) if _CSV_START.match(text) and len(text) < 131072 else []
    if len(fields) != 3:
        out.account.add_unparsed(len(record))
        return None
    date, speaker, body = fields
    line_class: LineClass = _classify(body)
    if not date or is_notice(body) or _is_invitation(speaker, body):
        line_class = "notice"
    out.account.add(line_class)
    out.account.add("continuation", len(record) - 1)
    at = date.replace(" ", "T") if date else None
    return Message(at, speaker, body) if line_class == "message" else None


def _is_invitation(speaker: str, text: str) -> bool:
    return text.endswith(".") and bool(speaker) and text.startswith(f"{speaker} invited ")
