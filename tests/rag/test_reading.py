"""Documents become text: what is read, what is refused and why, and who dies of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rag.pdfs import bomb, pdf_of
from vecdb.config import MIB, DocumentsConfig
from vecdb.errors import (
    BadDocument,
    DeadlineExceeded,
    FailedPrecondition,
    LimitExceeded,
    Unavailable,
    VecdbError,
)
from vecdb.rag import pdf, reader_main
from vecdb.rag.reading import MediaKind, Readers, decode, sniff

PAGE = b"""<!DOCTYPE html><html><head><title>Of &amp; on</title><style>p {color: red}</style></head>
<body><nav><a href="/">Home</a></nav><script>alert("no")</script><noscript>Turn it on</noscript>
<header><a href="/a">One</a> <a href="/b">Two</a></header>
<h1>Start <a href="/x">here</a></h1>
<p>A <b>bold</b> word, snake_case, 2 * 3.<br># not a heading</p><!-- secret -->
<ul><li>one<li>two</ul><p hidden>unseen</p><p><img src="/i.png" alt="A picture"></p>
<pre>$ run
# comment</pre><form><input value="x"><button>Send</button></form>
<table><tr><th>Name<th>Size<tr><td>a<td>1</table>
<h2>End</h2><p>Last.<footer><a href="/imprint">Imprint</a></footer></body></html>"""
HTML = b"<!doctype html><html><body><p>%s</p></body></html>"


@pytest.fixture(scope="module")
def readers():
    found = Readers(DocumentsConfig())
    yield found
    found.close()


@pytest.fixture
def make():
    """Readers with settings of their own, closed after the test."""
    made = []

    def start(idle_s: float = 60.0, **settings: object) -> Readers:
        made.append(Readers(DocumentsConfig(**settings), idle_s=idle_s))
        return made[-1]

    yield start
    for one in made:
        one.close()


def pids(readers: Readers) -> set[int]:
    return {one.process.pid for one in readers._living}


# --- plain text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        ("数据库😀".encode(), "数据库😀"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("wide 数".encode("utf-16"), "wide 数"),
        (b"\xfe\xff" + "big".encode("utf-16-be"), "big"),
    ],
)
def test_texts_are_decoded(readers, content, text):
    assert readers.read(content, MediaKind.UNKNOWN).text == text
    assert readers.read(content, MediaKind.TEXT) == (text, False, "", ())


def test_broken_utf8_says_where(readers):
    with pytest.raises(BadDocument, match=r"UTF-8: byte 5 is 0xff .*iconv"):
        readers.read(b"fine \xff no", MediaKind.TEXT)
    with pytest.raises(BadDocument, match=r"byte 6 is 0xe9"):
        decode(b"\xef\xbb\xbfabc\xe9 ")
    with pytest.raises(BadDocument, match="UTF-16"):
        decode(b"\xff\xfea")
    with pytest.raises(BadDocument, match="character 1 is NUL"):
        decode(b"a\0b")


@pytest.mark.parametrize("kind", list(MediaKind))
@pytest.mark.parametrize("content", [b"", b" \n\t "])
def test_nothing_to_read(readers, content, kind):
    with pytest.raises(BadDocument, match="nothing to read"):
        readers.read(content, kind)


def test_html_of_scripts_alone_is_nothing(readers):
    with pytest.raises(BadDocument, match="nothing to read"):
        readers.read(HTML % b"<script>alert(1)</script>", MediaKind.HTML)


def test_size_is_looked_at_first(make):
    small = make()
    with pytest.raises(LimitExceeded, match=r"104,857,600 bytes.*documents\.document_bytes"):
        small.read(bytes(100 * MIB), MediaKind.UNKNOWN)
    assert not pids(small)


def test_markdown_says_its_title(readers):
    text = readers.read(b"Intro\n\nThe *title*\n===\n", MediaKind.MARKDOWN)
    assert text.markdown
    assert text.title == "The title"
    front = readers.read(b"---\ntitle: 'Mine'\nx: y\n---\n# Other\n", MediaKind.MARKDOWN)
    assert front.title == "Mine"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n", MediaKind.PDF),
        (b"\n <!DOCTYPE HTML>", MediaKind.HTML),
        (b"<?xml version='1.0'?><!-- a --><!-- b --><html>", MediaKind.HTML),
        (b"\xef\xbb\xbf<html lang=en>", MediaKind.HTML),
        ("<html>".encode("utf-16"), MediaKind.HTML),
        (b"<p>Hello", MediaKind.HTML),
        (b"<pre-processor> of C", MediaKind.TEXT),
        (b"# <html>", MediaKind.TEXT),
        (b"<!---->" * 200, MediaKind.TEXT),
    ],
)
def test_what_bytes_are(content, kind):
    assert sniff(content) is kind


# --- HTML


def test_html_becomes_markdown(readers):
    text = readers.read(PAGE, MediaKind.UNKNOWN)
    assert text.markdown
    assert text.title == "Of & on"
    assert text.text == (
        "# Start here\n\nA **bold** word, snake_case, 2 * 3.  \n\\# not a heading\n\n"
        "- one\n- two\n\nA picture\n\n```\n$ run\n# comment\n```\n\n"
        "| Name | Size |\n| --- | --- |\n| a | 1 |\n\n## End\n\nLast."
    )
    assert text.warnings == ()


@pytest.mark.parametrize(
    ("page", "text", "warned"),
    [
        ("<meta charset=gb2312><p>数据库".encode("gb18030"), "数据库", False),
        (
            b'<meta http-equiv=x content="text/html; charset=ISO-8859-1"><p>\x93na\xefve\x94',
            "“naïve”",
            False,
        ),
        ("<html><p>Grüße".encode("utf-16"), "Grüße", False),
        (b"<meta charset=utf-16><p>caf\xc3\xa9", "café", False),
        (b"<meta charset=rot13><p>plain", "plain", False),
        (b"<p>caf\xe9", "caf�", True),
        (b"<p>&#xD800; a", "� a", False),
    ],
)
def test_encodings_of_html(readers, page, text, warned):
    found = readers.read(page, MediaKind.HTML)
    assert found.text == text
    assert bool(found.warnings) == warned


def test_end_tags_that_are_left_out(readers):
    """A thousand paragraphs after one another are not a thousand inside of each other."""
    page = b"<html><body>" + b"<p>one<ul><li>a<li>b<ul><li>c</ul></ul><dl><dt>t<dd>d</dl>" * 1000
    found = readers.read(page, MediaKind.HTML).text
    assert found.startswith("one\n\n- a\n- b\n  - c\n\nt\n:   d\n\none")
    assert found.count("one") == 1000


def test_what_only_leads_elsewhere_is_left_out(readers):
    page = b"""<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE html><html><body>
        <div class="navheader"><a href="x">Next</a></div><div role="navigation">Up</div>
        <ul class="toc"><li>1. Tea</li></ul><p>Kept.</p>
        <div class="NavFooter">Also.</div></body></html>"""
    assert readers.read(page, MediaKind.HTML).text == "Kept.\n\nAlso."


def test_a_table_that_only_lays_out_is_paragraphs(readers):
    note = b"""<table summary="Note"><tr><td rowspan="2"><img alt="[Note]" src="n.png"></td>
        <th>Note</th></tr><tr><td><p>Mind the gap.</p></td></tr></table>"""
    assert readers.read(b"<p>Before.</p>" + note, MediaKind.HTML).text == (
        "Before.\n\nNote\n\nMind the gap."
    )
    table = b"<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
    plain = "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert readers.read(table, MediaKind.HTML).text == plain
    inside = b"<table><tr><td>" + table + b"</td></tr></table>"
    assert readers.read(inside, MediaKind.HTML).text == plain


def test_a_fence_inside_of_code_does_not_end_it(readers):
    found = readers.read(b"<html><pre>a\n```\n# b</pre><p>c", MediaKind.HTML).text
    assert found == "````\na\n```\n# b\n````\n\nc"


def test_deep_nesting_is_refused(readers):
    found = readers.read(HTML % (b"<div>" * 300 + b"deep"), MediaKind.HTML)
    assert found.text == "deep"
    with pytest.raises(BadDocument, match="nested more than 400 deep"):
        readers.read(HTML % (b"<div>" * 20_000 + b"deep"), MediaKind.HTML)


# --- PDF


def test_pdf_becomes_paragraphs(readers):
    lines = [
        "A heading",
        "The first paragraph goes on over several lines of about the same length, and its",
        "words are cut here and there by a hyphen at the end of a line, as in repre-",
        "sentation; it ends here.",
        "The second (one) follows, and it is as long as the first, more or less, in its line",
        "and the next.",
        "- an item",
        "- another",
    ]
    text = readers.read(pdf_of([lines, [], ["Page three."]], title="On lines"), MediaKind.UNKNOWN)
    assert text.text == (
        "A heading\nThe first paragraph goes on over several lines of about the same length, and "
        "its words are cut here and there by a hyphen at the end of a line, as in representation; "
        "it ends here.\nThe second (one) follows, and it is as long as the first, more or less, in "
        "its line and the next.\n- an item\n- another\n\nPage three."
    )
    assert text.title == "On lines"
    assert not text.markdown
    assert text.warnings == ("1 pages have no text, and need OCR if they are scanned: 2",)


def test_lines_of_chinese_are_joined_without_a_space():
    line = "数据库把向量保存在磁盘上并且"
    assert pdf.paragraphs(f"{line}\r\n{line}\r\n结束。") == f"{line}{line}结束。"


def test_pdf_without_text_asks_for_ocr(readers):
    with pytest.raises(BadDocument, match=r"no text.*OCR"):
        readers.read(pdf_of([[], []]), MediaKind.PDF)


@pytest.mark.parametrize("content", [b"%PDF-1.4\nnothing of it", pdf_of([["a"]])[:200], b"no PDF"])
def test_broken_pdf(readers, content):
    with pytest.raises(BadDocument, match="the PDF is broken"):
        readers.read(content, MediaKind.PDF)


# --- bounds, and who dies


def test_pdf_bomb_runs_out_of_time_or_memory_and_the_next_is_read(make):
    bounded = make(reader_s=1.0, reader_memory_bytes=256 * MIB, readers=1)
    content = bomb(200)
    assert len(content) < MIB
    with pytest.raises(BadDocument, match=r"more than|broke the process"):
        bounded.read(content, MediaKind.PDF)
    assert bounded.read(pdf_of([["Next."]]), MediaKind.PDF).text == "Next."


def test_memory_is_bounded(make):
    bounded = make(reader_memory_bytes=128 * MIB, readers=1, reader_s=120.0)
    with pytest.raises(BadDocument, match=r"134,217,728 bytes of memory.*reader_memory_bytes"):
        # One character beyond the first 65,536 makes all of them take four bytes.
        bounded.read(HTML % ("😀".encode() + b"a" * 15 * MIB), MediaKind.HTML)
    assert bounded.read(HTML % b"next", MediaKind.HTML).text == "next"


def test_time_is_bounded(make):
    bounded = make(reader_s=0.5, readers=1)
    page = HTML % (b"<p>word</p>" * 200_000)
    began = time.monotonic()
    with pytest.raises(BadDocument, match=r"more than 0\.5 s.*documents\.reader_s"):
        bounded.read(page, MediaKind.HTML)
    assert time.monotonic() - began < 20
    with pytest.raises(DeadlineExceeded):
        make(readers=1).read(page, MediaKind.HTML, 0.5)


def test_the_text_is_bounded(make):
    bounded = make(document_bytes=2048)
    page = HTML % (b"<blockquote>" * 100 + b"a<br>" * 100)
    with pytest.raises(BadDocument, match="more than 8,192 bytes"):
        bounded.read(page, MediaKind.HTML)


def test_a_reader_is_kept_and_replaced_when_it_dies(make):
    one = make(readers=1)
    one.read(HTML % b"a", MediaKind.HTML)
    (first,) = pids(one)
    one.read(HTML % b"b", MediaKind.HTML)
    assert pids(one) == {first}
    os.kill(first, signal.SIGKILL)
    (reader,) = one._living
    reader.process.wait()
    assert one.read(HTML % b"c", MediaKind.HTML).text == "c"
    assert pids(one) != {first}


def test_no_more_readers_than_configured(make):
    two = make(readers=2)
    with ThreadPoolExecutor(8) as threads:
        texts = list(
            threads.map(lambda at: two.read(HTML % b"%d" % at, MediaKind.HTML).text, range(40))
        )
    assert texts == [str(at) for at in range(40)]
    assert len(pids(two)) <= 2


def test_waiting_for_a_reader_has_a_deadline_and_closing_ends_all(make):
    one = make(readers=1)
    page = HTML % (b"<p>word</p>" * 200_000)
    ends: list[VecdbError] = []

    def read() -> None:
        with pytest.raises(Unavailable) as caught:
            one.read(page, MediaKind.HTML)
        ends.append(caught.value)

    busy = threading.Thread(target=read)
    busy.start()
    while not pids(one):
        os.sched_yield()
    with pytest.raises(DeadlineExceeded, match="no reader was free"):
        one.read(HTML % b"a", MediaKind.HTML, 0.2)
    one.close()
    busy.join(20)
    assert len(ends) == 1
    with pytest.raises(Unavailable):
        one.read(HTML % b"a", MediaKind.HTML)


def test_an_idle_reader_ends(make):
    short = make(idle_s=0.1)
    short.read(HTML % b"a", MediaKind.HTML)
    (reader,) = short._living or (None,)
    if reader is not None:
        reader.process.wait(20)
    give_up = time.monotonic() + 20
    while short._living and time.monotonic() < give_up:
        os.sched_yield()
    assert not short._living
    assert short.read(HTML % b"b", MediaKind.HTML).text == "b"


def test_a_reader_ends_with_its_server():
    """Only the server holds the other end of its input."""
    ours, theirs = socket.socketpair()
    bounds = f"[{256 * MIB}, 5.0, {MIB}]"
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", reader_main.__name__, bounds], stdin=theirs.fileno()
        )
    with ours:
        ours.settimeout(30)
        assert ours.recv(1) == reader_main.READY
    assert child.wait(20) == 0


def test_without_the_extra_it_says_what_to_install():
    for kind, library in (("HTML", "markdownify"), ("PDF", "pypdfium2")):
        with pytest.raises(
            FailedPrecondition, match=rf"{library}.*pip install 'vecdb\[documents\]'"
        ):
            reader_main._lacking(kind, library)(b"x")


def test_a_reader_sees_nothing_of_the_environment(make, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    one = make()
    one.read(HTML % b"a", MediaKind.HTML)
    (pid,) = pids(one)
    with open(f"/proc/{pid}/environ", "rb") as environment:
        assert b"hunter2" not in environment.read()
    with open(f"/proc/{pid}/limits") as limits:
        said = limits.read()
    assert "Max core file size        0" in said
    assert "Max file size             0" in said
