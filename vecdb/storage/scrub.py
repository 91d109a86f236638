"""Zeroes what an LMDB file still holds of what was deleted, under the eyes of those who read it.

A delete leaves bytes behind: pages that are free now, the gap in the middle of a page whose node
went, the rest of an overflow page whose value became shorter or which was written from memory that
had held another. This walks the trees of the file itself, by LMDB's data format 1, and overwrites
all that no transaction can read. Bytes that belong to a tree are never written, so that readers,
and a power cut in the middle, notice nothing.

Whatever is not exactly as the format says refuses the whole scrub before a byte is written: a tree
that is misread would be destroyed. Knows LMDB's pages, no record; whoever calls holds LMDB's lock
of writers, and knows that nobody reads an older tree than the last two: environment.py.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from vecdb.errors import Corrupt

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEADER = 16
"""Bytes of a page's header: u64 number, u16, u16 flags, then u16 lower and upper, or u32 pages."""
_NODE = 8
"""Bytes of a node's header: u16 and u16 of its size or child, u16 flags, u16 size of its key."""
_META = struct.Struct("<IIQQ48s48sQQ")
_DATABASE = struct.Struct("<IHHQQQQQ")

_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_BIG, _SUBTREE = 1, 2
_DUPLICATES = 0x04
_NO_ROOT = (1 << 64) - 1
_DEPTH_MAX = 32
"""Levels that LMDB's own cursors have room for."""

_WALK_PAGES = 1 << 12
"""Pages whose nodes are looked at together."""
_RUN_BYTES = 1 << 20
"""The most that is compared and written at once."""

_Numbers: TypeAlias = npt.NDArray[np.int64]
_Ranges: TypeAlias = list[tuple[_Numbers, _Numbers]]


class Scrubbed(NamedTuple):
    """What a scrub wrote: in how many pages, and bytes in all."""

    pages: int
    bytes: int


class _Tree(NamedTuple):
    """A database, as a transaction left it."""

    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int

    @classmethod
    def of(cls, record: bytes) -> _Tree:
        return cls(*_DATABASE.unpack(record)[1:])


class _Root(NamedTuple):
    """A meta page: what one transaction left."""

    free: _Tree
    main: _Tree
    last_page: int
    txn: int


class _Nodes(NamedTuple):
    """The nodes of some pages: where each begins in the file, its flags, its key's size."""

    at: _Numbers
    flags: _Numbers
    key_bytes: _Numbers


class _Values(NamedTuple):
    """Where the values of nodes stand in the file, and how many bytes they have."""

    at: _Numbers
    bytes: _Numbers


def scrub(path: Path, last_txn: int) -> Scrubbed:
    """Return what was overwritten of a data file, durably, once it holds nothing but live bytes.

    last_txn: of the last commit. Both its tree and the one before it stay as they are, and so do
    the keys in their branches: see separators(). One stray byte behind a node of odd size may stay.
    Raises Corrupt, having written nothing.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with mmap.mmap(file, 0, prot=mmap.PROT_READ) as view:
            pages = _Pages(view, path)
            done = _overwrite(file, view, pages.dead(last_txn), pages.page_bytes)
        os.fsync(file)
        return done
    finally:
        os.close(file)


def is_whole(path: Path, last_txn: int) -> bool:
    """Return whether a data file that is shorter than its trees may be holds all that they do.

    The last pages are never written where the transaction that took them freed them, too. Nobody
    writes to the file meanwhile.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        try:
            _Pages(view, path).dead(last_txn)
        except Corrupt:
            return False
    return True


