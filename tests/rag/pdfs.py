"""PDFs, written by hand: pages of lines, a title, and what is wrong with some."""

from __future__ import annotations

import zlib
from collections.abc import Sequence


def pdf_of(pages: Sequence[Sequence[str]], title: str = "", page: bytes | None = None) -> bytes:
    """Return a PDF of pages of lines. page: what is drawn on each instead, deflated."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>"
        % (len(pages), b" ".join(b"%d 0 R" % (5 + 2 * at) for at in range(len(pages)))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title (%s) >>" % title.encode("latin-1"),
    ]
    for at, lines in enumerate(pages):
        drawn = page if page is not None else _deflated(_drawn(lines))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R >> >> >>" % (6 + 2 * at)
        )
        objects.append(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(drawn), drawn)
        )
    out = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def bomb(megabytes: int) -> bytes:
    """Return a small PDF of a page that draws letters for so many megabytes."""
    packer = zlib.compressobj(9)
    page = bytearray(packer.compress(b"BT /F 12 Tf 72 700 Td\n"))
    line = b"(abcdefgh) Tj 0 -1 Td\n" * (1 << 14)
    for _ in range(megabytes * (1 << 20) // len(line)):
        page += packer.compress(line)
    page += packer.compress(b"ET") + packer.flush()
    return pdf_of([()], page=bytes(page))


def _drawn(lines: Sequence[str]) -> bytes:
    shown = (
        b"(%s) Tj 0 -14 Td"
        % line.encode("latin-1").replace(b"\\", b"\\\\").replace(b"(", rb"\(").replace(b")", rb"\)")
        for line in lines
    )
    return b"BT /F 12 Tf 72 720 Td\n%s\nET" % b"\n".join(shown) if lines else b""


def _deflated(content: bytes) -> bytes:
    return zlib.compress(content)
