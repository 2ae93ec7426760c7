"""Where a person lives or learns: addresses down to the door, schools down to the class.

A place name alone is no address: a number, or a province before it, is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .finding import Finding, Kind
from .normalize import Conversation

_LARGE = (
    r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주|충청|전라|경상)"
    r"(?:특별자치시|특별자치도|특별시|광역시|시|도|북도|남도)?"
)
_LOT = r"(?:산 ?)?[0-9]{1,4}(?:-[0-9]{1,4}(?:번지)?| ?번지)"
_DOOR = (
    r"(?:[ ,\n]{0,3}[가-힣]{2,10}(?:아파트|빌라|오피스텔|맨션|타워))?(?:[ ,\n]{0,3}[0-9]{1,4}동)?"
    r"(?:[ ,\n]{0,3}[0-9]{1,2}층)?(?:[ ,\n]{0,3}[0-9]{2,5}호)?"
)
_STREET = r"[가-힣0-9]{1,8}(?:대로|로|길)"
_HOUSE = r" ?[0-9]{1,4}(?:번길 ?[0-9]{1,4})?(?:-[0-9]{1,4})?"
_HOMES = "우리 ?집|집|자취방|원룸|빌라|아파트|오피스텔|맨션|기숙사|고시원|하우스"
_N = "[0-9一二三四五六七八九十]"
_JP_BLOCK = rf"{_N}{{1,4}}(?:番地?|-)? ?(?:の?{_N}{{1,4}})?号?(?:-{_N}{{1,4}})?"
_JP_LOT = (
    rf"{_N}{{1,4}}(?:丁目(?: ?{_JP_BLOCK})?|番地(?:の?{_N}{{1,4}})?|番{_N}{{1,4}}号?"
    r"|-[0-9]{1,4}(?:-[0-9]{1,4}){0,2})(?: ?[ァ-ヶー一-龥]{2,12})?(?: ?[0-9]{2,4}号室?)?"
)
_JP_LARGE = "東京都|北海道|京都府|大阪府|[一-龥]{2,3}県"
_KR_SCHOOL = r"[가-힣]{1,8}(?:초등학교|중학교|고등학교|여고|여중|외고|과고|초|중|고)"
_JP_SCHOOL = r"[一-龥ぁ-んァ-ヶー○〇]{1,10}(?:小学校|中学校|高校|高等学校|小|中)"
_JP_CLASS = r"[1-6一二三四五六]年[ \n]?[0-9A-H一二三四五六七八九]{1,2}組"
_SOURCES: tuple[tuple[Kind, str, str], ...] = (
    (
        "address",
        "호",
        r"(?<![0-9])[0-9]{1,4} ?동[ ,\n]{0,2}(?:[0-9]{1,2}층 ?)?[0-9]{2,5} ?호(?![선기차])",
    ),
    (
        "address",
        "호",
        rf"(?:{_HOMES})[은는이도에 :,]{{0,3}}(?:[0-9]{{1,2}}층 ?)?[0-9]{{2,5}} ?호(?![선기차])",
    ),
    (
        "address",
        "",
        rf"(?:[가-힣]{{1,5}}[시구군읍면] [가-힣]{{1,5}}[0-9]{{0,2}}[동읍면리가]"
        rf"|[가-힣]{{1,5}}[0-9]{{0,2}}[동읍]) ?{_LOT}(?![0-9일시분개주번명]){_DOOR}",
    ),
    (
        "address",
        "번지",
        rf"[가-힣]{{1,5}}[0-9]{{0,2}}[면리가] ?{_LOT}(?<=번지){_DOOR}",
    ),
    (
        "address",
        "",
        rf"[가-힣]{{1,4}}[구군시] ?[가-힣]{{1,5}}[0-9]{{1,2}}[동가](?: ?{_LOT})?{_DOOR}",
    ),
    (
        "address",
        "",
        rf"{_LARGE} ?(?:[가-힣]{{1,4}}[시군구] ?){{1,2}}(?:[가-힣0-9]{{1,8}}"
        rf"(?:대로|로|길|동|읍|면|리|가)(?![가-힣]{{2}}))(?:{_HOUSE}(?:번지)?)?{_DOOR}",
    ),
    (
        "address",
        "",
        rf"[가-힣]{{1,4}}[시군구읍면] {_STREET}{_HOUSE}(?![0-9시분개명번년월만천원]){_DOOR}",
    ),
    (
        "address",
        "번길",
        rf"[가-힣]{{1,8}}로 ?[0-9]{{1,4}}번길 ?[0-9]{{1,4}}(?:-[0-9]{{1,4}})?{_DOOR}",
    ),
    ("address", "호", r"(?<![0-9])[0-9]{3,4}호(?=[에 ]{0,2}(?:살|거주))"),
    (
        "school",
        "학교",
        r"(?<![가-힣])(?!우리|같은|여자|남자|다른|모교|전국|국립)[가-힣]{2,6}(?:초등|중|고등)학교"
        r"(?=[를에 ]{0,2}(?:다녀|다니|나왔|졸업|재학|출신))",
    ),
    ("address", "〒", r"〒 ?[0-9]{3}-?[0-9]{4}"),
    ("address", "郵便番号", r"郵便番号[はが: \n]{0,3}[0-9]{3}-?[0-9]{4}(?![0-9])"),
    (
        "address",
        "",
        rf"(?:{_JP_LARGE})? ?[一-龥ヶ]{{1,6}}[市区町村郡][ぁ-んァ-ヶ一-龥]{{0,12}}? ?{_JP_LOT}",
    ),
    ("address", "丁目", rf"[一-龥ァ-ヶ]{{1,8}}{_N}{{1,2}}丁目(?:{_JP_BLOCK})"),
    ("address", "号室", r"(?<![0-9])[0-9]{3,4}号室"),
    (
        "school",
        "학년",
        rf"(?:{_KR_SCHOOL}[ ,\n]{{0,2}})?[1-6] ?학년[ ,\n]{{0,2}}[0-9]{{1,2}} ?반(?!장)",
    ),
    ("school", "", rf"{_KR_SCHOOL} ?[1-6]-[0-9]{{1,2}}반?(?![0-9])"),
    ("school", "組", rf"(?:{_JP_SCHOOL}[ の\n]{{0,2}})?{_JP_CLASS}"),
)


_RULES = tuple((kind, needed, re.compile(source)) for kind, needed, source in _SOURCES)
_ANCHOR = re.compile(rf"[0-9]{{1,4}}|{_LARGE}|丁目|番地|年.組|〒|[초중고]등?학교")
_REACH = 40


def detect_addresses(conversation: Conversation) -> list[Finding]:
    """Find addresses, doors and school classes; findings may overlap."""
    text = conversation.folded
    found: list[Finding] = []
    for first, last in _windows(text):
        found += (
            conversation.find(kind, *match.span())
            for kind, needed, pattern in _RULES
            if text.find(needed, first, last) >= 0
            for match in pattern.finditer(text, first, last)
        )
    return found


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """The stretches around digits or a province, joined where they touch."""
    first = last = -1
    for match in _ANCHOR.finditer(text):
        if last < 0 or match.start() - _REACH > last:
            if last >= 0:
                yield first, last
            first = max(0, match.start() - _REACH)
        last = match.end() + _REACH
    if last >= 0:
        yield first, last
