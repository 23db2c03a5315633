r"""A pre-tokenizer pattern as a small program over classes of characters, for `machine`.

The patterns of byte-level BPEs (cl100k, o200k, DeepSeek's, GPT-2's own) ask of characters only in which sets they are:
`\p{L}`, `[^\r\n\p{L}\p{N}]`, `(?i:s)`. `compile_pattern` reads the pattern (Oniguruma's syntax, the part that such
patterns use) and names its sets; which characters are in a set is the caller's to say, for Unicode tables differ with
their age. A pattern with anything else in it (captures that are referred to, looks behind, lazy repeats) has no
program: the caller lets the library match it.
"""

import re
from dataclasses import dataclass, field
from typing import Any

CHAR, SPLIT, JUMP, STAR, OWN, IS_NEXT, NOT_NEXT, AT_END, MATCH = range(9)
MOST_REPEATS = 64  # of a counted repeat, which is written out
_SPECIAL = frozenset("|()[]{}*+?.\\^$")
_SET_ESCAPES = frozenset("sSdDwWpPhH")
_PLAIN_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}


class UnsupportedPattern(Exception):
    """The pattern holds something that these programs do not know; its text says what."""


@dataclass
class Program:
    """Instructions `(operation, a, b)`, and the sets of characters they name.

    CHAR a: one character of set a. SPLIT a b: go on at a, and where that fails at b. JUMP a. STAR a: as many of set a
    as there are, fewer where what follows fails. OWN a: as many, and never fewer (possessive). IS_NEXT a, NOT_NEXT a:
    the next character is (is not; or there is none) of set a. AT_END: no character is left. MATCH.
    """

    sets: list[str] = field(default_factory=list)  # as patterns that match one character
    code: list[tuple[int, int, int]] = field(default_factory=list)
    alternatives: list[int] = field(default_factory=list)  # where each top-level alternative begins

    def set_of(self, source: str) -> int:
        """The number of this set."""
        if source not in self.sets:
            self.sets.append(source)
        return self.sets.index(source)


def compile_pattern(pattern: str) -> Program:
    r"""The program of a pattern.

    Raises UnsupportedPattern for what is beyond it, an empty match included.

    >>> program = compile_pattern(r"\p{N}{1,2}|a+")
    >>> program.sets, program.alternatives
    (['\\p{N}', 'a'], [0, 4])
    """
    program = Program()
    for tree in parse_pattern(pattern):
        if _least(tree) == 0:
            raise UnsupportedPattern("it can match nothing")
        program.alternatives.append(len(program.code))
        _emit(tree, program)
        program.code.append((MATCH, 0, 0))
    return program


# a tree: ("set", source) | ("is"/"not", source) | ("end",) | ("all", trees) | ("any", trees)
#         | ("repeat", tree, least, most or None, possessive)
Tree = tuple[Any, ...]


def parse_pattern(pattern: str) -> list[Tree]:
    r"""The alternatives of a pattern. Raises UnsupportedPattern for what these programs do not know.

    >>> parse_pattern(r"\p{N}+|a")
    [('all', [('repeat', ('set', '\\p{N}'), 1, None, False)]), ('all', [('set', 'a')])]
    """
    parser = _Parser(pattern)
    alternatives = parser.alternatives("")
    if parser.at < len(pattern):
        raise UnsupportedPattern(f"{pattern[parser.at :]!r}")
    return alternatives


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def alternatives(self, flags: str) -> list[Tree]:
        found = [self._sequence(flags)]
        while self._take("|"):
            found.append(self._sequence(flags))
        return found

    def _sequence(self, flags: str) -> Tree:
        items: list[Tree] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            items.append(self._repeated(self._atom(flags)))
        return ("all", items)

    def _repeated(self, atom: Tree) -> Tree:
        text = self.pattern[self.at :]
        if counted := re.match(r"\{(\d*)(,?)(\d*)\}", text):
            low, comma, high = counted.groups()
            if not low and not high:
                raise UnsupportedPattern(f"{counted[0]!r}")
            least = int(low or 0)
            most = int(high) if high else (None if comma else least)
            self.at += counted.end()
        elif text[:1] in ("?", "*", "+"):
            least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[text[0]]
            self.at += 1
        else:
            return atom
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise UnsupportedPattern(f"a repeat of {least} to {most}")
        if self._take("?"):
            raise UnsupportedPattern("a lazy repeat")
        own = not counted and self._take("+")
        if self.pattern[self.at : self.at + 1] in ("*", "+", "?", "{") or atom[0] in ("is", "not", "end"):
            raise UnsupportedPattern("a repeat of a repeat, or of a look ahead")
        return ("repeat", atom, least, most, own)

    def _atom(self, flags: str) -> Tree:
        character = self.pattern[self.at]
        if character == "(":
            return self._group(flags)
        if character == "[":
            return ("set", _flagged(self._set(), flags))
        if character == "\\":
            return self._escape(flags)
        if character in _SPECIAL:
            raise UnsupportedPattern(f"{character!r}")
        self.at += 1
        return ("set", _flagged(character, flags))

    def _group(self, flags: str) -> Tree:
        opened = re.match(r"\(\?(:|=|!|i:)|\((?!\?)", self.pattern[self.at :])
        if opened is None:
            raise UnsupportedPattern(f"{self.pattern[self.at : self.at + 4]!r}")
        self.at += opened.end()
        kind = opened[1]
        inner = self.alternatives("i" if kind == "i:" else flags)
        if not self._take(")"):
            raise UnsupportedPattern("a group that is not closed")
        if kind not in ("=", "!"):
            return inner[0] if len(inner) == 1 else ("any", inner)
        match inner:
            case [("all", [("set", source)])]:
                return ("is" if kind == "=" else "not", source)
        raise UnsupportedPattern("a look ahead at more than one character")

    def _escape(self, flags: str) -> Tree:
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter in ("z", "Z"):
            if letter == "Z":
                raise UnsupportedPattern(r"\Z")
            self.at += 2
            return ("end",)
        return ("set", _flagged(self._escaped(), flags))

    def _escaped(self) -> str:
        """An escape that stands for one character or a set, as written."""
        begin = self.at
        letter = self.pattern[begin + 1 : begin + 2]
        self.at += 2
        if letter in ("p", "P"):
            named = re.match(r"\{\^?[A-Za-z_]+\}", self.pattern[self.at :])
            if named is None:
                raise UnsupportedPattern(f"\\{letter}")
            self.at += named.end()
        elif letter == "x":
            coded = re.match(r"[0-9a-fA-F]{2}|\{[0-9a-fA-F]+\}", self.pattern[self.at :])
            if coded is None:
                raise UnsupportedPattern("\\x")
            self.at += coded.end()
        elif letter == "u":
            coded = re.match(r"[0-9a-fA-F]{4}", self.pattern[self.at :])
            if coded is None:
                raise UnsupportedPattern("\\u")
            self.at += coded.end()
        elif not (letter in _SET_ESCAPES or letter in _PLAIN_ESCAPES or (letter and not letter.isalnum())):
            raise UnsupportedPattern(f"\\{letter}")
        return self.pattern[begin : self.at]

    def _set(self) -> str:
        begin = self.at
        self.at += 1
        self._take("^")
        first = True
        while first or not self._take("]"):
            rest = self.pattern[self.at :]
            if not rest or rest[0] == "[" or rest.startswith("&&"):
                raise UnsupportedPattern("a set of sets, or one that is not closed")
            if rest[0] == "\\":
                self._escaped()
            else:
                self.at += 1
            first = False
        return self.pattern[begin : self.at]

    def _take(self, text: str) -> bool:
        if not self.pattern.startswith(text, self.at):
            return False
        self.at += len(text)
        return True


