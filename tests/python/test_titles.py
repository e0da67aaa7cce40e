"""What a title must not be, and when two are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmsys_rs.titles import is_generic, normalized, sentence_case, unique, without_preamble

SAY_SOMETHING = [
    "Lost or stolen card",
    "Python",
    "C++",
    "Text messages to family",
    "AI ethics",
    "Customer support scripts",
    "Word problems in algebra",
    "Time zones",
    "What women want in politics",
    "Helping verbs in English",
    "Help desk software",
    "Weather in London",
    "Wetter in Berlin",
    "Recette de gâteau",
    "机器学习",
    "東京の天気",
    "ข่าวฟุตบอล",
    "عاصمة فرنسا",
    "погода в Москве",
    "날씨",
]


@pytest.mark.parametrize("title", SAY_SOMETHING)
def test_a_title_that_says_something_is_not_generic(title: str) -> None:
    assert is_generic(title) is None


@pytest.mark.parametrize(
    "title",
    [
        *("Various", "Various topics", "Miscellaneous", "General questions", "Help", "Questions", "Please tell me"),
        *("What is", "Other", "Unclear requests", "tell me", "Mixed queries", "Information", "How to"),
        *("Verschiedenes", "Allgemeine Fragen", "Bitte", "Autres questions", "Varios temas", "Preguntas", "Ajuda"),
        *(
            "Altre domande",
            "Разное",
            "Вопросы",
            "其他",
            "问题",
            "请问",
            "その他",
            "質問",
            "기타",
            "질문",
            "أسئلة",
            "कृपया",
        ),
        *("คำถาม", "Overige vragen", "Diğer sorular"),
    ],
)
def test_words_that_fit_every_cluster_are_generic(title: str) -> None:
    assert is_generic(title) == "holds only words that fit every cluster"


@pytest.mark.parametrize(
    ("title", "rest"),
    [
        ("User queries about Python", "Python"),
        ("Users asking about lost cards", "Lost cards"),
        ("Questions about lost cards", "Lost cards"),
        ("General questions and requests about taxes", "Taxes"),
        ("Requests for recipes", "Recipes"),
        ("Please set an alarm", "Set an alarm"),
        ("Tell me about whales", "Whales"),
        ("What is love", "Love"),
        ("Fragen zu Steuern", "Steuern"),
        ("Questions sur les impôts", "Les impôts"),
        ("Preguntas sobre impuestos", "Impuestos"),
        ("Вопросы о погоде", "Погоде"),
        ("关于天气", "天气"),
    ],
)
def test_words_that_only_lead_to_a_title_are_generic_and_can_be_taken_off(title: str, rest: str) -> None:
    reason = is_generic(title)
    assert reason is not None
    assert reason.startswith("begins with")
    assert without_preamble(title) == rest
    assert is_generic(rest) is None


@pytest.mark.parametrize(
    ("title", "reason"),
    [("", "is empty"), ("  ", "is empty"), ("42", "has no word"), ("?!", "has no word"), ("🎂", "has no word")],
)
def test_a_title_needs_a_word(title: str, reason: str) -> None:
    assert is_generic(title) == reason


@pytest.mark.parametrize("title", ["Cluster 7", "Topic #12", "cluster_3", "Gruppe 4"])
def test_a_placeholder_is_generic(title: str) -> None:
    assert is_generic(title) == "is a placeholder"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Lost card", "lost cards"),
        ("The lost card!", "Lost Card"),
        ("Python, lists", "python lists"),
        ("Ｆｕｌｌ width", "full width"),
        ("Bank's fees", "bank fees"),
    ],
)
def test_titles_that_people_read_as_one_are_one(a: str, b: str) -> None:
    assert normalized(a) == normalized(b)


@pytest.mark.parametrize(("a", "b"), [("C", "C++"), ("C++", "C#"), ("कि", "का"), ("News", "New"), ("Card", "Cord")])
def test_titles_that_differ_stay_apart(a: str, b: str) -> None:
    assert normalized(a) != normalized(b)


@given(st.lists(st.lists(st.text(max_size=6), max_size=4), max_size=12))
def test_unique_titles_are_unique(candidates: list[list[str]]) -> None:
    found = unique(candidates, ["Unclustered"])
    assert len(found) == len(candidates) == len({normalized(title) for title in found})
    assert normalized("Unclustered") not in {normalized(title) for title in found}


def test_a_title_that_is_taken_gives_way_to_the_next_or_gets_a_number() -> None:
    assert unique([["A horse"], ["Horses", "Dogs"], ["horse", "dogs"], []]) == [
        "A horse",
        "Dogs",
        "horse (2)",
        "Cluster (2)",
    ]


@given(st.text(max_size=40))
def test_any_text_can_be_asked_about(title: str) -> None:
    assert is_generic(title) is None or is_generic(title)
    assert without_preamble(without_preamble(title)) == without_preamble(title)
    assert normalized(sentence_case(title)) == normalized(title)
