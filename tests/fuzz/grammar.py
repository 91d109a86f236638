"""Random messages of any type, from its descriptor: mostly of the right kind, or hostile."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

COLLECTIONS = [f"fuzz-{n}" for n in range(6)]
WORDS = ["red", "ship", "the", "Ünïcode", "船", "don't", "a" * 300, "", " ", "\0", "🙂", "\u202e"]
PATHS = ["title", "n", "at", "place", "tags", "address.city", "a.b", "", ".", "a..b", "k" * 513]
IDS = [*map(str, range(40)), *"abcdef", "", "\0", "é" * 128, "x" * 257, "🙂", "\u202eabc"]
BY_NAME = {
    "collection": COLLECTIONS,
    "name": COLLECTIONS,
    "new_name": COLLECTIONS,
    "alias": ["fuzz-alias", "fuzz-0", ""],
    "id": IDS,
    "ids": IDS,
    "point": IDS,
    "space": ["", "d", "title", "s", "late", "text", "nope"],
    "path": PATHS,
    "fields": PATHS,
    "include": PATHS,
    "exclude": PATHS,
    "unset": PATHS,
    "model": ["", "all-minilm-l6-v2", "bm25", "nope", "../../etc/passwd"],
    "cross_encoder": ["", "nope"],
    "language": ["", "en", "zh", "english", "xx"],
    "time": ["2024-01-01", "2024-01-01T00:00:00Z", "9999-99-99", "", "-1"],
}
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 3e38, 1e-45, float("nan"), float("inf"), -float("inf"), 1e300]
JSON = [
    b"{}",
    b"[]",
    b"",
    b"{",
    b"null",
    b'{"n": 1e999}',
    b'{"n": NaN}',
    b'{"n": 123456789012345678901234567890}',
    b'{"a": "\\ud800"}',
    b'{"a": "\xff"}',
    b'{"a": 1, "a": 2}',
    b'{"a":' * 150 + b"1" + b"}" * 150,
    b'{"a":' + b"[" * 5_000,
    b'{"place": {"lat": 91, "lon": "x"}, "at": "2024-13-45"}',
    b"\xef\xbb\xbf{}",
]
DEPTH_MAX = 7


class Grammar:
    """Draws messages. tokens: page tokens that replies gave, which callers send back."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tokens: list[str] = [""]

    def message(self, kind: Descriptor, depth: int = 0) -> Message:
        made = GetMessageClass(kind)()
        self.fill(made, depth)
        return made

    def fill(self, made: Message, depth: int = 0) -> None:
        rng = self.rng
        chosen = {rng.choice(one.fields).name for one in made.DESCRIPTOR.oneofs}
        for field in made.DESCRIPTOR.fields:
            inside = field.containing_oneof is not None
            if inside and field.name not in chosen:
                continue
            always = field.name in BY_NAME or inside
            if rng.random() < (0.9 if always else 0.35 if depth < 3 else 0.2):
                self.set(made, field, depth)

    def set(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        """Give a field a value: of a list a few, of a map a few entries."""
        rng = self.rng
        if field.type == FieldDescriptor.TYPE_MESSAGE and depth >= DEPTH_MAX:
            return
        if not field.is_repeated:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                part = getattr(made, field.name)
                part.SetInParent()
                self.fill(part, depth + 1)
            else:
                setattr(made, field.name, self.scalar(field))
            return
        count = rng.choice((0, 1, 1, 2, 3, 3, 20)) if depth < 3 else rng.choice((0, 1, 1, 2))
        part = getattr(made, field.name)
        if is_map(field):
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            for _ in range(count):
                at = rng.choice(BY_NAME["space"]) if rng.random() < 0.9 else self.scalar(key)
                if value.type == FieldDescriptor.TYPE_MESSAGE:
                    self.fill(part[at], depth + 1)
                else:
                    part[at] = self.scalar(value)
            return
        for _ in range(count):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                self.fill(part.add(), depth + 1)
            else:
                part.append(self.scalar(field))

    def scalar(self, field: FieldDescriptor) -> Any:
        rng = self.rng
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return self.bytes(field.name)
            return self.text(field.name)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice([*(one.number for one in field.enum_type.values), 99, -1])
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return rng.choice(FLOATS) if rng.random() < 0.5 else rng.uniform(-2, 2)
        bits = 64 if kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64) else 32
        signed = kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32)
        top = (1 << (bits - signed)) - 1
        if rng.random() < 0.7:
            return rng.choice((0, 1, 2, 3, 4, 5, 10, 100))
        below = (-1, -top - 1) if signed else ()
        return rng.choice((top, top - 1, top >> 1, 1_001, 10_001, *below))

    def text(self, name: str) -> str:
        rng = self.rng
        if name == "page_token":
            return rng.choice(self.tokens)
        if name in BY_NAME and rng.random() < 0.95:
            return rng.choice(BY_NAME[name])
        return " ".join(rng.choices(WORDS, k=rng.choice((0, 1, 1, 3, 8))))

    def bytes(self, name: str) -> bytes:
        rng = self.rng
        if name == "f32":
            count = rng.choice((0, 1, 2, 2, 3, 4, 8, 100))
            drawn = [rng.gauss(0, 1) for _ in range(count)]
            if count and rng.random() < 0.2:
                drawn[rng.randrange(count)] = rng.choice(FLOATS[:-1])
            return struct.pack(f"<{count}f", *drawn)[rng.random() < 0.05 :]
        if name in ("image", "images"):
            png = b"\x89PNG\r\n\x1a\n" + rng.randbytes(40)
            return rng.choice((b"", png, b"\xff\xd8\xff\xe0", b"GIF"))
        if name == "content":
            pdf = b"%PDF-1.7\n" + rng.randbytes(50)
            return rng.choice((b"", pdf, b"<p>" * 300, b"# a\n\nb " * 40))
        if rng.random() < 0.25:
            return rng.choice(JSON)
        keys = rng.sample(["title", "n", "at", "tags", "place", "a", "address"], rng.randint(0, 4))
        return json.dumps({key: self.json(0) for key in keys}).encode()

    def json(self, depth: int) -> Any:
        rng = self.rng
        drawn = rng.randrange(9 if depth < 3 else 6)
        if drawn < 6:
            times = ("2024-01-01", "red ship", "x", rng.choice(WORDS[:3]))
            return (rng.randint(-3, 9), rng.random(), None, True, *times)[rng.randrange(8)]
        if drawn == 6:
            return {"lat": rng.uniform(-90, 90), "lon": rng.uniform(-180, 180)}
        if drawn == 7:
            return [self.json(depth + 1) for _ in range(rng.randint(0, 3))]
        return {key: self.json(depth + 1) for key in rng.sample(["b", "city", "a"], 2)}

    def mutate(self, made: Message) -> None:
        """Change one part of a message, somewhere below it."""
        rng = self.rng
        depth = 0
        while True:
            below = [
                part
                for field, value in made.ListFields()
                for part in parts(field, value)
                if isinstance(part, Message)
            ]
            if not below or rng.random() < 0.3:
                break
            made, depth = rng.choice(below), depth + 1
        if not made.DESCRIPTOR.fields:
            return
        given = [field for field, _ in made.ListFields()]
        field = rng.choice(given or made.DESCRIPTOR.fields)
        drawn = rng.random()
        if drawn < 0.15:
            made.ClearField(field.name)
        elif drawn < 0.3:
            self.set(made, rng.choice(made.DESCRIPTOR.fields), depth)
        elif field.is_repeated and not is_map(field) and drawn < 0.5 and field in given:
            held = getattr(made, field.name)
            held.extend(list(held) * rng.choice((1, 2, 10)))
        else:
            if field.is_repeated and rng.random() < 0.5:
                made.ClearField(field.name)
            self.set(made, field, depth)


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def parts(field: FieldDescriptor, value: Any) -> list[Any]:
    if is_map(field):
        return list(value.values())
    return list(value) if field.is_repeated else [value]
