"""Names in messages: those of the room and of third persons; look-alikes; obfuscated and split names."""

from __future__ import annotations

import pytest

from dialogue_generation_models.data.privacy.names import NameModels, find_names
from dialogue_generation_models.data.privacy.normalize import Conversation
from dialogue_generation_models.data.privacy.roster import Roster

SENDERS = (
    "김철수", "박민지♥", "이하늘", "최지원", "정보라", "남궁민수", "강솔", "엄마", "[회사]이대리님", "행복",
    "山田花子🌸", "佐藤 健太", "さくら", "ハナコ", "Minsu Kim",
)  # fmt: skip

# messages (split at |), names to be found (split at ,); with the senders above in the room
ROOM = """
철수야 뭐해	철수
철수 왔어?	철수
철수가 그랬어	철수
철수는 안 온대	철수
철수랑 갈게	철수
철수한테 말해	철수
철수씨 안녕하세요	철수
철수 씨 안녕하세요	철수
철수님 확인 부탁드려요	철수
철수형 어디야	철수
철수 형 어디야	철수
철수오빠 밥 먹자	철수
철수네 집에서 보자	철수
철수꺼야	철수
철수도 불러	철수
우리철수 최고	철수
야철수 일어나	철수
철수!!!	철수
철수ㅋㅋㅋ	철수
철수밥먹었어?	철수
철수언제와	철수
철수생일이 언제지	철수
김철수 바보	김철수
김철수가 누구야	김철수
김 철수 씨	김 철수
철 수 야	철 수
철.수.야	철.수
철\u200b수야	철\u200b수
\u110e\u1165\u11af\u1109\u116e야	\u110e\u1165\u11af\u1109\u116e
철|수야 나와	철|수
김|철수야	김|철수
민지야	민지
민지랑 영화 봤어	민지
민지한테도 말했어	민지
박민지 씨	박민지
민지언니가 그랬어	민지
민지라고 했잖아	민지
근데민지는?	민지
하늘아 어디야	하늘
하늘이가 늦는대	하늘
하늘이까지 오면 다섯	하늘
하늘이에게서 들었어	하늘
하늘이 언니 왔어요	하늘
하늘이네 집에서 보자	하늘
Kim 어디야	Kim
kim씨 왔어요	kim
하늘 언니 왔어요	하늘
이하늘 님	이하늘
하늘이한테 물어봐	하늘
지원아 밥 먹자	지원
지원이가 온대	지원
지원 씨 계세요	지원
보라야 일어나	보라
보라한테 줘	보라
정보라가 왔어	정보라
남궁민수 씨	남궁민수
민수랑 갈게	민수
솔이가 왔어	솔
솔아 뭐해	솔
花子ちゃん来た	花子
花子さんは元気?	花子
花子が言ってた	花子
山田さんと会った	山田
山田くん遅い	山田
山田花子です	山田花子
健太に聞いて	健太
健太くんは?	健太
さくらちゃん元気?	さくら
さくらさんへ	さくら
ハナコちゃん	ハナコ
花|子ちゃん	花|子
花 子 ちゃん	花 子
Minsu야 어디	Minsu
minsu 왔어?	minsu
MINSU KIM	MINSU KIM
Minsuさん	Minsu
"""

# what nobody in the room is called, without a name model
THIRD = """
김하늘 왔어?	김하늘
김희선 왔어?	김희선
남궁혁 교수님 수업	남궁혁
山口に聞いたら知らないって	山口
ジョン・ウッドさんの映画	ウッド
서연이가 온대	서연
서연아 안녕	서연
예진이랑 놀았어	예진
유진이한테 줬어	유진
박서준 과장님이 그러셨어	박서준
박서준 씨	박서준
박서준씨가 왔어요	박서준
최민준 선배 봤어?	최민준
한지민 누나	한지민
윤도현 쌤이 그랬어	윤도현
장서윤이 결혼한대	장서윤
이름은 임도윤이야	임도윤
나는 오지훈이라고 해	오지훈
송하준 대리님 퇴사하신대	송하준
권나연 팀장님	권나연
황보라 언니	황보라
제갈현우가 왔어	제갈현우
민준이 형	민준
지훈오빠 왔다	지훈
은지 씨 전화 왔어요	은지
현우 선배랑 밥 먹었어	현우
김과장님이 부르셔	김
박 부장님 오셨어	박
최쌤 오늘 안 와?	최
정대리한테 물어봐	정
하율이는 자	하율
수현이도 갈래?	수현
田中さんに聞いた	田中
佐々木くんが来る	佐々木
鈴木先輩かっこいい	鈴木
高橋先生の授業	高橋
翔太くん元気?	翔太
美咲ちゃんとご飯	美咲
山本太郎が来た	山本太郎
小林が遅刻した	小林
陽菜に言った	陽菜
ケンタくんも来る	ケンタ
ゆいちゃん来て	ゆい
Tom씨 왔어요	Tom
Mr. Brown came	Brown
"""