def separators(path: Path, last_txn: int, name: bytes) -> list[bytes]:
    """Return the keys in the branches of a database, which lead to its leaves.

    Each was a key of the database once, and stays when that is deleted: it belongs to the tree.
    Nobody writes to the file meanwhile. Raises Corrupt.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        return _Pages(view, path).separators(last_txn, name)


def _overwrite(file: int, view: mmap.mmap, dead: _Ranges, page_bytes: int) -> Scrubbed:
    """Write zeros over ranges where there is anything else."""
    zeros: dict[int, bytes] = {}
    pages = total = 0
    for starts, ends in dead:
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            for at in range(start, end, _RUN_BYTES):
                size = min(_RUN_BYTES, end - at)
                blank = zeros.get(size)
                if blank is None:
                    blank = zeros[size] = bytes(size)
                if view[at : at + size] == blank:
                    continue
                written = 0
                while written < size:
                    written += os.pwrite(file, blank[written:], at + written)
                pages, total = pages + -(-size // page_bytes), total + size
    return Scrubbed(pages, total)


class _Pages:
    """The pages of a data file, and which bytes of them nobody reads."""

    def __init__(self, view: mmap.mmap, path: Path) -> None:
        self._path = path
        self._view = view
        self._size = len(view)
        self._require(self._size >= 2 * mmap.PAGESIZE, "it has no two meta pages")
        self.page_bytes = struct.unpack_from("<I", view, _HEADER + 24)[0]
        self._require(
            self.page_bytes >= 512 and not self.page_bytes & (self.page_bytes - 1),
            f"its pages have {self.page_bytes} bytes",
        )
        self._count = self._size // self.page_bytes
        self._live = np.zeros(self._count, np.bool_)
        self._live[:2] = True
        self._dead: _Ranges = []

    def dead(self, last_txn: int) -> _Ranges:
        """Return where the ranges of bytes begin and end that no tree of the last two has."""
        older, newest = self._roots(last_txn)
        free = self._walk_all(newest, counted=True)
        listed = np.concatenate(free) if free else np.zeros(0, np.int64)
        within = listed[listed < self._count]  # the last pages may never have been written
        self._require(
            len(np.unique(listed)) == len(listed)
            and bool(((listed >= 2) & (listed <= newest.last_page)).all())
            and not self._live[within].any()
            and not self._live[newest.last_page + 1 :].any(),
            "its list of free pages has some that are in use, or never were",
        )
        # Whoever opens a file takes the newest tree; the one before it stays whole as a matter of
        # course, as LMDB itself leaves it.
        self._walk_all(older, counted=False)
        self._add_unused_pages()
        return self._dead

    def separators(self, last_txn: int, name: bytes) -> list[bytes]:
        """Return the keys in the branches of the database of that name."""
        _, newest = self._roots(last_txn)
        for nodes, values in self._walk(newest.main, _SUBTREE, counted=True):
            for key, value in zip(self._keys(nodes), values.at.tolist(), strict=True):
                if key == name:
                    return self._branch_keys(_Tree.of(self._view[value : value + _DATABASE.size]))
        return []

    def _branch_keys(self, tree: _Tree) -> list[bytes]:
        found: list[bytes] = []
        level = np.array([tree.root if tree.depth else 0], np.int64)
        for _ in range(tree.depth - 1):
            self._check_within(level)
            nodes = self._nodes(level, _BRANCH)
            found += filter(None, self._keys(nodes))  # the first one's is empty
            level = self._children(nodes)
        return found

    def _keys(self, nodes: _Nodes) -> list[bytes]:
        starts = nodes.at + _NODE
        ends = starts + nodes.key_bytes
        return [self._view[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

    def _require(self, fits: bool, what: str) -> None:
        """Raise Corrupt unless the file is as the format says."""
        if not fits:
            raise Corrupt(
                f"{self._path} was not scrubbed, nor written to: {what}",
                hint="run vecdb check on the data directory; restore the store from a backup",
            )

    def _roots(self, last_txn: int) -> tuple[_Root, _Root]:
        """Return what the last transaction but one left, and the last."""
        older, newest = sorted((self._root(0), self._root(1)), key=lambda root: root.txn)
        self._require(newest.txn == last_txn, f"its last transaction is not {last_txn}")
        return older, newest

    def _root(self, page: int) -> _Root:
        at = page * self.page_bytes
        number, _, flags = struct.unpack_from("<QHH", self._view, at)
        magic, version, _, _, free, main, last_page, txn = _META.unpack_from(
            self._view, at + _HEADER
        )
        self._require(
            (number, flags, magic, version) == (page, _META_PAGE, _MAGIC, _VERSION),
            f"page {page} is no meta page of data format {_VERSION}",
        )
        return _Root(_Tree.of(free), _Tree.of(main), last_page, txn)

    # --- trees

    def _walk_all(self, root: _Root, *, counted: bool) -> list[_Numbers]:
        """Mark what a transaction left as live, but for the gaps; return its free pages.

        counted: whether no page is marked yet, so that LMDB's own counts must agree.
        """
        free = [
            pages
            for _, values in self._walk(root.free, 0, counted)
            for pages in self._free_pages(values)
        ]
        for _, values in self._walk(root.main, _SUBTREE, counted):
            for at, size in zip(values.at.tolist(), values.bytes.tolist(), strict=True):
                self._require(size == _DATABASE.size, "a database's record has another size")
                for _ in self._walk(_Tree.of(self._view[at : at + size]), 0, counted):
                    pass
        return free

    def _walk(
        self, tree: _Tree, node_flags: int, counted: bool
    ) -> Iterator[tuple[_Nodes, _Values]]:
        """Mark a tree's pages as live, but for the gaps, and yield what is in its leaves.

        node_flags: that every node of a leaf has. What is marked already belongs to a newer tree,
        with all that is below it, and is passed over.
        """
        if tree.root == _NO_ROOT:
            self._require(tree.entries == 0, "a tree without a root has entries")
            return
        self._require(not tree.flags & _DUPLICATES, "a database holds duplicates")
        self._require(0 < tree.depth < _DEPTH_MAX, f"a tree has a depth of {tree.depth}")
        branches = leaves = overflows = entries = 0
        level = np.array([tree.root], np.int64)
        for left in reversed(range(tree.depth)):
            below: list[_Numbers] = []
            self._check_within(level)
            level = level[~self._live[level]]
            if left:
                branches += len(level)
            else:
                leaves += len(level)
            for first in range(0, len(level), _WALK_PAGES):
                nodes = self._nodes(level[first : first + _WALK_PAGES], _BRANCH if left else _LEAF)
                if left:
                    below.append(self._children(nodes))
                    continue
                self._require(
                    not ((nodes.flags & ~_BIG) ^ node_flags).any(), "a node has unknown flags"
                )
                values, apart = self._values(nodes)
                entries, overflows = entries + len(nodes.at), overflows + apart
                yield nodes, values
            level = np.concatenate(below) if below else np.zeros(0, np.int64)
        found = (branches, leaves, overflows, entries)
        expected = (tree.branches, tree.leaves, tree.overflows, tree.entries)
        self._require(
            not counted or found == expected,
            f"a tree has {found} branches, leaves, overflow pages and entries, not {expected}",
        )

    def _check_within(self, pages: _Numbers) -> None:
        self._require(
            bool(((pages >= 2) & (pages < self._count)).all()), "a tree has a page past the end"
        )

    def _read(self, at: _Numbers, width: int) -> _Numbers:
        """Return the little-endian numbers of `width` bytes at places in the file."""
        file = np.frombuffer(self._view, np.uint8)
        found: _Numbers = np.zeros(len(at), np.int64)
        for byte in range(width):
            found |= file[at + byte].astype(np.int64) << (8 * byte)
        return found

    def _claim(self, pages: _Numbers, flags: int) -> _Numbers:
        """Mark pages as live, which nobody has yet; return where they begin."""
        at: _Numbers = pages * self.page_bytes
        self._require(
            len(np.unique(pages)) == len(pages) and not self._live[pages].any(),
            "a page belongs to two trees",
        )
        self._require(
            np.array_equal(self._read(at, 8), pages) and (self._read(at + 10, 2) == flags).all(),
            "a page has another number or kind than the tree says",
        )
        self._live[pages] = True
        return at

    def _nodes(self, pages: _Numbers, kind: int) -> _Nodes:
        """Return the nodes of pages of one kind, whose gaps are added to what is dead."""
        at = self._claim(pages, kind)
        lower, upper = self._read(at + 12, 2), self._read(at + 14, 2)
        self._require(
            bool(((lower > _HEADER) & (lower <= upper) & (upper <= self.page_bytes)).all())
            and not (lower & 1).any(),
            "a page has impossible bounds",
        )
        self._dead.append((at + lower, at + upper))
        counts = (lower - _HEADER) // 2
        page = np.repeat(np.arange(len(pages)), counts)
        within = np.arange(len(page)) - np.repeat(np.cumsum(counts) - counts, counts)
        offsets = self._read(at[page] + _HEADER + 2 * within, 2)
        self._require(
            bool(((offsets >= upper[page]) & (offsets <= self.page_bytes - _NODE)).all()),
            "a node is outside of its page",
        )
        node = at[page] + offsets
        nodes = _Nodes(node, self._read(node + 4, 2), self._read(node + 6, 2))
        sizes = _NODE + nodes.key_bytes
        if kind == _LEAF:
            sizes = sizes + np.where(nodes.flags & _BIG, 8, self._read(node, 4))
        sizes = (sizes + 1) & ~1
        filled = np.bincount(page, sizes, len(pages)).astype(np.int64)
        self._require(
            bool((offsets + sizes <= self.page_bytes).all())
            and np.array_equal(filled, self.page_bytes - upper),
            "the nodes of a page do not fill it",
        )
        return nodes

    def _children(self, nodes: _Nodes) -> _Numbers:
        children: _Numbers = self._read(nodes.at, 4) | nodes.flags << 32
        return children

    def _values(self, nodes: _Nodes) -> tuple[_Values, int]:
        """Return the values of a leaf's nodes, and how many pages of their own they have."""
        at, size = nodes.at + _NODE + nodes.key_bytes, self._read(nodes.at, 4)
        big = np.flatnonzero(nodes.flags & _BIG)
        if not len(big):
            return _Values(at, size), 0
        first = self._read(at[big], 8)
        self._check_within(first)
        fresh = ~self._live[first]  # not where an older leaf has it in common with a newer one
        begins, sizes = self._claim(first[fresh], _OVERFLOW), size[big][fresh]
        counts = self._read(begins + 12, 4)
        self._require(
            bool((counts * self.page_bytes >= _HEADER + sizes).all())
            and bool((first[fresh] + counts <= self._count).all()),
            "a value does not fit its pages",
        )
        more = np.repeat(first[fresh] + 1, counts - 1)
        more += np.arange(len(more)) - np.repeat(np.cumsum(counts - 1) - (counts - 1), counts - 1)
        self._require(
            len(np.unique(more)) == len(more) and not self._live[more].any(),
            "a page belongs to two trees",
        )
        self._live[more] = True
        self._dead.append((begins + _HEADER + sizes, begins + counts * self.page_bytes))
        at[big] = first * self.page_bytes + _HEADER
        return _Values(at, size), int(counts.sum())

    # --- what is in no tree

    def _free_pages(self, values: _Values) -> Iterator[_Numbers]:
        """Yield the pages that the entries of the free list name; the rest of each is dead."""
        for at, size in zip(values.at.tolist(), values.bytes.tolist(), strict=True):
            self._require(size >= 8, "a list of free pages is cut")
            (count,) = struct.unpack_from("<Q", self._view, at)
            ends = at + 8 * (count + 1)
            self._require(ends <= at + size, "a list of free pages is cut")
            self._dead.append((np.array([ends]), np.array([at + size])))
            yield np.frombuffer(self._view[at + 8 : ends], "<u8").astype(np.int64)

    def _add_unused_pages(self) -> None:
        """Add the pages of no tree, and what stands behind the last page, to what is dead."""
        edges = np.diff(np.concatenate(([True], self._live, [True])).astype(np.int8))
        starts = np.flatnonzero(edges == -1).astype(np.int64)
        ends = np.flatnonzero(edges == 1).astype(np.int64)
        self._dead.append((starts * self.page_bytes, ends * self.page_bytes))
        self._dead.append((np.array([self._count * self.page_bytes]), np.array([self._size])))
