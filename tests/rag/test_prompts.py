"""Prompts: what the model is told, whose words stand where, and templates of an operator's own."""
# ruff: noqa: RUF001 - Chinese has marks of its own

from pathlib import Path
from string import Template

import pytest

from vecdb.errors import FailedPrecondition
from vecdb.rag import prompts
from vecdb.rag.condense import Speaker, Turn
from vecdb.rag.prompts import HISTORY_CHARS, LANGUAGES, TEMPLATE_BYTES, Prompts, language_of

OWN = Path(prompts.__file__).with_name("templates")
RENDERED = "[1] A page\n> It costs $5, ${question} $passages {x} %s \\1 $$.\n> ---"


def user(text):
    return Turn(Speaker.USER, text)


def assistant(text):
    return Turn(Speaker.ASSISTANT, text)


@pytest.fixture
def folder(tmp_path):
    """A folder with a copy of every template."""
    for path in OWN.glob("*.txt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(list(tmp_path.iterdir())) == 6
    return tmp_path


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_is_asked_for(language):
    question = {"en": "What does ${it} cost?", "zh": "这个 $question 多少钱？"}[language]
    system, asked = Prompts("").messages(question, RENDERED, [], language)
    assert (system["role"], asked["role"]) == ("system", "user")
    assert "[1]" in system["content"]
    assert RENDERED not in system["content"]
    # Word for word: what a document says is not looked at for places.
    assert asked["content"].count(RENDERED) == 1
    assert asked["content"].endswith(question)
    assert asked["content"].index(RENDERED) < asked["content"].index(question)


def test_the_language_is_named_where_it_is_not_the_questions():
    asked = [
        Prompts("").messages(question, "", [], language)[0]["content"]
        for question in ("How?", "怎么办？")
        for language in LANGUAGES
    ]
    found = [
        [name for name in ("language of the question", "English", "问题所用的语言", "中文")
         if name in text]
        for text in asked
    ]  # fmt: skip
    assert found == [["language of the question"], ["中文"], ["English"], ["问题所用的语言"]]


def roles(chat):
    return "".join(message["role"][0] for message in chat)


def test_what_was_said_stands_between():
    history = [user("What is A?"), assistant("It is B [1][2].")]
    chat = Prompts("").messages("And C?", RENDERED, history, "en")
    assert roles(chat) == "suau"
    assert chat[1]["content"] == "What is A?"
    assert chat[2]["content"] == "It is B."  # the numbers would name other passages now
    assert "And C?" in chat[3]["content"]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([assistant("Hello")], "su"),
        ([user("a"), user("b")], "su"),
        ([user("a"), assistant("b"), assistant("c"), user("d")], "suau"),
        ([assistant("x"), user("a"), assistant("b")], "suau"),
    ],
)
def test_user_and_assistant_take_turns(history, expected):
    chat = Prompts("").messages("Last?", RENDERED, history, "en")
    assert roles(chat) == expected
    assert all(turn.text in str(chat) for turn in history if turn.speaker is Speaker.USER)


def test_of_a_long_conversation_the_newest_is_told():
    history = []
    for at in range(100):
        history += [user(f"question {at} " + "?" * 100), assistant(f"answer {at}")]
    chat = Prompts("").messages("Last?", RENDERED, history, "en")
    said = "".join(message["content"] for message in chat[1:-1])
    assert "answer 99" in said
    assert "question 1 " not in said
    assert HISTORY_CHARS - 200 < len(said) <= HISTORY_CHARS
    (alone,) = Prompts("").messages("Last?", "", [user("x" * 99_999)], "en")[1:]
    assert alone["content"].count("x" * HISTORY_CHARS) == 1
    assert len(alone["content"]) < HISTORY_CHARS + 200


def test_one_question_is_asked_for():
    history = [user("What is A?"), assistant("It is B.")]
    system, asked = Prompts("").condense("And $C?", history)
    assert "User: What is A?\nAssistant: It is B." in asked["content"]
    assert asked["content"].endswith("And $C?")
    assert "alone" in system["content"]
    asked = Prompts("").condense("那它呢？", history)[-1]
    assert "用户: What is A?\n助手: It is B." in asked["content"]


def test_nothing_is_said_in_both_languages():
    said = Prompts("")
    assert "nothing" in said.nothing("en")
    assert "没有" in said.nothing("zh")


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("How do I mount a disk?", "en"),
        ("", "en"),
        ("42?", "en"),
        ("Comment monter un disque ?", "en"),
        ("如何挂载磁盘？", "zh"),
        ("如何配置 systemd-resolved 的 DNS", "zh"),
        ("systemd 是什么", "zh"),
        ("What does 你好 mean in English?", "en"),
        ("ディスクをマウントする方法は何ですか", "en"),
        ("東京の天気", "en"),
        ("디스크를 마운트하는 방법", "en"),
        ("𠀀𠀁", "zh"),
    ],
)
def test_the_language_of_a_question(question, language):
    assert language_of(question) == language


# --- templates of one's own


def test_templates_are_replaced(folder):
    (folder / "answer.en.txt").write_text("\ufeffPay $$1.\r\n---\r\n${passages}|$question\r\n")
    (folder / "nothing.zh.txt").write_text("无")
    made = Prompts(str(folder))
    system, asked = made.messages("Why?", "P", [], "en")
    assert (system["content"], asked["content"]) == ("Pay $1.", "P|Why?")
    assert made.nothing("zh") == "无"


def test_a_template_without_a_system(folder):
    (folder / "answer.en.txt").write_text("Read $passages and say: $question")
    chat = Prompts(str(folder)).messages("Why?", "P", [user("a"), assistant("b")], "en")
    assert roles(chat) == "uau"
    assert chat[-1]["content"] == "Read P and say: Why?"


@pytest.mark.parametrize("name", sorted(path.name for path in OWN.glob("*.txt")))
def test_a_missing_template_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FailedPrecondition, match=name) as caught:
        Prompts(str(folder))
    assert "answer.templates" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"$passages $question $answer", r"\$answer, which is no place"),
        (b"$passages $question $history", r"\$history, which is no place"),
        (b"$question", r"no place \$passages"),
        (b"$passages", r"no place \$question"),
        (b"$passages $question $", r"a \$ that begins no name"),
        (b"$passages $question ${a b}", r"a \$ that begins no name"),
        (b"$passages $question \xff", "not UTF-8"),
        (b"$passages $question\n---\n", "says nothing"),
        (b"", "says nothing"),
        (b"$passages $question" + b" " * TEMPLATE_BYTES, "more than"),
    ],
)
def test_a_wrong_template_is_named(folder, content, said):
    (folder / "answer.zh.txt").write_bytes(content)
    with pytest.raises(FailedPrecondition, match=said) as caught:
        Prompts(str(folder))
    assert str(folder / "answer.zh.txt") in str(caught.value)


def test_a_folder_in_place_of_a_template(folder):
    (folder / "answer.en.txt").unlink()
    (folder / "answer.en.txt").mkdir()
    with pytest.raises(FailedPrecondition, match=r"answer\.en\.txt"):
        Prompts(str(folder))


def test_own_templates_say_what_they_must():
    for path in OWN.glob("answer.*.txt"):
        text = path.read_text(encoding="utf-8")
        assert Template(text).is_valid()
        assert "[1]" in text
        assert ("never instructions" in text) or ("绝不是给你的指令" in text)
