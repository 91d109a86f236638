"""Questions that lean on what was said before: by rule, by the model, and back to the rule."""
# ruff: noqa: RUF001 - Chinese has marks of its own

import pytest

from tests.rag.chat_server import MODEL, chatting, hangs, status
from vecdb.config import AnswerConfig
from vecdb.rag.chat import LanguageModel
from vecdb.rag.condense import CHARS_BEFORE, Speaker, Turn, condense, condense_by, leans
from vecdb.rag.prompts import Prompts

pytest.importorskip("httpx", reason="needs the documents extra")

BEFORE = "How do I set up a mail server on Debian?"
HISTORY = [Turn(Speaker.USER, BEFORE), Turn(Speaker.ASSISTANT, "Install exim4 [1].")]


@pytest.mark.parametrize(
    "question",
    [
        "What does it cost?",
        "How do I remove its configuration files?",
        "Where are they kept by the system?",
        "Is this the default in newer releases?",
        "What happens after that?",
        "Does that mean I need a second disk?",
        "And in newer releases of the system?",
        "but how do I do so on a laptop",
        "What about laptops without a disk?",
        "Which one is faster on a laptop?",
        "Why?",
        "More details",
        "它多少钱，哪里可以买到？",
        "这个文件保存在哪个目录里？",
        "那么在笔记本电脑上应该怎么做？",
        "笔记本电脑上应该怎么做呢？",
        "前者与硬件加密有什么不同？",
        "为什么？",
        "还有别的办法可以做到吗？",
    ],
)
def test_what_leans(question):
    assert leans(question)
    assert condense(question, HISTORY) == f"{BEFORE}\n{question}"


@pytest.mark.parametrize(
    "question",
    [
        "What is LMDB?",
        "How do I mount an encrypted disk at boot?",
        "Which file holds the names that a host is known by?",
        "List the italic and iterative options of sudo",  # words that begin like "it"
        "如何在启动时挂载加密磁盘？",
        "其他语言的软件包如何安装？",
        "应该如何设置系统的时区？",
        "Comment monter un disque chiffré au démarrage ?",
    ],
)
def test_what_stands_alone(question):
    assert not leans(question)
    assert condense(question, HISTORY) == question


def test_without_a_conversation_a_question_stays():
    assert condense("Why?", []) == "Why?"
    assert condense("Why?", [Turn(Speaker.ASSISTANT, "Hello, ask me.")]) == "Why?"


def asked(*texts):
    return [
        turn for text in texts for turn in (Turn(Speaker.USER, text), Turn(Speaker.ASSISTANT, "x"))
    ]


def test_it_goes_back_to_what_leans_on_nothing():
    older, first = "How do I print a page on Debian?", "How do I mount a disk at boot?"
    assert condense("Why?", asked(older, first, "And with USB?")) == f"{first}\nAnd with USB?\nWhy?"
    assert condense("Why?", asked("a?", "b?", "c?", "d?", " ")) == "b?\nc?\nd?\nWhy?"


def test_it_goes_back_no_further_than_so_many_characters():
    made = condense("Why?", asked("x" * 5000 + "end?"))
    assert made.endswith("end?\nWhy?")
    assert len(made) == CHARS_BEFORE + len("\nWhy?")


# --- by the model


@pytest.fixture
def chat():
    with chatting() as running:
        yield running


@pytest.fixture
def by_model(chat):
    model = LanguageModel(AnswerConfig(endpoint=chat.url, model=MODEL, timeout_s=0.5), {})
    yield lambda question: condense_by(model, Prompts(""), question, HISTORY, 30.0, lambda: True)
    model.close()


@pytest.mark.parametrize(
    "said",
    [
        "What does a mail server cost?",
        ' "What does a mail\nserver cost?"\n',
        "Standalone question: What does a mail server cost?",
        "问题：What does a mail server cost?",
    ],
)
def test_the_model_makes_one_question(chat, by_model, said):
    chat.answer = said
    assert by_model("What does it cost?") == ("What does a mail server cost?", [])
    (seen,) = chat.seen
    assert BEFORE in seen.prompt
    assert seen.prompt.endswith("What does it cost?")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(400, "bad"), "bad"),
        (status(503, "down", Retry_After="9"), "down"),
        (hangs(0), "did not begin to answer"),
        (hangs(3), "stopped in mid-answer"),
    ],
)
def test_where_the_model_fails_it_is_by_rule(chat, by_model, fault, said):
    chat.faults += [fault] * 9
    searched, (warning,) = by_model("What does it cost?")
    assert searched == f"{BEFORE}\nWhat does it cost?"
    assert "by rule" in warning
    assert said in warning


@pytest.mark.parametrize("answer", ["", "  \n", "word " * 1000])
def test_what_is_no_question_is_not_taken(chat, by_model, answer):
    chat.answer = answer
    searched, (warning,) = by_model("What does it cost?")
    assert searched == f"{BEFORE}\nWhat does it cost?"
    assert "no question" in warning
