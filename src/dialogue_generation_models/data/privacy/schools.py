"""Where a person learns: schools down to the class.

A named school needs a word that somebody goes there; a class of a grade names a person by itself.
"""

from __future__ import annotations

import re
from re import Pattern

from .finding import Finding
from .normalize import Conversation
from .patterns import any_of
from .windows import windows

_KR_SCHOOL = r"[가-힣]{1,8}(?:초등학교|중학교|고등학교|여고|여중|외고|과고|초|중|고)"
_KR_ANY = any_of("""
우리 같은 여자 남자 다른 모교 전국 국립 사립 공립 국공립 구립 시립 동네 근처 지역 해당 병설 사설
민간 직장 가정 무슨 어느 어떤 옆 사이버 방송통신 기술계 인문계 실업계 특성화 일반 명문 초중 시골
지방 상업 공업 영어 대안 전문 비일반 체육 예술
""")
"""What stands before 학교 or 유치원 without naming one."""
_KR_NAMED = rf"(?<![가-힣])(?!{_KR_ANY})[가-힣]{{2,8}}"
_KR_GOES = r"(?=[를을에도로 ]{0,2}(?:다녀|다니|다닌|다님|다녔|다닐|나왔|나와서|졸업|재학|출신|입학|전학|앞))"
_SAID = "[0-9일이삼사오육칠팔구십]"
_KR_TYPE = "(?:과학|여|외|예|체|상|공|국제|자사|마이스터)고"
_VERB_ENDS = (
    "하되기리치지이키시니우추두르꾸누내그보오가여러드놓쓰먹입벗닫듣받찾싶있없같맞믿앉넣씻묶닦걷뜯"
)
_KR_HIGH = rf"(?<![가-힣])[가-힣]{{2,7}}(?<![{_VERB_ENDS}])고"
"""A school's short name, which looks like a verb that goes on: 해오름고, 데리고."""
_KR_IS = (
    "(?= ?(?:이라|라던|라는|인데|이래|래|애|학생|담임|반장|친구|출신|배정|됐|걔|이야"
    "|(?:야|임)(?![가-힣])))"
)
"""What is said of somebody's class, and not of 2-3 things."""
_JP = r"[一-龥ぁ-んァ-ヶー○〇]"
_JP_SCHOOL = rf"{_JP}{{1,10}}(?:小学校|中学校|高校|高等学校|[初中高]等部|中学|小|中|高)"
_JP_GOES = r"(?=(?:に|を|へ|の)?(?:通|卒業|入学|出身|在学|転校|行って))"
_JP_ANY = any_of("""
今年 去年 来年 毎年 当時 最近 午前 午後 子供 自分 娘 息子 長男 長女 次男 次女 三女 兄 姉 弟 妹 友
地元 近所 普通 同じ 別の 一般 全国 母校 私立 公立 市立 県立 都立 国立 認可 無認可 附属 付属 入学
卒業 小学 中学 大学 年長 年少 保育 今日 明日 昨日 中々 多分 商業 工業 農業
""")
_JP_NAMED = rf"(?<![一-龥ァ-ヶー々])(?:[市県都区国私]立)?(?!{_JP_ANY})[一-龥ァ-ヶー々]{{2,8}}"
_JP_FLOWERS = any_of("""
みどり ひまわり つくし さくら あおば たんぽぽ すみれ ひかり わかば ふたば もみじ どんぐり こばと
めぐみ みのり あおぞら たいよう いずみ のぞみ つばさ ひばり ちゅうりっぷ こすもす わかくさ なかよし
あさひ しらゆり ゆり うめ まつ ほし にじ そら はな
""")
"""What kindergartens are called in hiragana; any other hiragana before one is grammar."""
_JP_GROUP = r"[一-龥ァ-ヶーぁ-ん]{2,5}組"
_JP_CLASS = (
    r"[1-6一二三四五六]年[ \n]?(?:[0-9A-Ha-h一二三四五六七八九]{1,2}|[松竹梅桜藤菊雪月花星])組"
)
_RULES: tuple[tuple[str, Pattern[str]], ...] = tuple(
    (needed, re.compile(source))
    for needed, source in (
        (
            "학년",
            rf"(?:{_KR_SCHOOL}[ ,\n]{{0,2}})?[1-6일이삼사오육](?<![가-힣][일이삼사오육]) ?학년"
            rf"[ ,\n]{{0,2}}{_SAID}{{1,2}} ?반(?!장|[을은이가도에] )"
            r"(?:[ ,]{0,2}[0-9]{1,2}번)?",
        ),
        ("반", r"(?<![가-힣])[초중고][1-6] ?[0-9]{1,2} ?반(?![가-힣]?대)"),
        ("의", rf"{_KR_SCHOOL} ?[1-6]의 ?[0-9]{{1,2}} ?반"),
        ("-", rf"(?<![0-9\-])[1-6]-[0-9]{{1,2}} ?반{_KR_IS}"),
        ("-", rf"{_KR_HIGH} ?[1-3]-[0-9]{{1,2}}{_KR_IS}"),
        (
            "-",
            r"[가-힣]{1,8}(?:[초중]|학교|[여외과]고) ?[1-6]-[0-9]{1,2}(?:반|(?![0-9\-년월주일명번개시분]))",
        ),
        ("-", r"[가-힣]{1,8}고 ?[1-3]-[0-9]{1,2}반"),
        ("학교", rf"{_KR_NAMED}(?:초등|중|고등|대)학교{_KR_GOES}"),
        (
            "고",
            rf"{_KR_NAMED}(?:(?:여고|외고|과고){_KR_GOES}|고(?=[를에] ?(?:다녀|다니|졸업|나왔)))",
        ),
        ("고", rf"{_KR_HIGH}(?= ?(?:나왔|졸업|출신|재학|합격|입학))"),
        (
            "고",
            rf"{_KR_NAMED}{_KR_TYPE}(?:{_KR_GOES}|(?= ?(?:합격|[가-힣]{{1,5}}과(?![가-힣]))))"
            r"(?: [가-힣]{1,5}과 [1-3]학년)?",
        ),
        (
            "학교",
            rf"{_KR_NAMED}(?:초등|중|고등)학교(?=요|예요|이에요|입니다|임(?![가-힣])|이?야(?![가-힣]))",
        ),
        ("학년", rf"{_KR_NAMED}(?:(?:초등|중|고등)학교|초|고) ?[1-6] ?학년"),
        (
            "학번",
            r"학번[은이: ]{0,3}(?:(?:19|20)[0-9]{2}-?[0-9]{3,6}|[A-Za-z]?[0-9]{7,10})(?![0-9])",
        ),
        ("학번", rf"{_KR_NAMED}대(?:학교)?[^\n0-9]{{0,15}}[0-9]{{2}} ?학번"),
        ("유치원", rf"{_KR_NAMED}유치원(?: ?[가-힣]{{2,4}}반(?![가-힣]))?"),
        ("어린이집", rf"{_KR_NAMED}어린이집(?: ?[가-힣]{{2,4}}반(?![가-힣]))?"),
        ("組", rf"(?:{_JP_SCHOOL}[ の\n]{{0,2}})?{_JP_CLASS}(?:[ の]?[0-9]{{1,2}}番(?!目))?"),
        (
            "-",
            r"[一-龥ぁ-んァ-ヶー]{1,7}(?:[丘台山川町東西南北谷原島田野沢崎宮森浜津浦葉]|第[一二三])(?:小|中|高)"
            r"[の ]?[1-6][\-の][0-9]{1,2}(?![0-9\-人年月日])",
        ),
        ("校", rf"{_JP_NAMED}(?:小学校|中学校|高校|高等学校)(?:{_JP_GOES}|の?[1-6一二三四五六]年)"),
        ("女子", rf"{_JP_NAMED}女子[高校]{_JP_GOES}"),
        ("組", r"(?<![一-龥])[小中高][1-6][の ][0-9A-H]{1,2}組"),
        ("高", rf"{_JP_NAMED}高(?:校|等学校)の?[1-3][\-の][0-9A-H]{{1,2}}(?![0-9\-人年月日])"),
        ("大学", rf"{_JP_NAMED}大学(?:{_JP_GOES}|[一-龥]{{1,6}}(?:学部|学科|研究科)[ の]?[1-4]年)"),
        ("番号", r"学(?:籍|生|生証)番号[はが: ]{0,3}[A-Za-z0-9\-]{5,12}"),
        ("園", rf"(?:{_JP_NAMED}|{_JP_FLOWERS})(?:幼稚園|保育園)(?:の?{_JP_GROUP})?"),
        ("園", rf"[ぁ-ん]{{3,8}}(?:幼稚園|保育園)の?{_JP_GROUP}"),
    )
)
# Every alternative begins with a letter, which `re` skips to.
_ANCHOR = re.compile(
    "학교|학년|유치원|어린이집|組|小学校|中学校|高校|高等学校|大学|학번|幼稚園|保育園|여고|외고|과고|고를|고에"
    "|-(?=[0-9])(?<=[1-6]-)|반(?<=[0-9]반)|반(?<=[0-9] 반)|고(?=[ ]?(?:나왔|졸업|출신|재학|합격|입학))"
    "|과학고|예고|체고|상고|공고|국제고|자사고|마이스터고|女子高|女子校|学籍番号|学生番号|学生証番号"
    "|小(?=[1-6])|中(?=[1-6])|高(?=[1-6])"
)
_REACH = 20


def detect_schools(conversation: Conversation) -> list[Finding]:
    """Find schools, kindergartens and classes; findings may overlap."""
    text = conversation.folded
    return [
        conversation.find("school", *match.span())
        for first, last in windows(text, _ANCHOR, _REACH)
        for needed, pattern in _RULES
        if text.find(needed, first, last) >= 0
        for match in pattern.finditer(text, first, last)
    ]