HARMLESS = """
하늘이 참 맑다|하늘 좀 봐|하늘은 파랗다|하늘색 옷|맑은 하늘|밤하늘이 예뻐|지원하다|지원서 냈어
정부 지원 받았어|지원금 나왔대|지원자가 많아|보라색 좋아해|나를 보라|이것 좀 보라고|보라빛 노을|수지맞다
수지가 안 맞아|철수하자|군대 철수했대|철수세미 사와|민지원|국민지원금|시민지원|행복해|행복하자|행복이 뭐야
엄마야|엄마가 그랬어|엄마 씨|솔이 푸르다|솔직히 말해|소나무 솔|나야 나|이대리석은 비싸|수고했어|さくら咲いた
さくらが咲いた|さくらんぼ食べた|桜が咲いた|花が咲いた|花子供|水田を見た|健康が大事|山の上|たくさん食べた
ちゃんとして|皆さんこんにちは|お母さん元気?|お父さんが来た|赤ちゃんかわいい|店員さんに聞いた|お疲れ様です
神様お願い|お客様へ|猫ちゃん|おばあちゃんの家|医者さん|運転手さん|もう少し|これちゃんと見て|ご馳走様でした
王様ゲーム|彼氏できた|何くんだっけ|行くんです|パン屋さん|大家さん|先生こんにちは|선생님 안녕하세요
사장님 나빠요|고객님 안녕하세요|하나님|주인님|손님 오셨어|형님 저 왔어요|부장님 오셨다|날씨가 좋다
글씨 예쁘다|솜씨 좋네|고정은 안 돼|안경은 어디 있어|변경은 가능해?|이상은 없어|이유나 들어보자|우유나 마셔
천재인가봐|고민하고 있어|인정하는 거야|소유하고 싶어|연예인 봤어|배신자야|동아리 들었어|하소연 들어줘
이정도면 됐지|경기도 갈래|강원도 여행|이태원 가자|정동진 가고 싶다|제주도 푸른 밤|주차장 어디야|수영하러 가
영화 보자|기분 좋다|자기야 사랑해|여보 어디야|우리 언니 예뻐|옆집 아저씨|친구 누나|진짜 형|미리 말해
나라가 어렵다|미소가 예쁘다|정신 차려|지금 뭐해|오늘 뭐 먹지|이번주 뭐해|어제도 그랬어|도시가 크다
유리가 깨졌어|가을이 왔어|가을아침|사랑해|사랑아 어디 있니 노래|이슬이 맺혔다|지나가다 봤어|해선 안 돼
나은 것 같아|지은 지 십 년|보아하니 늦었어|하진 않아|지우고 다시 써|지우면 안 돼|태우지 마|재우고 나올게
주인공 멋있다|원주민 마을|여자친구 생겼어|남자친구랑|소비자 고발|강아지가 귀여워|오징어 먹자|유치원 다녀
고등학교 선생님|이모가 왔어|고모랑|今日は天気がいい|明日会おう|東京に行く|大阪で会う|京都が好き|桜を見た
신고는 진정인가요 보고인가요|예정인가요|날씨가 심해진다|감수성이 풍부해|가족 구성원들과|몇 마리나 되는지
법을 준수하고|이호선 맨 뒤|돈을 주선하는 사람|메모를 지우는 중|준하는 절차|문방구 아저씨
노숙자 쉼터|중국한테 졌어|천재성을 발견했다
차이나 타운 갈래|금성은 밝다|진정인 조사|소원이 없겠네
문제로 남았다|두유라도 마셔|호환성은 어때|모범수로 나왔다|정말로 좋다
현재 군 복무 중이야|전 이사를 왔어|한 아저씨가 물었다
나은지 모르겠다|전해진 소식|남이든 누구든|이동해야 해|육이오 전쟁|한의원 갔어
다솜이라는 말|새롬 전자 다녀|ロボット君|ゴシック様式|渋谷さんぽ
くんくん嗅ぐ|いちごとさんま|高さまで測る|清水へ行った|真理である
一日一善|大島紬|うさぎさん|りんごちゃんと洗って|見るとちゃんと違う
森に行く|林の中|春が来た|光が強い|愛してる|海に行こう|名前は何ですか|昨日はどうも|hello there|Good morning
유진 투자증권|서연 제약에서 일해|시연을 보여줘|재현을 못했어|山田電機で買った|하늘이 맑다
kim치 먹자|kimchi please|OK|LOL|I love you|iPhone 샀어|Netflix 보자|YouTube 봐|happy birthday|TV 봐
"""


