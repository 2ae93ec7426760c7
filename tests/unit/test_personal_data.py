"""Personal data by rules: plain, obfuscated and split; harmless look-alikes; exact places; hostile input."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue_generation_models.data.privacy.detect import find_personal_data
from dialogue_generation_models.data.privacy.finding import Finding, merge_findings
from dialogue_generation_models.data.privacy.normalize import Conversation

LISTS = Path(__file__).parent.parent / "privacy"

# kind, messages (split at |), what must be covered (a line break between messages written as |)
CASES = """
rrn	주민번호 900101-1234567 이야	900101-1234567
rrn	900101 1234567	900101 1234567
rrn	９００１０１－１２３４５６７	９００１０１－１２３４５６７
rrn	9001011234567 이거	9001011234567
rrn	앞은 900101|1234567 뒤	900101|1234567
rrn	900101-1******	900101-1******
rrn	9 0 0 1 0 1 - 1 2 3 4 5 6 7	9 0 0 1 0 1 - 1 2 3 4 5 6 7
frn	외국인등록번호 900101-5234567	900101-5234567
frn	900101 6234567	900101 6234567
frn	９００１０１-７２３４５６７	９００１０１-７２３４５６７
frn	900101|8234567	900101|8234567
frn	9001015234567	9001015234567
frn	9 0 0 1 0 1 5 2 3 4 5 6 7	9 0 0 1 0 1 5 2 3 4 5 6 7
my_number	マイナンバーは123456789012です	123456789012
my_number	マイナンバー 1234 5678 9012	1234 5678 9012
my_number	個人番号|1234-5678-9012	1234-5678-9012
my_number	1234 5678 9018	1234 5678 9018
my_number	個人番号は１２３４５６７８９０１２	１２３４５６７８９０１２
my_number	マイナンバーは|1234|5678|9012	1234|5678|9012
phone	010-1234-5678로 전화해	010-1234-5678
phone	01012345678이야	01012345678
phone	공일공 일이삼사 오육칠팔	공일공 일이삼사 오육칠팔
phone	공일공일이삼사오육칠팔이야	공일공일이삼사오육칠팔
phone	공1공-1234-5678	공1공-1234-5678
phone	ㅇ1ㅇ 1234 5678	ㅇ1ㅇ 1234 5678
phone	ㅇ1ㅇ12345678	ㅇ1ㅇ12345678
phone	０１０－１２３４－５６７８	０１０－１２３４－５６７８
phone	⓪①⓪ ①②③④ ⑤⑥⑦⑧	⓪①⓪ ①②③④ ⑤⑥⑦⑧
phone	0 1 0 1 2 3 4 5 6 7 8	0 1 0 1 2 3 4 5 6 7 8
phone	010\u200b1234\u200b5678	010\u200b1234\u200b5678
phone	010|1234|5678	010|1234|5678
phone	010|1234-5678 여기로	010|1234-5678
phone	010.1234.5678	010.1234.5678
phone	+82 10-1234-5678	+82 10-1234-5678
phone	011-234-5678	011-234-5678
phone	02-123-4567 사무실	02-123-4567
phone	031)123-4567	031)123-4567
phone	070-1234-5678	070-1234-5678
phone	1588-1234	1588-1234
phone	〇九〇一二三四五六七八	〇九〇一二三四五六七八
phone	090-1234-5678です	090-1234-5678
phone	080|1234|5678	080|1234|5678
phone	+81 90 1234 5678	+81 90 1234 5678
phone	03-1234-5678	03-1234-5678
phone	0120-123-456	0120-123-456
account	국민 123456-12-123456	123456-12-123456
account	계좌 110-123-456789 로	110-123-456789
account	입금은 어디로?|3333-01-1234567	3333-01-1234567
account	농협이야|302|1234|5678|91	302|1234|5678|91
account	신한 １１０－１２３－４５６７８９	１１０－１２３－４５６７８９
account	口座番号は1234567です	1234567
account	振込先は|123-4567890	123-4567890
account	통장 1 1 0 1 2 3 4 5 6 7 8 9	1 1 0 1 2 3 4 5 6 7 8 9
card	4111-1111-1111-1111	4111-1111-1111-1111
card	4111 1111 1111 1111	4111 1111 1111 1111
card	4111111111111111	4111111111111111
card	４１１１ １１１１ １１１１ １１１１	４１１１ １１１１ １１１１ １１１１
card	4111|1111|1111|1111	4111|1111|1111|1111
card	카드번호 1234-5678-1234-5678	1234-5678-1234-5678
email	minsu.k@example.com 여기	minsu.k@example.com
email	minsu 골뱅이 example 닷컴	minsu 골뱅이 example 닷컴
email	minsu골뱅이네이버닷컴	minsu골뱅이네이버닷컴
email	hanako＠example.jp	hanako＠example.jp
email	hanako アットマーク example ドット jp	hanako アットマーク example ドット jp
email	minsu(at)example.com	minsu(at)example.com
email	min\u200bsu@example.com	min\u200bsu@example.com
email	minsu12@naver 야	minsu12@naver
messenger_id	카톡 아이디 minsu_99	minsu_99
messenger_id	카톡 아이디는?|minsu99	minsu99
messenger_id	LINE IDは hanako_x です	hanako_x
messenger_id	인스타 min.su_k	min.su_k
messenger_id	@minsu_k 팔로우해	@minsu_k
messenger_id	ｌｉｎｅ ｉｄ ｈａｎａ１２	ｈａｎａ１２
messenger_id	インスタは|hana_k12	hana_k12
url	https://example.com/a?b=c 봐	https://example.com/a?b=c
url	www.example.com이야	www.example.com
url	example.com/minsu	example.com/minsu
url	open.example.kr	open.example.kr
url	ｈｔｔｐｓ：／／example.jp/x	ｈｔｔｐｓ：／／example.jp/x
url	ht\u200btps://example.net	ht\u200btps://example.net
address	101동 1203호	101동 1203호
address	우리집 302호야	우리집 302호
address	양천구 목3동 123-4	양천구 목3동 123-4
address	목3동 12번지	목3동 12번지
address	서울시 강남구 역삼동 12-3	서울시 강남구 역삼동 12-3
address	경기도 성남시 분당구 가상로 12	경기도 성남시 분당구 가상로 12
address	해운대구 가상로 12번길 3	해운대구 가상로 12번길 3
address	우리 아파트|101동|1203호	101동|1203호
address	１０１동 １２０３호	１０１동 １２０３호
address	東京都新宿区西新宿2-8-1	東京都新宿区西新宿2-8-1
address	横浜市中区本町三丁目4番地	横浜市中区本町三丁目4番地
address	〒123-4567	〒123-4567
address	〒１２３－４５６７	〒１２３－４５６７
plate	12가 3456	12가 3456
plate	123나4567	123나4567
plate	차는 서울 34다 5678	34다 5678
plate	１２가３４５６	１２가３４５６
plate	12\u200b가 3456	12\u200b가 3456
plate	品川 300 あ 12-34	品川 300 あ 12-34
passport	여권 M12345678	M12345678
passport	M123A4567	M123A4567
passport	TK1234567です	TK1234567
passport	Ｍ１２３４５６７８	Ｍ１２３４５６７８
passport	S98765432	S98765432
passport	M1234\u200b5678	M1234\u200b5678
licence	11-12-123456-12	11-12-123456-12
licence	면허 11 12 123456 12	11 12 123456 12
licence	면허번호 111212345612	111212345612
licence	１１－１２－１２３４５６－１２	１１－１２－１２３４５６－１２
licence	면허번호|28-03-654321-00	28-03-654321-00
licence	26-99-000000-11	26-99-000000-11
business_number	사업자번호 123-45-67890	123-45-67890
business_number	사업자 1234567890	1234567890
business_number	123-45-67891	123-45-67891
business_number	사업자 １２３－４５－６７８９０	１２３－４５－６７８９０
business_number	사업자등록번호|123-45-67890	123-45-67890
business_number	사업자 1 2 3 4 5 6 7 8 9 0	1 2 3 4 5 6 7 8 9 0
school	한빛초등학교 3학년 2반	한빛초등학교 3학년 2반
school	한빛중 2학년 11반	한빛중 2학년 11반
school	가람고 2-3반	가람고 2-3반
school	한빛초등학교|3학년 2반	한빛초등학교|3학년 2반
school	한빛초등학교 ３학년 ２반	한빛초등학교 ３학년 ２반
school	青空小学校3年2組	青空小学校3年2組
school	○○小学校３年２組	○○小学校３年２組
phone	공일공에 일이삼사에 오육칠팔	공일공에 일이삼사에 오육칠팔
phone	010ㅡ1234ㅡ5678	010ㅡ1234ㅡ5678
phone	영일영 1234 5678	영일영 1234 5678
phone	o1o-1234-5678	o1o-1234-5678
phone	03の1234の5678	03の1234の5678
phone	내 번호|1234-5678	1234-5678
phone	3시에 봐|010-1234-5678|5분 뒤	010-1234-5678
phone	번호는|공일공|일이삼사|오육칠팔	공일공|일이삼사|오육칠팔
rrn	900101ㅡ1234567	900101ㅡ1234567
email	minsu at example.com	minsu at example.com
messenger_id	디코 minsu#1234	minsu#1234
address	303호 살아	303호
school	한빛초등학교 다녀	한빛초등학교
plate	なにわ 500 さ 1234	なにわ 500 さ 1234
licence	서울 12-123456-12	서울 12-123456-12
licence	13-14|234567-80	13-14|234567-80
account	하나 482-910239-10207	482-910239-10207
account	부산 93752846 01207 로	93752846 01207
phone	電話番号教えて|0664821935	0664821935
phone	ゼロ九〇-九三七五-二八四六	ゼロ九〇-九三七五-二八四六
plate	삼사나 오육칠팔 차 좀 빼주세요	삼사나 오육칠팔
email	soyul88 AT naver DOT com	soyul88 AT naver DOT com
email	soyul88(a)naver.com	soyul88(a)naver.com
email	soyul88엣네이버닷컴	soyul88엣네이버닷컴
email	soyul88{at}kakao{dot}com	soyul88{at}kakao{dot}com
email	haruto88アットマークgmailドットコム	haruto88アットマークgmailドットコム
address	대전 유성구 궁동|482-9	대전 유성구 궁동|482-9
address	송파구 잠실동 93-75 트리지움 319동 1207호	송파구 잠실동 93-75 트리지움 319동 1207호
address	札幌市中央区北3条西14丁目8	札幌市中央区北3条西14丁目8
address	埼玉県さいたま市浦和区岸町3丁目7-5	埼玉県さいたま市浦和区岸町3丁目7-5
address	吹田市山田東3丁目7番5-207号	吹田市山田東3丁目7番5-207号
address	京都市中京区烏丸通三条上る場之町597	京都市中京区烏丸通三条上る場之町597
school	상록여고 다님	상록여고
"""

HARMLESS = """
3만원|12,000원|총 1,234,567원이야|내일 3시 30분에 봐
12:30에 만나|2026-11-26|2026.11.26 목요일|11월 26일
6712번 버스|3-1로 이겼어|25:23 25:21|버전 3.11.7|v2.0.1
사람 300명|1004번|3호선 타|2호선 강남역|100점
오오 이거 일이야|ㅇㅇ|ㅇㅋ|ㅋㅋㅋㅋㅋㅋㅋㅋ|구일|삼일절
하늘이 참 맑다|さくら咲いた|이사 가는 날|구이 먹자|일이 많아|오이 사와
ㅇㅇㅇㅇㅇㅇㅇㅇㅇㅇ|이일이 일이 아니야|육개장 칠판 팔씨름|영영 못 봐
공이 굴러가|일이삼사|하나 둘 셋 넷|1 2 3 4|골뱅이 무침 먹자
술안주는 골뱅이지|@ 뭐야|운동 30분 했어|활동 2번|집으로 30분
서로 3번 물어봤어|길 3개|자동 3단|이동 12분|3동 갔다|우리 동네
1학년 때|3학년이야|우리 반 최고|반반 시켜|2반이 이겼다
초등학교 때|중학교 친구|고등학교 졸업|대학교 3학년|100% 맞아
10도야|영하 12도|키 180|몸무게 70kg|2020년 1995년
1995 2020|50대 50|30분 1000원|아이디어 좋다|라인 예쁘다
카톡해|카톡 봐|인스타 감성|LINEで送って|ライン見た?
IDカード|3時半に会おう|１２時です|5000円でした|1,200円|3対2で勝った
2年生です|1組だった|三日月がきれい|一日中寝てた|二人で行く|九月一日
十月十日|百円|三丁目の夕日|バージョン2.1|第3回|24時間
계좌 만들었어|입금 12,000원|송금 3만원 했어|은행 4시에 닫아|通帳なくした
電話するね|전화해|번호 뭐야|010 아니고|100 200 300
1+1 행사|50-60명|3-4일 걸려|7-8시쯤|1/2컵|2.5배|-3도
99.9%|1000000번 말했다|...|-----|?!?!|～～～～|ーーーーーー
번호가 123-4567|내가 3-4번|운동 3-4번 했어
Face ID 설정|송금 2026-11-26 12:00|2026-11-26 2026-11-27|01 02 03 04 05
1,2,3,4,5,6,7,8|2020~2023|12 34 56 78 90|에에에 이이이
3층 302호 강의실|회의실 5층 502호|ホテル907号室|会議室302号室|ホテルの部屋1203だった|150자 2000자
のの一の二の三|우리집 3층짜리야|우리 중학교 나왔어|않으면 1588번|주문번호 20261126001
"""


def messages(written: str) -> list[str]:
    return written.replace("\\u200b", "\u200b").split("|")


def read_cases() -> list[tuple[str, str, str]]:
    lines = [line.split("\t") for line in CASES.strip().splitlines()]
    return [(kind, given, expected) for kind, given, expected in lines]


def listed(name: str) -> list[list[str]]:
    lines = (LISTS / name).read_text(encoding="utf-8").splitlines()
    return [line.replace("\\u200b", "\u200b").split("\t") for line in lines if line[:1] != "#"]


def is_covered(texts: list[str], parts: list[str]) -> bool:
    conversation = Conversation.from_texts(texts)
    found = find_personal_data(conversation)
    end = 0
    for part in parts:
        start = conversation.original.index(part, end)
        end = start + len(part)
        for at in range(start, end):
            inside = any(f.start <= at < f.end for f in found)
            if conversation.original[at].isalnum() and not inside:
                return False
    return True


def find(texts: list[str]) -> list[Finding]:
    return find_personal_data(Conversation.from_texts(texts))


@pytest.mark.parametrize(("kind", "given", "expected"), read_cases())
def test_found_at_its_exact_place(kind: str, given: str, expected: str) -> None:
    conversation = Conversation.from_texts(messages(given))
    found = find_personal_data(conversation)
    spans = [(f.kind, conversation.original[f.start : f.end]) for f in found]
    assert (kind, "\n".join(messages(expected))) in spans


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in read_cases()}))
def test_six_cases_a_kind(kind: str) -> None:
    assert sum(k == kind for k, _, _ in read_cases()) >= 6


@pytest.mark.parametrize(
    ("kinds", "least"),
    [
        (("rrn", "frn", "my_number", "phone", "account", "card", "licence", "passport"), 0.98),
        (("email", "messenger_id", "url", "plate", "business_number"), 0.98),
        (("address",), 0.95),
        (("school",), 0.95),
    ],
)
def test_nearly_all_of_the_list_is_covered(kinds: tuple[str, ...], least: float) -> None:
    covered = [
        is_covered(given.split("|"), expected.replace("|", "\n").split(";;"))
        for kind, given, expected, *_ in listed("cases.tsv")
        if kind in kinds
    ]
    assert sum(covered) >= least * len(covered)


def test_at_most_one_harmless_message_in_200_is_hit() -> None:
    hits = [bool(find(line[0].split("|"))) for line in listed("harmless.tsv")]
    assert sum(hits) <= len(hits) / 200


@pytest.mark.parametrize("text", [t for line in HARMLESS.split("\n") for t in line.split("|") if t])
def test_harmless_stays(text: str) -> None:
    assert find([text]) == []


@pytest.mark.parametrize("line", [line for line in HARMLESS.split("\n") if line][:6])
def test_harmless_stays_in_a_conversation(line: str) -> None:
    assert find(line.split("|")) == []


def test_original_text_is_kept_whole() -> None:
    texts = ["ㅋㅋ ①②③", "", "min\u200bsu 골뱅이 example 닷컴", "끝"]
    conversation = Conversation.from_texts(texts)
    assert conversation.original.split("\n") == texts
    (found,) = find_personal_data(conversation)
    assert conversation.original[found.start : found.end] == texts[2]


def test_decomposed_hangul_is_read_as_composed() -> None:
    (found,) = find(["101\u1103\u1169\u11bc 1203\u1112\u1169"])
    assert found == Finding("address", 0, 13)


def test_every_number_of_a_long_list_is_found() -> None:
    for text in ("010-1234-5678", "공일공 일이삼사 오육칠팔", "900101-1234567"):
        assert len(find([text] * 20_000)) == 20_000


def test_a_number_after_a_rule_is_found() -> None:
    assert [f.kind for f in find(["3", "-" * 60, "010-1234-5678"])] == ["phone"]


def test_overlaps_are_joined_under_the_longest() -> None:
    found = [Finding("url", 5, 9), Finding("email", 0, 8), Finding("phone", 9, 12)]
    assert merge_findings(found) == [Finding("email", 0, 9), Finding("phone", 9, 12)]


@pytest.mark.parametrize("text", ["", "\n", "\u200b", "\u200b\u200b0", "@", "골뱅이", "닷컴"])
def test_odd_text_gives_nothing(text: str) -> None:
    assert find([text]) == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "\t" * 3_000_000,
            "1" * 1_000_000,
            "-" * 1_000_000,
            "1" + "-" * 1_000_000,
            "1 " * 500_000,
            "1-\t" * 300_000,
            "010 \t-" * 150_000,
        ),
        *("ㅇ" * 500_000, "가" * 500_000, "一" * 500_000, "a" * 1_000_000, "@" * 300_000),
        *(
            "a." * 300_000,
            "010-" * 200_000,
            "12동 " * 100_000,
            "계좌 1" * 100_000,
            "카드 4444 " * 60_000,
            "여권 M " * 60_000,
            "구 1-1" * 100_000,
            "라인 a" * 100_000,
            "市一の" * 100_000,
            "k " * 300_000,
            "ゼロ九" * 150_000,
            "둘이 " * 150_000,
            "1\n응\n" * 100_000,
            "호수 1" * 100_000,
        ),
    ],
    ids=lambda text: f"{text[:3]!r}",
)
def test_hostile_text_ends(text: str) -> None:
    assert isinstance(find([text]), list)
