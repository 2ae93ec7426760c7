"""Numbers that name a person: of residents, phones, accounts, cards, cars and papers.

- Patterns look only inside stretches of digits and separators, so ordinary text costs one search.
- A separator may be a line break: numbers are sent in two or three messages.
- A cue (a word that says what the number is) may stand in the message before or after.
- A failed checksum never clears a resident number (random since October 2020).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import mul
from re import Match, Pattern

from .finding import Finding, Kind
from .normalize import Conversation
from .patterns import SEPARATORS as _S
from .patterns import bounded as _bounded
from .told_numbers import BESIDE, CARD_CUE, CUED, LETTERED
from .windows import matches_near, windows

_STRETCH = re.compile(r"[0-9][0-9 \-.()/\n]{4,}[0-9]")
_FIGURES = re.compile(r"[0-9]{4,}")
_RESIDENT = _bounded(rf"[0-9]{{2}}{_S}[0-9]{{2}}{_S}[0-9]{{2}}{_S}[0-9]{_S}[0-9]{{6}}")
_HALF_RESIDENT = _bounded(r"[0-9]{6}|[1-8][0-9]{6}")
_RESIDENT_CUE = re.compile(
    r"주민 ?(?:등록)? ?번호|주민 ?[앞뒤]|[앞뒷] ?(?:자리|번호)|민증|신분증|생년월일"
    r"|외국인 ?(?:등록)? ?번호|외국인 ?등록증|앞[은는]? ?\Z|등록 ?번호|住民(?:登録)?番号"
)
_BACK_HALF = re.compile(r"[^0-9]{1,20}([1-8][0-9]{6})(?![0-9])")
_MASKED = re.compile(r"([0-9]{6})(?<![0-9].{6}) ?- ?([1-8])(?:[*xX○●]{6}|(?![0-9]))")
_PHONES = (
    _bounded(
        rf"010{_S}[0-9]{{4}}{_S}[0-9]{{4}}|01[16-9]{_S}[0-9]{{3,4}}{_S}[0-9]{{4}}"
        rf"|010{_S}[0-9]{{2}}{_S}[0-9]{{2}}{_S}[0-9]{{2}}{_S}[0-9]{{2}}"
        rf"|0[5789]0{_S}[0-9]{{3,4}}{_S}[0-9]{{4}}"
    ),
    _bounded(
        rf"(?:00)?82{_S}0?{_S}(?:1[016-9]|2|[3-6][1-5]|70){_S}[0-9]{{3,4}}{_S}[0-9]{{4}}"
        rf"|(?:010)?81{_S}0?{_S}(?:[5789]0{_S}[0-9]{{4}}|[1-9][0-9]?{_S}[0-9]{{3,4}}){_S}[0-9]{{4}}"
    ),
    _bounded(r"0(?:2|[3-6][1-5]|50[0-9])[ \-.)/\n]{1,3}[0-9]{3,4}[ \-.\n]{1,3}[0-9]{4}"),
    _bounded(r"0(?:2[0-9]{7,8}|[3-6][1-5][0-9]{7,8})"),
    _bounded(r"0[1-9][0-9]{0,3}[\-()][0-9]{1,4}[\-()][0-9]{4}|0[36] [0-9]{4} [0-9]{4}"),
)
_SERVICE_PHONE = _bounded(
    r"1(?:5(?:22|33|44|66|77|88|99)|6(?:00|44|61|66|70|88)|8(?:00|11|33|55|66|77|99))-[0-9]{4}"
    r"|0120[- ]?[0-9]{2,3}[- ]?[0-9]{3,4}"
)
"""What only firms have; their shops may be small ones."""
_SERVICE_CUE = re.compile(
    r"고객|콜 ?센터|상담|대표 ?번호|(?<![A-Za-z])A/?S(?![A-Za-z])|에이에스|본사|민원"
    r"|サポート|お客様|コールセンター|フリーダイヤル|窓口|問い合わせ"
)
"""What says that a number is a firm's, and everybody's to call."""
_LOCAL_PHONE = _bounded(r"[0-9]{3,4}[\- \n]{1,2}[0-9]{4}|0[1-9][0-9]{8}")
_PHONE_CUE = re.compile(
    r"전화 ?번호|전화(?:는|:)|연락처|(?:내|제|폰|이) ?번호|폰번|핸드폰|휴대폰|전번|폰 ?번호|電話|携帯|(?i:tel)"
)
_CARD = _bounded(
    rf"[0-9]{{4}}{_S}[0-9]{{4}}{_S}[0-9]{{4}}{_S}[0-9]{{4}}|3[47][0-9]{{2}}{_S}[0-9]{{6}}{_S}[0-9]{{5}}"
)
_MY_NUMBER = _bounded(rf"[0-9]{{4}}{_S}[0-9]{{4}}{_S}[0-9]{{4}}")
_MY_NUMBER_BY_THREES = _bounded(rf"[0-9]{{3}}{_S}[0-9]{{3}}{_S}[0-9]{{3}}{_S}[0-9]{{3}}")
_MY_NUMBER_CUE = re.compile(r"マイナ(?!ス)|個人番号|마이 ?넘버|(?i:my ?number)")
_LICENCE = _bounded(rf"(?:1[1-9]|2[0-68]){_S}[0-9]{{2}}{_S}[0-9]{{6}}{_S}[0-9]{{2}}")
_LICENCE_CUE = re.compile(r"면허|운전")
_JP_LICENCE = _bounded(rf"[0-9]{{4}}{_S}[0-9]{{4}}{_S}[0-9]{{4}}")
_JP_LICENCE_CUE = re.compile(r"免許")
_BUSINESS = _bounded(rf"[0-9]{{3}}{_S}[0-9]{{2}}{_S}[0-9]{{5}}|[0-9]{{13}}")
_BUSINESS_CUE = re.compile(r"사업자|계산서|현금 ?영수증|事業者|インボイス|法人番号")
_ACCOUNT = _bounded(r"[0-9]{1,16}(?:[ \-\n]{1,2}[0-9]{1,10}){0,4}")
_ACCOUNT_CUE = re.compile(
    r"계좌|입금|송금|이체|통장|은행|뱅크|예금|부쳐|보내|더치|[nN엔] ?빵|회비|월세|총무|축의|환불"
    r"|국민|신한|우리 ?은|농협|기업|하나 ?은|(?:하나|우리|대구|부산|광주|전북|경남|제주|씨티|산업) ?(?=\n)"
    r"|새마을|신협|수협|우체국|저축|카카오|토스|[케카토]뱅|쏴 ?(?:줘|주)"
    r"|(?<![A-Za-z])(?:KB|NH|IBK|SC|kb|nh|ibk)(?![A-Za-z])|엔에이치|케이비"
    r"|口座|振込|振り込|送金|入金|銀行|ゆうちょ|普通預金|信用金庫|信金|UFJ|みずほ|りそな|三井住友"
)
_SEVEN = re.compile(r"(?<![0-9\-])[0-9]{7}(?![0-9\-円人件])")
_OWN_SHAPE = _bounded(
    r"(?:3333|7979|7942)-[0-9]{2}-[0-9]{7}|1002-[0-9]{3}-[0-9]{6}|110-[0-9]{3}-[0-9]{6}"
    r"|[0-9]{6}-[0-9]{2}-[0-9]{6}|[0-9]{3}-[0-9]{6}-[0-9]{2}-?[0-9]{3}|3[0-9]{2}-[0-9]{4}-[0-9]{4}-[0-9]{2}"
)
"""Account numbers of six banks that nothing else looks like."""
_DAY = re.compile(r"(?:19|20)[0-9]{2}[ \-](?:0?[1-9]|1[0-2])[ \-][0-3]?[0-9](?![0-9])")
_SHORT_ACCOUNT_CUE = re.compile(r"口座|普通|ゆうちょ|支店|記号|普(?=[ :][0-9])")
_JAPANESE_BANK = re.compile(r"銀行|UFJ|みずほ|りそな|三井住友(?!カード)|信金|農協")
"""Beside a bank seven figures are an account, unless they are money."""
_THING_CUE = re.compile(
    r"송장|주문|접수|바코드|バーコード|(?i:isbn)|쿠폰|예약 ?번호|인증|追跡|注文|伝票|予約番号|認証|整理番号"
)
"""Numbers of parcels and orders, which look like accounts and cards."""
_REACH = 40


def detect_numbers(conversation: Conversation) -> list[Finding]:
    """Find the numbers of persons, phones, accounts, cards, cars and papers; findings may overlap."""
    text = conversation.folded
    found: list[Finding] = []
    for stretch in _STRETCH.finditer(text):
        start, end = stretch.span()
        taken: list[tuple[int, int]] = []
        for kind, first, last in _of_stretch(text, start, end):
            at = bisect_left(taken, (first, last))
            after_previous = at == 0 or taken[at - 1][1] <= first
            if after_previous and (at == len(taken) or last <= taken[at][0]):
                taken.insert(at, (first, last))
                found.append(conversation.find(kind, first, last))
                found += _told_beside(conversation, kind, last)
    for first, last in windows(text, _FIGURES, _REACH):
        for match in _MASKED.finditer(text, first, last):
            if _is_date(match[1]):
                kind = "rrn" if int(match[2]) < 5 else "frn"
                found.append(conversation.find(kind, *match.span()))
        for kind, pattern in LETTERED:
            found += (
                conversation.find(kind, *place)
                for match in pattern.finditer(text, first, last)
                for place in _places(match)
            )
    for kind, pattern, cue in CUED:
        found += (
            conversation.find(kind, *place)
            for match in matches_near(text, cue, _REACH, pattern)
            for place in _places(match)
        )
    return found


def _told_beside(conversation: Conversation, kind: Kind, end: int) -> Iterator[Finding]:
    for of_it, pattern in BESIDE.get(kind, ()):
        if match := pattern.match(conversation.folded, end):
            yield conversation.find(of_it, *match.span(1))


def _places(match: Match[str]) -> Iterator[tuple[int, int]]:
    """The groups of a number in parts, without the talk between them; otherwise the whole match."""
    parts = range(1, len(match.groups()) + 1) or range(1)
    return map(match.span, parts)


def _of_stretch(text: str, start: int, end: int) -> Iterator[tuple[Kind, int, int]]:
    """The numbers of one stretch, the surest kinds first."""
    if end - start < 40 and sum(map(str.isdigit, text[start:end])) < 6:
        return
    before = text[max(0, start - _REACH) : start]
    near = before + "\n" + text[end : end + _REACH // 2]
    thing = _THING_CUE.search(before)
    if not thing:
        for match in _RESIDENT.finditer(text, start, end):
            digits = _digits(match)
            if _is_date(digits[:6]):
                yield ("frn" if digits[6] in "5678" else "rrn"), *match.span()
    phones = _PHONES if _SERVICE_CUE.search(near) else (*_PHONES, _SERVICE_PHONE)
    for pattern in phones:
        for match in pattern.finditer(text, start, end):
            first = match.start()
            opened = text[first - 1 : first] in ("+", "(")
            yield "phone", first - opened, match.end()
    yield from _halves(text, start, end, before)
    if not thing:
        yield from _checked_numbers(text, start, end, near)
    if _PHONE_CUE.search(near):
        for match in _LOCAL_PHONE.finditer(text, start, end):
            yield "phone", *match.span()
    if not thing:
        yield from _accounts(text, start, end, near)


def _halves(text: str, start: int, end: int, before: str) -> Iterator[tuple[Kind, int, int]]:
    """The halves of a resident number, told one by one: 앞자리 930412 뒷자리 2345678."""
    if not _RESIDENT_CUE.search(before):
        return
    for match in _HALF_RESIDENT.finditer(text, start, end):
        back = match.group() if len(match.group()) == 7 else ""
        if not back and not _is_date(match.group()):
            continue
        other = _BACK_HALF.match(text, match.end())
        first = (back or (other[1] if other else "1"))[0]
        kind: Kind = "frn" if first in "5678" else "rrn"
        yield kind, *match.span()
        if other:
            yield kind, *other.span(1)


def _accounts(text: str, start: int, end: int, near: str) -> Iterator[tuple[Kind, int, int]]:
    for match in _OWN_SHAPE.finditer(text, start, end):
        yield "account", *match.span()
    if _JAPANESE_BANK.search(near):
        for match in _SEVEN.finditer(text, start, end):
            yield "account", *match.span()
    short = _SHORT_ACCOUNT_CUE.search(near)
    if short or _ACCOUNT_CUE.search(near):
        for match in _ACCOUNT.finditer(text, start, end):
            if _DAY.match(match.group()):
                continue
            if (5 if short else 10) <= len(_digits(match)) <= 16:
                yield "account", *match.span()


def _checked_numbers(text: str, start: int, end: int, near: str) -> Iterator[tuple[Kind, int, int]]:
    for kind, pattern, is_valid, cue in _CHECKED:
        for match in pattern.finditer(text, start, end):
            if is_valid(match) or cue.search(near):
                yield kind, *match.span()


def _digits(match: Match[str]) -> str:
    return "".join(c for c in match.group() if c.isdigit())


def _is_date(digits: str) -> bool:
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


def _is_card(match: Match[str]) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = _digits(match)
    doubled = sum(sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return digits[0] in "34569" and (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_my_number(match: Match[str]) -> bool:
    digits = _digits(match)
    total = sum(map(mul, map(int, digits), (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)))
    return not match.group().isdigit() and -total % 11 % 10 == int(digits[11])


def _is_licence(match: Match[str]) -> bool:
    """The check digits of a driver's licence are not public; its shape is rare enough."""
    return len(re.findall(r"[-\n]", match.group())) == 3 and "-" in match.group()


def _is_never(match: Match[str]) -> bool:
    """Only its cue tells this number."""
    return False


def _is_business(match: Match[str]) -> bool:
    digits = _digits(match)
    if len(digits) != 10:
        return False
    total = sum(map(mul, map(int, digits), (1, 3, 7, 1, 3, 7, 1, 3, 5))) + int(digits[8]) * 5 // 10
    return not match.group().isdigit() and -total % 10 == int(digits[9])


_CHECKED: tuple[tuple[Kind, Pattern[str], Callable[[Match[str]], bool], Pattern[str]], ...] = (
    ("card", _CARD, _is_card, CARD_CUE),
    ("my_number", _MY_NUMBER, _is_my_number, _MY_NUMBER_CUE),
    ("my_number", _MY_NUMBER_BY_THREES, _is_never, _MY_NUMBER_CUE),
    ("licence", _LICENCE, _is_licence, _LICENCE_CUE),
    ("licence", _JP_LICENCE, _is_never, _JP_LICENCE_CUE),
    ("business_number", _BUSINESS, _is_business, _BUSINESS_CUE),
)
