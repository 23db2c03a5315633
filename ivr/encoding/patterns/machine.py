"""Runs the program of a pre-tokenizer pattern over UTF-8 bytes, compiled: where each pretoken ends.

A backtracking machine, as the library's engine is one: alternatives in order, repeats as long as they can be. What
stands between two matches is a piece of its own ("isolated").
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.compiler import compiled
from ivr.encoding.gpt2_pattern import NUM_CODE_POINTS, _character
from ivr.encoding.patterns.program import (
    AT_END,
    CHAR,
    IS_NEXT,
    JUMP,
    MATCH,
    OWN,
    SPLIT,
    STAR,
    Program,
)

NO_MATCH = -1
FRAMES = 256  # of the backtracking stack to begin with: three numbers each


class Tables(NamedTuple):
    """A `Machine` as compiled loops take it: see there."""

    code_P3: np.ndarray
    begins: np.ndarray
    can_begin_AC: np.ndarray
    inside_SC: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Machine:
    """A program whose sets are known. P instructions, S sets, C classes of characters that its sets tell apart."""

    code_P3: np.ndarray  # int32
    begins: np.ndarray  # int32: where each top-level alternative begins
    can_begin_AC: np.ndarray  # bool: whether a match of the alternative can begin with a character of the class
    inside_SC: np.ndarray  # bool: whether the class is in the set
    classes: np.ndarray  # uint8 (NUM_CODE_POINTS)

    @classmethod
    def of(cls, program: Program, members: list[np.ndarray]) -> "Machine | None":
        """`members[s]`: bool (NUM_CODE_POINTS), the characters of set s. None where they tell over 256 apart."""
        classes, inside_CS = character_classes(np.array(members))
        if len(inside_CS) > 256:
            return None
        inside_SC = np.ascontiguousarray(inside_CS.T)
        can_begin_AC = np.array([_first(program, at, inside_SC) for at in program.alternatives])
        return cls(
            np.array(program.code, np.int32).reshape(-1, 3),
            np.array(program.alternatives, np.int32),
            can_begin_AC,
            inside_SC,
            classes.astype(np.uint8),
        )

    def split(self, pieces: Batch) -> tuple[np.ndarray, np.ndarray]:
        """(where each part ends in `pieces.data`, int64; which parts a piece has: `starts[n]:starts[n + 1]`)."""
        ends = np.empty(len(pieces.data), np.int64)  # at most; pages that are never written take no memory
        starts = np.zeros(len(pieces) + 1, np.int64)
        tables = Tables(self.code_P3, self.begins, self.can_begin_AC, self.inside_SC, self.classes)
        _split(pieces.data, pieces.starts, tables, ends, starts)
        return ends[: starts[-1]], starts


def character_classes(members_SN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(class of every code point, int64 (NUM_CODE_POINTS); which sets each class is in, bool (C, S))."""
    assert members_SN.shape[1] == NUM_CODE_POINTS
    key = np.zeros(NUM_CODE_POINTS, np.int64)
    for number, row in enumerate(members_SN):
        if number and number % 62 == 0:
            _, key = np.unique(key, return_inverse=True)
        key = key * 2 + row
        if key.max() >= 1 << 61:
            _, key = np.unique(key, return_inverse=True)
    _, first, classes = np.unique(key, return_index=True, return_inverse=True)
    return classes, members_SN[:, first].T.copy()


def _first(program: Program, begin: int, inside_SC: np.ndarray) -> np.ndarray:
    """Which classes the first character of a match from this instruction on can have, bool (C,). May be too many."""
    found = np.zeros(inside_SC.shape[1], bool)
    todo, seen = [begin], set()
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        operation, a, b = program.code[at]
        if operation == CHAR:
            found |= inside_SC[a]
        elif operation == SPLIT:
            todo += [a, b]
        elif operation == JUMP:
            todo.append(a)
        elif operation in (STAR, OWN):
            found |= inside_SC[a]
            todo.append(at + 1)
        elif operation != MATCH:
            todo.append(at + 1)
    return found


@compiled
def _match(data, begin, end, pc, tables, stack):  # type: ignore[no-untyped-def]
    """(where the match of the program from `pc` on that starts at `begin` ends, or NO_MATCH; the stack, perhaps grown).

    A frame of the stack: (pc, position, least position): go on at `pc` from the position, and after that from each
    character before it down to the least one.
    """
    code, inside, classes = tables.code_P3, tables.inside_SC, tables.classes
    depth = 0
    i = begin
    while True:
        operation = code[pc, 0]
        failed = False
        if operation == CHAR:
            if i < end:
                point, size = _character(data, i)
                if inside[code[pc, 1], classes[point]]:
                    i += size
                    pc += 1
                else:
                    failed = True
            else:
                failed = True
        elif operation in (STAR, OWN):
            row = code[pc, 1]
            least = i
            while i < end:
                point, size = _character(data, i)
                if not inside[row, classes[point]]:
                    break
                i += size
            pc += 1
            if operation == STAR and i > least:
                stack = _pushed(stack, depth, pc, _before(data, i), least)
                depth += 1
        elif operation == SPLIT:
            stack = _pushed(stack, depth, code[pc, 2], i, i)
            depth += 1
            pc = code[pc, 1]
        elif operation == JUMP:
            pc = code[pc, 1]
        elif operation == MATCH:
            return i, stack
        elif operation == AT_END:
            failed = i < end
            pc += 1
        else:
            is_next = False
            if i < end:
                point, size = _character(data, i)
                is_next = inside[code[pc, 1], classes[point]]
            failed = is_next != (operation == IS_NEXT)
            pc += 1
        if failed:
            if depth == 0:
                return NO_MATCH, stack
            pc, i, least = stack[depth - 1]
            if i > least:
                stack[depth - 1, 1] = _before(data, i)
            else:
                depth -= 1


@compiled
def _pushed(stack, depth, pc, i, least):  # type: ignore[no-untyped-def]
    """The stack with one more frame, twice as large where it was full."""
    if depth == len(stack):
        more = np.empty((2 * len(stack), 3), np.int64)
        more[: len(stack)] = stack
        stack = more
    stack[depth, 0], stack[depth, 1], stack[depth, 2] = pc, i, least
    return stack


@compiled
def _before(data, i):  # type: ignore[no-untyped-def]
    """Where the character that ends at `i` begins."""
    i -= 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@compiled
def _split(data, starts, tables, ends, part_starts):  # type: ignore[no-untyped-def]
    stack = np.empty((FRAMES, 3), np.int64)
    parts = 0
    for piece in range(len(starts) - 1):
        i = gap = starts[piece]
        end = starts[piece + 1]
        while i < end:
            point, size = _character(data, i)
            kind = tables.classes[point]
            stop = NO_MATCH
            for alternative in range(len(tables.begins)):
                if tables.can_begin_AC[alternative, kind]:
                    stop, stack = _match(data, i, end, tables.begins[alternative], tables, stack)
                    if stop != NO_MATCH:
                        break
            if stop == NO_MATCH:
                i += size
                continue
            if gap < i:
                ends[parts] = i
                parts += 1
            ends[parts] = stop
            parts += 1
            i = gap = stop
        if gap < end:
            ends[parts] = end
            parts += 1
        part_starts[piece + 1] = parts
