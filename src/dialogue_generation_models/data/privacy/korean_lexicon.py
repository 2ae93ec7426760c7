"""What is known of Korean names: family names, given names, and the words that are names too.

The lists are in `lists/`. A line of `korean_given.txt` is a first syllable and the second ones that follow it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .word_lists import lines, words

FIRST = (
    "가강건경고광교구국권규근금기길나남다단달대덕도동두라란래루리린마만말명모무문미민바방배백범별병보복봄봉"
    "부빈빛산상새샘서석선설성세소솔송수숙순슬승시신아안애양여연영예오옥온완용우욱운원유윤율은을의이인일임자장재정"
    "제조종주준중지진차찬창채철청초춘충치태택하학한해향혁현형혜호홍화환효훈휘흥희"
)
SECOND = (
    "건걸겸경곤관광교구국권규균근기길나남녀담덕도동두라란람래련령례로룡름리린림민미배백범별복봉빈빛산삼샘서석"
    "선설섭성세소솔송수숙순슬승식실심아안애엽연열염영예오옥온완용우욱운웅원유윤율은의이인일임자재정제조종주준중지직진"
    "찬채천철춘태택필하학한해향혁현협형혜호홍화환효훈휘희"
)
"""Syllables that given names begin with, and end with."""
VERB_STEMS = frozenset(("지우", "정하", "재우", "태우", "도우", "준하"))
"""Given names to which a verb's endings may be added: 지우고, 지우는."""
ACTIONS = frozenset(("준수", "소진", "시연", "주선", "동석", "수호", "세정", "재현", "시현"))
"""Given names that are nouns of what is done, too: 준수하고, 시연하는, 재현을."""
ENDINGS = ("인가", "인지", "인다", "진다", "한다")
"""Endings of other words that look like a name's last syllable and a particle: 예정인가요, 심해진다."""


@lru_cache(maxsize=1)
def given_names() -> frozenset[str]:
    """Frequent given names of two syllables."""
    rows = (line.split() for line in lines("korean_given"))
    return frozenset(first + second for first, seconds in rows for second in seconds)


def ordinary_words() -> frozenset[str]:
    """Words that serve as given names and profile names, and mostly mean something else in a talk."""
    return words("korean_words")


def roles() -> frozenset[str]:
    """What somebody is to somebody: mother, boss. A role names nobody."""
    return words("korean_roles")


def surnames() -> frozenset[str]:
    """Family names of one and two syllables."""
    return words("korean_surnames")


def nouns() -> frozenset[str]:
    """Frequent words of two syllables whose first one is a family name: 정보, 차이."""
    return words("korean_nouns")


def split_full_name(text: str) -> tuple[str, str] | None:
    """Return family name and given name, or None if the text does not begin with a family name."""
    for length in (2, 1):
        given = text[length:]
        if text[:length] in surnames() and 1 <= len(given) <= 3 - (length == 2):
            return text[:length], given
    return None


def may_be_given(text: str) -> bool:
    """Whether two syllables could be a given name by the syllables that given names are made of."""
    return len(text) == 2 and text[0] in FIRST and text[1] in SECOND


def has_final(text: str) -> bool:
    """Whether the last syllable ends in a consonant."""
    return "가" <= text[-1:] <= "힣" and (ord(text[-1]) - 0xAC00) % 28 > 0