def _flagged(source: str, flags: str) -> str:
    return f"(?i:{source})" if "i" in flags else source


def _least(tree: Tree) -> int:
    """The fewest characters that it takes."""
    match tree:
        case ("set", _):
            return 1
        case ("all", items):
            return sum(map(_least, items))
        case ("any", items):
            return min(map(_least, items))
        case ("repeat", inner, least, _, _):
            return int(least) * _least(inner)
    return 0


def _emit(tree: Tree, program: Program) -> None:
    code = program.code
    match tree:
        case ("set", source):
            code.append((CHAR, program.set_of(source), 0))
        case ("is" | "not" as kind, source):
            code.append((IS_NEXT if kind == "is" else NOT_NEXT, program.set_of(source), 0))
        case ("end",):
            code.append((AT_END, 0, 0))
        case ("all", items):
            for item in items:
                _emit(item, program)
        case ("any", items):
            jumps = []
            for item in items[:-1]:
                split = len(code)
                code.append((SPLIT, split + 1, 0))
                _emit(item, program)
                jumps.append(len(code))
                code.append((JUMP, 0, 0))
                code[split] = (SPLIT, split + 1, len(code))
            _emit(items[-1], program)
            for jump in jumps:
                code[jump] = (JUMP, len(code), 0)
        case ("repeat", inner, least, most, own):
            _emit_repeat(inner, least, most, own, program)
        case _:
            raise AssertionError(tree)


def _emit_repeat(inner: Tree, least: int, most: int | None, own: bool, program: Program) -> None:
    code = program.code
    while inner[0] == "all" and len(inner[1]) == 1:
        inner = inner[1][0]
    if own and (inner[0] != "set" or (most is not None and (least, most) != (0, 1))):
        raise UnsupportedPattern("a possessive repeat of more than one set")
    for _ in range(least):
        _emit(inner, program)
    if most is None:
        if inner[0] == "set":
            code.append((OWN if own else STAR, program.set_of(inner[1]), 0))
            return
        if _least(inner) == 0:
            raise UnsupportedPattern("a repeat of what can be nothing")
        split = len(code)
        code.append((SPLIT, split + 1, 0))
        _emit(inner, program)
        code.append((JUMP, split, 0))
        code[split] = (SPLIT, split + 1, len(code))
        return
    if own:  # one or none, decided by the next character alone
        number = program.set_of(inner[1])
        at = len(code)
        code += [
            (SPLIT, at + 1, at + 4),
            (IS_NEXT, number, 0),
            (CHAR, number, 0),
            (JUMP, at + 5, 0),
            (NOT_NEXT, number, 0),
        ]
        return
    splits = []
    for _ in range(most - least):
        splits.append(len(code))
        code.append((SPLIT, len(code) + 1, 0))
        _emit(inner, program)
    for split in splits:
        code[split] = (SPLIT, split + 1, len(code))