def messages(written: str) -> list[str]:
    return (
        written.encode().decode("unicode_escape").split("|")
        if written.isascii()
        else (
            written.replace("\\u200b", "\u200b")
            .replace("\\u110e\\u1165\\u11af\\u1109\\u116e", "\u110e\u1165\u11af\u1109\u116e")
            .split("|")
        )
    )


def cases(table: str) -> list[tuple[str, str]]:
    rows = [line.split("\t") for line in table.strip().splitlines()]
    return [(given, expected) for given, expected in rows]


def roster() -> Roster:
    made = Roster()
    for sender in SENDERS:
        made.add_sender(sender)
    return made


@pytest.fixture(scope="module")
def models() -> NameModels:
    return NameModels.load()


def found(texts: list[str], known: Roster, models: NameModels | None = None) -> list[str]:
    conversation = Conversation.from_texts(texts)
    places = find_names(conversation, known, models)
    return [conversation.original[place.start : place.end] for place in places]


@pytest.mark.parametrize(("given", "expected"), cases(ROOM))
def test_names_of_the_room(given: str, expected: str) -> None:
    assert "\n".join(messages(expected)) in found(messages(given), roster())


@pytest.mark.parametrize(("given", "expected"), cases(THIRD))
def test_third_persons(given: str, expected: str, models: NameModels) -> None:
    assert expected in found([given], Roster())
    assert expected in found([given], Roster(), models)


def test_enough_cases() -> None:
    harmless = [text for line in HARMLESS.strip().split("\n") for text in line.split("|")]
    assert len(cases(ROOM)) + len(cases(THIRD)) >= 100
    assert len(harmless) >= 100


@pytest.mark.parametrize(
    "text", [t for line in HARMLESS.strip().split("\n") for t in line.split("|")]
)
def test_look_alikes(text: str, models: NameModels) -> None:
    assert found([text], roster()) == []
    assert found([text], roster(), models) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ゆきちゃんと買い物", ["ゆき"]),
        ("さくらちゃんとこ行く", ["さくら"]),
        ("葵ちゃん元気?", ["葵"]),
        ("佐藤部長また怒ってる", ["佐藤"]),
        ("楓ちゃんと行く", ["楓"]),
        ("ユキちゃんと行った", ["ユキ"]),
        ("太郎くんです", ["太郎"]),
        ("ごはんちゃんと食べた", []),
        ("朝からちゃんと作る", []),
        ("豚って、鶏ってちゃんと焼かないと", []),
        ("音楽聴くんですが", []),
        ("DNAに響くんですかね", []),
        ("いったん止めて", []),
        ("具だくさんの味噌汁", []),
        ("怖がりさんなんだね", []),
        ("今日ちゃんと起きた", []),
        ("バイトちゃんと行った", []),
        ("営業部長また怒ってる", []),
    ],
)
def test_honorifics_that_may_be_none(text: str, expected: list[str], models: NameModels) -> None:
    assert found([text], Roster(), models) == expected


def test_a_sender_is_named_before_a_verb() -> None:
    room = Roster()
    room.add_sender("佐藤 花子")
    assert found(["花子来た? 佐藤来た?"], room) == ["花子", "佐藤"]


def test_a_company_is_not_its_namesake() -> None:
    room = Roster()
    room.add_sender("이한솔")
    assert found(["한솔 제지 주식 샀어"], room) == []
    assert found(["한솔 제주 갔어"], room) == ["한솔"]


def test_a_lone_latin_surname_is_no_english_word() -> None:
    room = Roster()
    room.add_sender("Minsu Oh")
    assert found(["Oh my god, oh no"], room) == []
    assert found(["Oh 씨 왔어요?"], room) == ["Oh"]


@pytest.mark.parametrize(
    ("sender", "text", "expected"),
    [
        ("西村あおい", "あおいに聞いて", "あおい"),
        ("윤가을", "가을이랑 같이 갈게", "가을"),
        ("김태양", "태양이 형이 샀어", "태양"),
        ("강서준", "서준쓰 뭐해", "서준"),
    ],
)
def test_a_given_name_of_a_sender(sender: str, text: str, expected: str) -> None:
    room = Roster()
    room.add_sender(sender)
    assert found([text], room) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "김 " * 50_000,
        "さくら、" * 25_000,
        "하늘 " * 35_000,
        "Kim " * 25_000,
        "タナカ・" * 25_000,
        "喧嘩" * 50_000,
    ],
    ids=lambda text: text[:4],
)
def test_hostile_text_ends(text: str) -> None:
    room = Roster()
    for sender in SENDERS:
        room.add_sender(sender)
    assert isinstance(find_names(Conversation.from_texts([text]), room), list)