_TITLES = (
    "대리|과장|차장|부장|팀장|사장|이사|주임|사원|대표|실장|교수|쌤|샘|선생|매니저|간호사|변호사|박사|원장|코치|감독"
    "|상무|전무|회장|본부장|책임|선임|수석|연구원|소장|반장|조교|강사|기사|점장|국장|의원|총무|목사|집사|권사|장로"
    "|병장|상병|일병|이병|중사|하사|대위|소위|중위|프로|피디|작가|기자|약사|원사"
)
TITLE = rf"(?:{_TITLES})(?:님)?"
KIN = (
    "형님?|누나|누님|언니|오빠|오라버니|이모|삼촌|고모|할머니|할아버지|아저씨|아줌마|어머님?|아버님?|선배님?|후배님?"
    "|엄마|아빠|동생"
)
HONORIFIC = rf"(?:씨|님|군|양|{TITLE}|{KIN})"
_PARTICLES = (
    "은|는|이|가|을|를|의|에|에게|에게서|한테|한테서|께|께서|랑|이랑|하고|과|와|도|만|까지|부터|보다|처럼|같이|같은|같아|같애"
    "|만큼|마다|밖에|뿐|조차|마저|야|아|여|이여|로|으로|네|꺼|거|것|땜에|때문에|덕분에?|라고|이라고|라는|이라는|란|이란|라서"
    "|이라서|라며|라면|이라면|래|이래|인데|인가|인지|인줄|임|이니|니|냐|이냐|지|이지|죠|이죠|잖아|이잖아|거든|이거든|구나|이구나|군요|예요"
    "|에요|이에요|이예요|입니다|입니당|이다|다|였|이었|였어|이었어|일|인|더러|보고|말고|없이|대신|쪽|등|들|이나|든|이든|라도|이라도|요|이가"
    "|이는|이를|이도|이만|이한테|이에게|이네|이야|이의|이꺼|이거|이랑|이하고|이보다|이처럼|이같이|이같은|이말고|이때문에|이땜에|이로|이라|이고|고|이며"
)
AFTER_NAME = re.compile(rf"{HONORIFIC}?(?:{_PARTICLES}){{0,3}}(?![가-힣])")
"""Everything that may follow a name within a word."""
GLUED = re.compile(
    rf"{HONORIFIC}?(?:{_PARTICLES})?(?:어디|어딨|뭐|모해|머해|언제|왜|왔|갔|안|못|지금|오늘|내일|어제|밥|일어|전화|생일|집|진짜|너|넌"
    "|나|우리|빨리|얼른|잘|좋|고마|미안|사랑|보고|축하|생각|얘기|번호|사진|여기|거기|저기|어떻|어때|있|없|온|오|가|먹|봐|한번"
    "|이거|저거|그거|착|예쁘|이쁘|귀여|남친|여친|친구|화이팅|파이팅|천재|바보|최고|짱|쓰(?![가-힣])|안녕|하이|굿|땡큐|쏘리|제발|이번|다음|혹시)"
)
"""Words that chats write without a space after a name."""
CALLED = re.compile(
    rf"(?:씨|언니|오빠|누나|형|쌤|선배|후배|님)(?:{_PARTICLES}){{0,2}}(?![가-힣])"
    rf"|이 ?(?:언니|오빠|누나|형|씨|쌤|선배)(?:{_PARTICLES}){{0,2}}(?![가-힣])"
    r"|이(?:[가는를도만의]|한테|에게서?|랑|까지|보다|처럼|같이|마저|꺼| ?때문에|네 ?집)"
    r"(?:[은는도만요서에]|에서|이야)?(?![가-힣])"
    r"|(?:[아야]|한테|한테서|한테는|한테도|에게|에게서|께서?|랑|랑은|랑도)(?![가-힣])"
)
"""What follows a person's name and hardly another word: honorifics, vocatives, to and from a person."""
NEXT_HONORIFIC = re.compile(
    rf" (?:씨|님|군(?! ?(?:복무|입대|생활|부대|제대|면제|대체))|양|{TITLE}|{KIN})"
    rf"(?:{_PARTICLES}){{0,2}}(?![가-힣])"
)
DETERMINERS = "한전고주"
"""Family names that before a word for somebody mostly mean one, former, late, main: 한 아저씨, 전 대표."""
NEXT_OFFICE = re.compile(
    rf" (?:씨|대리|과장|차장|부장|쌤)(?:님)?(?:{_PARTICLES}){{0,2}}(?![가-힣])"
)
"""What follows them if they are names."""
COMPANY = re.compile(
    r" (?:전자|통신|그룹|상사|제철|항공|백화점|치과|약국|한의원|미용실|마트|출판사|학원|부동산"
    r"|제지|제약|제과|제강|제분|건설|증권|투자증권|자산운용|화학|중공업|물산|해운"
    r"|홀딩스|바이오|엔지니어링|시멘트|식품|저축은행|손해보험|생명보험)(?:이?[은는이가을를의에도로]|에서|이랑|이야|주)?(?![가-힣])"
)
"""What makes a company of the name before it: 한솔 제지, 유진 투자증권."""
BEFORE_NAME = re.compile(
    r"(?:우리|울|내|내친구|친구|야|아|어|근데|그럼|그래서|오늘|지금|역시|아니|혹시|저기|얘들아|그리고|글고|안녕|나는|난|저는|전|이름은|나|저)?"
)
"""Words that chats write without a space before a name."""
