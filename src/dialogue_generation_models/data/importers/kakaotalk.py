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
from .account import LONGEST_MESSAGE, Assembler, LineClass, Record
from .stamps import CLOCK, MONTH, SPACE, parse_clock, parse_day

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
    rf"(\d{{4}}(?:년 \d{{1,2}}월 \d{{1,2}}일|\. \d{{1,2}}\. \d{{1,2}}\.)"
    rf"|{MONTH} \d{{1,2}}, \d{{4}}(?:,| at)) ({CLOCK})"
    rf"|({CLOCK}), ({MONTH} \d{{1,2}}, \d{{4}})"
)
_DAY = re.compile(_DATE_LINE)
_DASHED_DAY = re.compile(r"-{10,20} .{8,40} -{10,20}")
_DATED = re.compile(rf"(?:{_STAMP})([,:]) ?(.*)", re.DOTALL)
_KOREAN_TIMED, _ENGLISH_TIMED, _24H_TIMED = (
    re.compile(rf"(?={ahead})({CLOCK})([,:]) ?(.*)", re.DOTALL)
    for ahead in ("오[전후]", rf"[\d:]+{SPACE}?[AaPp]", r"[\d:]+[,:]")
)
"""Three styles, so that a body's line which begins with a time of another one stays text."""
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
_MOST_DAYS = 100_000
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
        yield from _TextReader(out).read(itertools.chain([first], lines))


class _TextReader:
    """One text export; `_form` is the style's message line once a line has settled it."""

    def __init__(self, out: Assembler) -> None:
        self._out = out
        self._form: re.Pattern[str] | None = None
        self._day = ""
        self._days: dict[str, str] = {}
        self._clocks: dict[str, str] = {}
        """Korean days (`2020년 11월 3`) and times of day that were parsed; both come again and again."""

    def read(self, lines: Iterator[str]) -> Iterator[Message]:
        return self._out.read(lines, self._parse, self._name, _classify)

    def _parse(self, line: str) -> Record | None:
        form = self._form
        if form is _DATED:
            stamp, _, rest = line.partition(", ")
            day, _, clock = stamp.partition("일 ")
            if clock in self._clocks and day in self._days and rest:
                speaker, colon, text = rest.partition(" : ")
                at: str | None = f"{self._days[day]}T{self._clocks[clock]}"
                return (at, speaker.strip(), text, False) if colon else (at, "", rest, True)
        found = form.match(line) if form else self._settle(line)
        if not found:
            return None
        if self._form is _BRACKETED:
            return self._on_day(found[2]), found[1], found[3], False
        at = self._read_stamp(found) if self._form is _DATED else self._on_day(found[1])
        *_, mark, rest = found.groups()
        speaker, colon, text = rest.partition(" : ")
        if mark == ":" or not colon:
            # People begin lines with plain times as well: of these only what the app says is a notice.
            return (at, "", rest, True) if self._form is not _24H_TIMED or is_notice(rest) else None
        return at, speaker.strip(), text, False

    def _read_stamp(self, found: re.Match[str]) -> str | None:
        written_day, written_clock = found[1] or found[4], found[2] or found[3]
        day, clock = parse_day(written_day), parse_clock(written_clock)
        if not day or not clock:
            return None
        if written_day.endswith("일") and len(self._days) < _MOST_DAYS:
            self._days[written_day[:-1]] = day
            self._clocks[written_clock] = clock
        return f"{day}T{clock}"

    def _settle(self, line: str) -> re.Match[str] | None:
        if _DAY.fullmatch(line):  # one style's date lines begin with a time
            return None
        for form in (_BRACKETED, _DATED, _KOREAN_TIMED, _ENGLISH_TIMED, _24H_TIMED):
            found = form.match(line)
            if found and (form is not _24H_TIMED or " : " in found[3] or is_notice(found[3])):
                self._form = form
                return found
        return None

    def _name(self, line: str) -> LineClass | None:
        if not line or line.isspace():
            return None
        if self._is_date(line):
            self._day = parse_day(line) or self._day
            if line[0] == "-":
                self._form = _BRACKETED
            return "date"
        if self._form is None:
            return "notice" if is_notice(line) else self._name_head(line)
        return "notice" if self._form is _BRACKETED and is_notice(line) else None

    def _name_head(self, line: str) -> LineClass | None:
        """A header is the date of saving and one title; more lines are of a variant that is not known."""
        if _SAVED.match(line):
            return "header"
        if self._out.title:
            return None
        self._out.title = parse_title(line)
        return "header"

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
