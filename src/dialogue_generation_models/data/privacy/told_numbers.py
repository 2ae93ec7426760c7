"""Numbers that letters among them tell, or a word beside them: plates, passports, phones told in parts."""

from __future__ import annotations

import re
from re import Pattern

from . import korean_lexicon as lexicon
from .finding import Kind
from .patterns import SEPARATORS as _S
from .patterns import bounded as _bounded

CARD_CUE = re.compile(
    "카드|비자|아멕스|유효기간|유효 기간|card|Card|CARD|visa|Visa|VISA|cvc|CVC|カード|クレカ|有効期限"
)
_PLATE_LETTERS = "가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주바사아자배하허호"
_CAR_CUE = re.compile(
    r"번호판|차량|차(?<![가-힣]차)(?=요|야|임|예요|입니다|인데)|차 ?번호"
    r"|차 ?(?:좀 ?)?빼|주차|차주|내 ?차|렌트|렌터카|오토바이|ナンバー|車|レンタカー"
)
_PASSPORT_CUE = re.compile(r"여권|passport|Passport|PASSPORT|パスポート|旅券")
_JP_PLATE = re.compile(
    r"[一-龥ぁ-ん]{2,4} ?[0-9]{2,3} ?[のノ]?[\n ]?[ぁ-ん] ?"
    r"(?:[0-9]{1,2}-?[0-9]{2}|[・. ]{1,3}[0-9]{1,3})(?![0-9])"
)
_JP_PLATE_SIGN = re.compile(r"[0-9] ?[のノ]?[\n ]?[ぁ-ん] ?[0-9・. ]")
LETTERED: tuple[tuple[Kind, Pattern[str]], ...] = (
    (
        "plate",
        re.compile(
            rf"[0-9](?<![0-9].)(?<!품번.)(?<!품번 .)[0-9]{{1,2}} ?[{_PLATE_LETTERS}]"
            r" ?[0-9]{4}(?![0-9원년개명분자])"
        ),
    ),
    ("passport", re.compile(r"[MSRODGT](?<![A-Za-z0-9].)[0-9]{3}[A-Z][0-9]{4}(?![A-Za-z0-9])")),
    ("passport", re.compile(r"[MSRODGT](?<![A-Za-z0-9].)[0-9]{8}(?![A-Za-z0-9])")),
    ("business_number", re.compile(r"T[0-9]{13}(?![0-9])")),
    (
        "phone",
        re.compile(
            r"(0(?<![0-9]0)(?:1[016-9]|[789]0))[^0-9]{1,30}([0-9]{4})[^0-9]{1,30}([0-9]{4})(?![0-9년원명개점])"
        ),
    ),
    ("account", re.compile(r"記号[はが: ]{0,3}[0-9]{5}(?![0-9])")),
    ("licence", re.compile(r"[가-힣]{2} ?[0-9]{2}[- ][0-9]{6}[- ][0-9]{2}(?![0-9])")),
    ("passport", re.compile(r"[A-HJ-NP-Z](?<![A-Za-z0-9].)[A-HJ-NP-Z][0-9]{7}(?![A-Za-z0-9])")),
    (
        "frn",
        re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z][0-9]{8}[A-Z]{2}(?![A-Za-z0-9])"),
    ),  # 在留カード
)
_OF_FAMILY = f"[{''.join(name for name in lexicon.surnames() if len(name) == 1)}]"
BESIDE: dict[Kind, tuple[tuple[Kind, Pattern[str]], ...]] = {
    "account": (
        (
            "name",
            re.compile(
                rf"[ ,\n(]{{0,3}}({_OF_FAMILY}[{lexicon.FIRST}][{lexicon.SECOND}])"
                r"(?=\)|(?:으로|로|앞으로|님|씨|입니다|이에요|예요)(?![가-힣]))"
            ),
        ),
        (
            "name",
            re.compile(
                r"[ ,\n(]{1,3}([ァ-ヴー]{2,6} [ァ-ヴー]{2,6}|[ァ-ヴー]{5,10})(?![ァ-ヴーa-z])"
            ),
        ),
    ),
    "card": (
        (
            "card",
            re.compile(
                r"[^0-9\n]{0,3}(?:유효 ?기간|만료일?|有効期限|期限|(?i:exp))[^0-9\n]{0,4}"
                r"((?:0[1-9]|1[0-2]) ?/ ?[0-9]{2})(?![0-9/])"
            ),
        ),
    ),
}
"""What is told right after a number and belongs to it: the holder of an account, a card's last month."""
_SAID = "0-9공영일이삼사오육칠팔구"
CUED: tuple[tuple[Kind, Pattern[str], Pattern[str]], ...] = (
    (
        "passport",
        re.compile(
            r"[A-Za-z](?<![A-Za-z0-9].)(?:[ \n-]?[0-9]){8}(?![0-9])"
            r"|[A-Za-z](?<![A-Za-z0-9].)[ \n-]?[0-9]{3} ?[A-Za-z] ?[0-9]{4}(?![0-9])"
            r"|(?:엠|에스|알|오|디)[ \n-]?[0-9]{8}(?![0-9])"
            r"|[A-Za-z]{2}(?:[ \n-]?[0-9]){7}(?![0-9])|(?<![0-9])[0-9]{8}(?![0-9])"
        ),
        _PASSPORT_CUE,
    ),
    (
        "plate",
        re.compile(
            rf"[{_SAID}](?: ?[{_SAID}]){{1,2}}[ \n\-^]?"
            rf"[{_PLATE_LETTERS}]에?[ \n\-^]?[{_SAID}](?: ?[{_SAID}]){{3}}"
            r"|[가-힣]{2} [가-힣] [0-9]{4}(?![0-9])|[一-龥]{2,4} ?[0-9]{3} ?[ぁ-ん](?![ぁ-ん])"
            r"|[ぁ-ん] ?[0-9]{2}-[0-9]{2}(?![0-9])"
        ),
        _CAR_CUE,
    ),
    (
        "plate",
        re.compile(
            rf"차 ?번호(?:판)?[는은]?(?: ?[뒷끝]자리)?[는은이]? ?([{_SAID}]{{4}})(?![0-9공영일삼사오육칠팔구])"
        ),
        re.compile("차(?= ?번호)"),
    ),
    (
        "card",
        _bounded(
            rf"((?:[0-9]{{4}}{_S}){{0,2}}[0-9]{{4}})[^0-9]{{1,12}}((?:[0-9]{{4}}{_S}){{0,2}}[0-9]{{4}})"
        ),
        CARD_CUE,
    ),
    ("plate", _JP_PLATE, _JP_PLATE_SIGN),
)
"""What needs a word beside it: small letters, separators, digits in words."""
