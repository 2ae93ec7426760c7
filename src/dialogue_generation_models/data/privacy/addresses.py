"""Where a person lives: addresses down to the door.

- A place name alone is no address: a number, or a province before it, is needed.
- Rules run only around what they cannot do without; every repeat is bounded.
- A road without a district (테헤란로 231) is told from a noun with a particle (버스로 30분) by what
  follows the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import Pattern
from typing import NamedTuple

from .finding import Finding
from .normalize import Conversation
from .patterns import any_of, not_after
from .places import KOREAN_DISTRICTS
from .windows import windows

_PROVINCE = any_of("""
서울 부산 대구 인천 광주 대전 울산 세종 경기 강원 충북 충남 전북 전남 경북 경남 제주 충청 전라 경상
""")
_LARGE = (
    rf"(?:{_PROVINCE})"
    r"(?:특별자치시|특별자치도|특별시|광역시|시|도|북도|남도)?"
)
_GAP = r"[ ,\n]{0,3}"
_UNIT = r"(?![0-9일시분개주번명회년월만천원점살세차대위등단장권잔박씩강팀정km%:])"
"""What makes a number a count."""
_AREA_BEFORE = re.compile(
    rf"(?:\(?[0-9]{{5}}\)? )?(?:{_LARGE}[ ,\n]{{0,2}})?(?:[가-힣]{{1,5}}[시군구][ ,\n]{{1,2}}){{0,2}}"
    r"(?:[가-힣]{1,5}[0-9]{0,2}[동읍면리가][ ,\n]{1,2}){0,2}\Z"
)
"""Province, city, district and quarter before a match; looked for only once the rest is found."""
_DISTRICT = r"[가-힣]{1,5}[시군구]"
_LOT = r"(?:산 ?)?[0-9]{1,4}(?:-[0-9]{1,4}(?:번지)?| ?번지)"
_BUILDING = (
    r"(?:(?<![가-힣])(?:자이|래미안|푸르지오|힐스테이트|더샵|아이파크|롯데캐슬)|[가-힣A-Za-z0-9]{1,12}(?:아파트|빌라|오피스텔|맨션|타워|파크|팰리스|하이츠|빌|빌리지|캐슬|채|힐스|뷰|시티|자이"
    r"|래미안|푸르지오|힐스테이트|더샵|아이파크|원룸|고시원|고시텔|레지던스|하우스|빌딩|주공|연립|주택|단지|마을|기숙사))"
)
_FLOOR = r"(?:지하 ?)?[0-9Bb]{1,2}층|지층|옥탑"
_NO_HOME = r"(?! ?[가-힣]{0,4}(?:강의|회의|세미나|연습|실험|열람|진료|자습|상담|면접|시험|동아리)(?:실|장|방))"
"""What makes the room before it one of a school or an office: 302호 강의실."""
_ROOM = rf"[A-Za-z]?[0-9]{{2,5}} ?호(?![선기차]){_NO_HOME}"
_BLOCK = r"(?<![0-9])(?:[0-9]{1,4}|[A-Za-z가나다라])(?<![월요].) ?동"
_HOMES_NAME = rf"[가-힣A-Za-z0-9]{{2,12}}(?={_GAP}[0-9]{{1,4}}동{_GAP}[0-9]{{2,5}} ?호)"
"""Any name between the lot and the door of flats."""
_DOOR = (
    r"(?: ?\([가-힣0-9]{2,8}[동읍면리가]\))?"
    rf"(?:{_GAP}(?:{_BUILDING}(?={_GAP}[0-9A-Za-z])|{_HOMES_NAME}))?(?:{_GAP}[0-9]{{1,4}}동)?"
    rf"(?:{_GAP}(?:{_FLOOR}))?(?:{_GAP}{_ROOM})?"
)
_HOUSE = r" ?[0-9]{1,4}(?:[번가나다라]?길 ?[0-9]{1,4})?(?:-[0-9]{1,4})?"
_HOMES = "우리 ?집|저희 ?집|내 ?집|집|자취방|원룸|빌라|아파트|오피스텔|맨션|기숙사|고시원|하우스"
_OURS = "우리 ?집|저희 ?집|내 ?집|자취방|내 ?방|사는 ?집|집주소|집 ?주소"
_SAID = "[일이삼사오육칠팔구십백천공영]"
_NO_ROAD = not_after("""
서로 그대로 제대로 이대로 음대로 맘대로 멋대로 뜻대로 말대로 서대로 절대로 획대로 각대로 상대로
례대로 는대로 바로 별로 새로 따로 실제로 세로 가로 차례로 으로 적으로 번호로 카드로 버스로 진짜로
도로 프로 제로 위로 스스로 주로 홀로 때로 피로 기준로 이길 그길 유로 킬로 미터로 전화로 문자로
가격로 숫자로 점수로 진수로 횟수로 개수로
""")
"""Adverbs, and nouns with the particle 로, that stand before numbers."""
_ROAD_END = (
    r"(?=[ ,]{0,2}(?:\Z|\n|에|로(?![가-힣])|으로|번지|앞|옆|근처|쪽|건너|사거리|[0-9]{1,2}층|이야|야|입니다"
    r"|이에요|예요|임|인데|요|\.(?![0-9])|[가-힣A-Za-z]{1,10}(?:타워|빌딩|빌라|아파트|오피스텔)))"
)

_N = "[0-9〇一二三四五六七八九十百]"
_JP_NAME = r"[ァ-ヶーぁ-ん一-龥々A-Za-z]"
_JP_LETTER = "[ぁ-んァ-ヶー一-龥A-Z]"
_JP_BUILDING = (
    rf"(?:{_JP_NAME}{{0,10}}(?:ハイツ|コーポ|マンション|アパート|荘|メゾン|ハイム|レジデンス|ビル|タワー|寮|団地"
    r"|ハウス|パレス|ヴィラ|コート|ガーデン|テラス|プラザ|社宅|住宅|キャッスル|ヒルズ|シティ|パーク|棟)"
    r"[ァ-ヶー一-龥A-Z]{0,8}|(?:コーポ|メゾン|ハイツ|サン|グラン|ロイヤル|ライオンズ)[ぁ-んァ-ヶー一-龥]{1,10})"
)
_JP_ROOM = r"[ のは、]{0,2}[0-9]{3,4}(?:号室?|室)?(?![0-9円人年mメ階個回月分%cｍ\-])"
_NO_HOTEL = not_after("""
ホテル ホテルの ホテルは 旅館 旅館の 宿の 会議室 会議室の 病院 病院の 病棟 病棟の
教室 講義室 研究室 カラオケ カラオケの
""")
_JP_TAIL = (
    rf"(?:{_N}{{0,3}}棟 ?{_N}{{1,4}}号室?|[ 、\n]{{0,2}}{_JP_NAME}{{2,14}} ?[0-9]{{2,4}}(?:号室?|室)"
    rf"|[ 、\n]{{0,2}}{_JP_BUILDING}{_JP_ROOM}"
    r"|[ 、][ァ-ヶー][ァ-ヶー一-龥]{2,13} ?[0-9]{3,4}(?![0-9円人年月日]))?"
)
_JP_BLOCK = rf"{_N}{{1,4}}(?:番地?|-)? ?(?:の?{_N}{{1,4}})?号?(?:-{_N}{{1,4}}号?)?"
_JP_LOT = (
    rf"(?:{_N}{{1,4}}(?:丁目(?:[ \n]?{_JP_BLOCK})?|番地(?:の?{_N}{{1,4}})?号?|番{_N}{{1,4}}号?"
    rf"|[-ー]{_N}{{1,4}}(?:[-ー]{_N}{{1,4}}){{0,2}}"
    rf"|[のノ]{_N}{{1,3}}[のノ]{_N}{{1,4}}(?:[のノ]{_N}{{1,4}})?))(?:[-ー][0-9]{{1,4}}号?)?{_JP_TAIL}"
)
_KYOTO = "(?:上る|下る|上ル|下ル|西入|東入)"
"""Towards which side of a crossing in Kyoto."""
_JP_GRID = rf"(?:[東西南北]?{_N}{{1,2}}条[東西南北]?)?"
"""Streets of Sapporo and the like: 北3条西14丁目."""
_JP_LARGE = "東京都|北海道|京都府|大阪府|[一-龥]{2,3}県"
_ERA = r"(?<!令和)(?<!平成)(?<!昭和)(?<!西暦)"


class _Rules(NamedTuple):
    sign: Pattern[str]
    """What is searched for first: cheap, and absent from most talk."""
    patterns: tuple[Pattern[str], ...]
    """Where one has a group `district`, that must end in the name of a known one."""


def _rules(sign: str, *sources: str) -> _Rules:
    return _Rules(re.compile(sign), tuple(map(re.compile, sources)))


_SCALE = rf"(?:산 ?)?[0-9]{{1,4}}(?:-[0-9]{{1,4}})?{_UNIT}"
_RULES = (
    _rules(
        "호(?<=[0-9]호)|호(?<=[0-9] 호)",
        rf"(?:[가-힣]{{2,8}}마을 ?)?(?:{_BUILDING}{_GAP})?{_BLOCK}(?:이고|에|의)?{_GAP}(?:(?:{_FLOOR}){_GAP})?"
        rf"[A-Za-z]?[0-9]{{1,5}} ?호(?![선기차]){_NO_HOME}",
        rf"{_BUILDING}{_GAP}(?:(?:{_FLOOR}){_GAP})?{_ROOM}",
        rf"(?:{_HOMES})[은는이도에 :,]{{0,3}}(?:(?:{_FLOOR}|지하) ?)?{_ROOM}",
        r"(?<![0-9\-])[0-9]{2,4}-[0-9]{3,4} ?호(?![선기차])",
        rf"[0-9]{{1,2}}층 ?[0-9]{{2,4}} ?호{_NO_HOME}|지층 ?{_ROOM}|(?<![A-Za-z0-9])[Bb][0-9]{{2,3}} ?호",
        r"(?<![0-9])[0-9]{3,4}호(?=[에 ]{0,2}(?:살|거주|이사|입주))",
        rf"(?:{_BUILDING}{_GAP})?(?<![가-힣]){_SAID}{{2,5}} ?동[에의]?{_GAP}[0-9]{{3,4}} ?호",
    ),
    _rules(
        "호수",
        r"동 ?호수[는은가]? ?[0-9]{1,4}[ /\-,]{1,3}[0-9]{3,4}(?![0-9])",
        r"동[은는]? ?[0-9]{1,4}[ ,\n]{0,2}호수[는은]? ?[0-9]{3,4}(?![0-9])",
    ),
    _rules(
        "/(?<=[0-9]/)(?=[0-9])",
        rf"(?:{_BUILDING}|(?:{_HOMES})[은는이]?){_GAP}[0-9]{{3,4}}/[0-9]{{3,4}}(?![0-9/])",
    ),
    _rules(
        "층(?<=[0-9]층)",
        rf"(?:{_OURS})[은는이도에 :,]{{0,3}}(?:지하 ?)?[0-9]{{1,2}}층(?!짜리|집| ?건물)",
    ),
    _rules(
        "동(?<=[0-9]동)",
        rf"(?:{_BUILDING}|{_OURS}){_GAP}[0-9]{{3,4}}동 ?[0-9]{{3,4}}{_UNIT}",
        rf"{_BUILDING}{_GAP}[0-9]{{3,4}}동(?:{_GAP}(?:{_FLOOR}))?",
        rf"(?:{_OURS})[은는이도에 :,]{{0,3}}[0-9]{{2,4}}동(?=이|야|\Z|\n|임|입)",
    ),
    _rules(
        "-(?<=[0-9]-)(?=[0-9])",
        rf"(?:{_BUILDING}|(?:{_OURS})[은는이]?){_GAP}[0-9]{{2,4}}-[0-9]{{3,4}}(?![0-9\-])",
        r"(?<![0-9\-])[0-9]{3,4}-[0-9]{3,4}"
        r"(?=[에 ]{0,2}(?:살|거주|이사)|호| ?로 ?(?:보내|와|오면|갖다|배달|가져))",
        rf"(?P<district>(?<![가-힣]){_DISTRICT}) ?[0-9]{{1,4}}-[0-9]{{1,4}}{_UNIT}{_DOOR}",
        rf"[一-龥ヶケ々]{{2,8}}{_ERA}[0-9]{{1,2}}-[0-9]{{1,3}}-[0-9]{{1,3}}(?![0-9\-]){_JP_TAIL}",
    ),
    _rules(
        r"[동읍면리가][ \n]?(?:산 ?)?[0-9]",
        rf"[가-힣]{{1,5}}[0-9]{{0,2}}[동읍] ?{_LOT}{_UNIT}{_DOOR}",
        rf"(?P<district>{_DISTRICT}) [가-힣]{{1,5}}[0-9]{{0,2}}[동읍면리가][ \n]?"
        rf"(?:{_LOT}{_UNIT}|{_SCALE}(?!층|호)){_DOOR}",
        rf"[가-힣]{{1,4}}[읍면] ?[가-힣]{{1,4}}리 ?{_SCALE}{_DOOR}",
        rf"[가-힣]{{1,5}}[0-9]{{0,2}}[동읍면리가] ?{_LOT}(?<=번지){_DOOR}",
    ),
    _rules(
        "동(?<=[0-9]동)|가(?<=[0-9]가)",
        rf"(?P<district>{_DISTRICT}) ?[가-힣]{{1,5}}[0-9]{{1,2}}[동가](?: ?{_LOT})?{_DOOR}",
    ),
    _rules(
        "[로길] ?[0-9]",
        rf"(?P<district>{_DISTRICT})(?: [가-힣]{{1,4}}[읍면])? [가-힣0-9]{{1,8}}[로길]"
        rf"{_HOUSE}(?!층){_UNIT}{_DOOR}",
        rf"[가-힣]{{1,8}}로 ?[0-9]{{1,4}}[번가나다라]?길 ?{_SCALE}{_DOOR}",
        rf"(?<![가-힣])[가-힣]{{2,6}}[로길]{_NO_ROAD} ?[0-9]{{1,3}}(?:-[0-9]{{1,3}})?(?![0-9\-])"
        rf"{_ROAD_END}{_DOOR}",
    ),
    _rules("우편", r"우편 ?번호[는은가: \n]{0,3}[0-9](?: ?[0-9]){4}(?![0-9])"),
    _rules(
        "号室(?<=[〇一二三四五六七八九]号室)",
        rf"(?:{_JP_BUILDING}[ のは、]{{0,2}})?{_NO_HOTEL}(?<![一-龥])[〇一二三四五六七八九]{{3,4}}号室",
    ),
    _rules(
        rf"[のノ](?<={_N}[のノ])(?={_N}{{1,3}}[のノ]{_N})",
        rf"[一-龥ヶ][一-龥ヶが]{{1,7}}{_N}{{1,3}}(?:[のノ]{_N}{{1,3}}){{2,3}}{_JP_TAIL}",
    ),
    _rules("〒", r"〒 ?[0-9]{3}[- ]?[0-9]{4}"),
    _rules("郵便番号", r"郵便番号[はが: \n]{0,3}[0-9]{3}[- の]?[0-9]{4}(?![0-9])"),
    _rules(
        r"[市区町村郡](?=[ぁ-んァ-ヶ一-龥々 \n]{0,40}[0-9])",
        rf"(?:{_JP_LARGE})? ?(?:(?:[一-龥ヶ]{{1,6}}[市区町村郡]|[ぁ-んァ-ヶ]市)\n?){{1,3}}"
        rf"[ぁ-んァ-ヶ一-龥々]{{0,12}}?[ \n]?{_JP_GRID}{_JP_LOT}",
        rf"(?:[一-龥]{{1,6}}[市区]){{1,2}}[一-龥]{{1,12}}{_KYOTO}[一-龥ぁ-んァ-ヶ]{{0,10}}[0-9]{{1,4}}(?:-[0-9]{{1,4}})?(?:番地)?",
    ),
    _rules(
        rf"[0-9](?:(?<={_JP_LETTER}.)|(?<={_JP_LETTER}[ のは、].)|(?<={_JP_LETTER}[ のは、][ のは、].))"
        r"[0-9]{2,3}(?:号室?|室)?(?![0-9円人年])",
        rf"{_JP_BUILDING}{_JP_ROOM}",
        rf"(?:うち|家|自宅|(?<!ホテルの)(?<!旅館の)(?<!宿の)部屋(?:番号)?|住まい|マンション|アパート)[はのが]{{0,2}}(?:[0-9]{{1,2}}階の?)?{_JP_ROOM}"
        r"(?=\Z|\n|号|だ|です|に住|ね|よ)",
        rf"{_NO_HOTEL}(?<![0-9])[0-9]{{3,4}}号室",
    ),
    _rules(
        _PROVINCE,
        rf"{_LARGE} ?(?:[가-힣]{{1,4}}[시군구] ?){{1,2}}(?:[가-힣0-9]{{1,8}}"
        rf"(?:로|길|동|읍|면|리|가)(?![가-힣]{{2}}))(?:{_HOUSE}(?:번지)?)?{_DOOR}",
    ),
    _rules(
        rf"호(?<={_SAID}호)",
        rf"(?:{_BUILDING}{_GAP})?(?:[0-9]{{3,4}}|{_SAID}{{2,5}}|(?<![가-힣])[A-Za-z가나다라])(?<![월요].)"
        rf" ?동[에의]?{_GAP}{_SAID}{{2,7}} ?호",
    ),
    _rules(
        rf"[市区町村郡](?=[ぁ-んァ-ヶ一-龥々 ]{{0,40}}?(?:丁目|番地|[のノー]{_N}{{1,3}}[のノー]))",
        rf"(?:{_JP_LARGE})? ?(?:[一-龥ヶ]{{1,6}}[市区町村郡]|[ぁ-んァ-ヶ]市)"
        rf"[ぁ-んァ-ヶ一-龥々]{{0,12}}? ?{_JP_GRID}{_JP_LOT}",
    ),
    _rules("丁目", rf"[一-龥ァ-ヶ]{{1,8}}{_N}{{1,2}}丁目(?:{_JP_BLOCK}){_JP_TAIL}"),
)
_REACH = 64
"""How far from its sign an address may begin or end."""
_AREA = 40
_KANA_CITY = any_of("""
さいたま つくば つくばみらい いわき むつ つがる にかほ みどり あわら たつの うるま いすみ
あきる野 いなべ みよし かほく ひたちなか
かすみがうら さくら ふじみ野 あま えびの うきは みやま みやこ ニセコ 南アルプス
""")
_KANA_BEFORE = re.compile(rf"(?:{_JP_LARGE})? ?{_KANA_CITY}\Z")
"""A city in kana; its last letter begins the match."""
_NO_HOME_BEFORE = re.compile(
    r"(?:회의실|강의실|세미나실|연습실|사무실|객실|병실|병동|호텔|모텔|리조트|도서관|연수원|노래방|[본별신구학]관)"
    r"[은는이도에 ,:\n]{0,2}\Z"
)
"""What stands before the floor and the room of a school, an office, a hotel."""


def detect_addresses(conversation: Conversation) -> list[Finding]:
    """Find addresses and doors; findings may overlap."""
    text = conversation.folded
    return [
        conversation.find("address", *span)
        for rules in _RULES
        for first, last in windows(text, rules.sign, _REACH)
        for span in _spans(text, rules, first, last)
    ]


def _spans(text: str, rules: _Rules, first: int, last: int) -> Iterator[tuple[int, int]]:
    for pattern in rules.patterns:
        for match in pattern.finditer(text, first, last):
            district = match.groupdict().get("district")
            if district is None or f" {district}".endswith(KOREAN_DISTRICTS):
                start, end = match.span()
                if text[start].isdigit() and _NO_HOME_BEFORE.search(
                    text, max(0, start - 12), start
                ):
                    continue
                area = (
                    _KANA_BEFORE.search(text, max(0, start - _AREA), start + 1)
                    if "ぁ" <= text[start] <= "ヶ"
                    else _AREA_BEFORE.search(text, max(0, start - _AREA), start)
                )
                yield area.start() if area else start, end
