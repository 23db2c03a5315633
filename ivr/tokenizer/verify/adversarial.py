"""Strings that try to make two tokenizers disagree; the same for the same seed, whatever asks for them.

String number i belongs to block i // BLOCK, and a block is drawn from its own random stream: so the strings depend on
neither their total number nor the number of processes.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ivr.console import Progress
from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, from_alphabet, to_alphabet
from ivr.tokenizer.verify.causes import SCORES_CANNOT
from ivr.tokenizer.verify.pair import Pair, Workers

BLOCK = 1_000
TOKENS_JOINED = (2, 6)
LAST_PLANE = 17
SURROGATES = range(0xD800, 0xE000)
BLANKS = (" ", " ", " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2009", "")
MARKS = "'’-–_.,:;!?*/\\()[]\"=+#@"


@dataclass(frozen=True)
class Vocabulary:
    """What strings are drawn from: the tokens that are text, and of these the words."""

    texts: list[str]
    words: list[str]
    symbols: frozenset[str] = frozenset(CHARACTER_TO_BYTE)  # of the byte alphabet: those that have an id

    @classmethod
    def of(cls, pair: Pair) -> "Vocabulary":
        added = set(pair.theirs.get_added_tokens_decoder())
        texts = []
        for token_id in range(pair.theirs.get_vocab_size(with_added_tokens=True)):
            token = pair.theirs.id_to_token(token_id)
            if token_id in added or not token or any(symbol not in CHARACTER_TO_BYTE for symbol in token):
                continue
            data = from_alphabet(token)
            try:
                texts.append(data.decode())
            except UnicodeDecodeError:
                continue  # a part of a character
        words = sorted({text.strip() for text in texts if len(text.strip()) > 1 and text.strip().isalpha()})
        return cls(texts, words or ["a"], frozenset(pair.theirs.get_vocab()) & CHARACTER_TO_BYTE.keys())


def joined_tokens(draw: random.Random, vocabulary: Vocabulary) -> str:
    """Two to six tokens of the vocabulary."""
    return "".join(draw.choices(vocabulary.texts, k=draw.randint(*TOKENS_JOINED)))


def random_unicode(draw: random.Random, vocabulary: Vocabulary) -> str:
    """Characters of all planes: half the strings from anywhere, half from one neighbourhood of 128 code points."""
    length = draw.randint(1, 16)
    if draw.random() < 0.5:
        return "".join(_character(draw.randrange(draw.randrange(1, LAST_PLANE + 1) << 16)) for _ in range(length))
    start = draw.randrange(draw.randrange(1, LAST_PLANE + 1) << 16)
    return "".join(_character(min(start + draw.randrange(128), 0x10FFFF)) for _ in range(length))


def _character(code: int) -> str:
    return chr(code - 0x800 if code in SURROGATES else code)


def random_bytes(draw: random.Random, vocabulary: Vocabulary) -> str:
    """Any bytes, or tokens with one byte replaced, in the byte alphabet; mostly not valid UTF-8."""
    if draw.random() < 0.5:
        symbols = list(to_alphabet(draw.randbytes(draw.randint(1, 24))))
    else:
        symbols = list(to_alphabet(joined_tokens(draw, vocabulary).encode()))
        symbols[draw.randrange(len(symbols))] = BYTE_TO_CHARACTER[draw.randrange(256)]
    return "".join(symbol for symbol in symbols if symbol in vocabulary.symbols)


def casing_games(draw: random.Random, vocabulary: Vocabulary) -> str:
    """One to three words with their case changed or a letter drawn out."""
    changes: tuple[Callable[[str], str], ...] = (
        str.lower,
        str.upper,
        str.title,
        str.swapcase,
        lambda word: "".join(draw.choice((letter.lower(), letter.upper())) for letter in word),
        lambda word: word + word[-1] * draw.randint(1, 9),
        lambda word: word[:1] * draw.randint(2, 9) + word,
    )
    glue = draw.choice(("", " ", "-", "_", "'"))
    words = [draw.choice(changes)(draw.choice(vocabulary.words)) for _ in range(draw.randint(1, 3))]
    return draw.choice(("", " ")) + glue.join(words)


def spacing_games(draw: random.Random, vocabulary: Vocabulary) -> str:
    """Words, numbers and marks with blanks of all kinds between, or none."""
    parts = []
    for _ in range(draw.randint(1, 5)):
        kind = draw.randrange(4)
        if kind == 0:
            parts.append(str(draw.randrange(10 ** draw.randint(1, 9))))
        elif kind == 1:
            parts.append(draw.choice(MARKS) * draw.randint(1, 8))
        else:
            parts.append(draw.choice(vocabulary.words))
        parts.append(draw.choice(BLANKS) * draw.randint(1, 5))
    return "".join(parts)


KINDS: dict[str, Callable[[random.Random, Vocabulary], str]] = {
    "tokens": joined_tokens,
    "unicode": random_unicode,
    "bytes": random_bytes,  # in the byte alphabet: put to the models directly
    "casing": casing_games,
    "spacing": spacing_games,
}


def strings(seed: int, block: int, count: int, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The first `count` (kind, string) of a block; the kinds take turns."""
    draw = random.Random(f"{seed}/{block}")  # noqa: S311 - to be repeated, not to be kept secret
    names = list(KINDS)
    found = []
    for place in range(count):
        kind = names[place % len(names)]
        found.append((kind, KINDS[kind](draw, vocabulary)))
    return found


# comparison -----------------------------------------------------------------------------------------------------
@dataclass
class AdversarialCounts:
    """Outcome of one block, or of all; kind -> number."""

    strings: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    equal: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    decoded_otherwise: int = 0
    not_restored: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    mismatches: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "AdversarialCounts", keep: int) -> None:
        """Add another's counts, and its mismatches up to `keep` in all."""
        for kind in KINDS:
            self.strings[kind] += other.strings[kind]
            self.equal[kind] += other.equal[kind]
        self.decoded_otherwise += other.decoded_otherwise
        self.not_restored += other.not_restored
        self.causes += other.causes
        self.mismatches += other.mismatches[: keep - len(self.mismatches)]

    def report(self, seed: int) -> dict[str, Any]:
        total, equal = sum(self.strings.values()), sum(self.equal.values())
        return {
            "seed": seed,
            "strings": total,
            "equal": equal,
            "equal_percent": round(100 * equal / max(total, 1), 4),
            "scores_cannot": sum(count for cause, count in self.causes.items() if cause in SCORES_CANNOT),
            "not_fixed": sum(count for cause, count in self.causes.items() if cause not in SCORES_CANNOT),
            "causes": dict(sorted(self.causes.items())),
            "decoded_otherwise": self.decoded_otherwise,
            "not_restored": self.not_restored,
            "kinds": {
                kind: {
                    "strings": self.strings[kind],
                    "equal": self.equal[kind],
                    "equal_percent": round(100 * self.equal[kind] / max(self.strings[kind], 1), 4),
                }
                for kind in KINDS
            },
            "mismatches": self.mismatches,
        }


@dataclass(frozen=True)
class Block:
    """A task: the first `count` strings of a block."""

    seed: int
    number: int
    count: int


def blocks(seed: int, total: int) -> list[Block]:
    """The blocks that hold the first `total` strings."""
    return [Block(seed, number, min(BLOCK, total - begin)) for number, begin in enumerate(range(0, total, BLOCK))]


def check_block(pair: Pair, block: Block) -> AdversarialCounts:
    """Encode a block's strings with both tokenizers; texts are decoded again too."""
    counts = AdversarialCounts()
    if "vocabulary" not in pair.kept:
        pair.kept["vocabulary"] = Vocabulary.of(pair)
    drawn = strings(block.seed, block.number, block.count, pair.kept["vocabulary"])
    texts = [text for kind, text in drawn if kind != "bytes"]
    ours, theirs = pair.encode(texts)
    our_texts, their_texts = pair.decode(ours, theirs)
    counts.decoded_otherwise = sum(one != other for one, other in zip(our_texts, their_texts, strict=True))
    counts.not_restored = sum(not pair.same_text(one, text) for one, text in zip(our_texts, texts, strict=True))
    of_texts = iter(zip(ours, theirs, strict=True))
    of_bytes = iter(zip(*pair.encode_symbols([text for kind, text in drawn if kind == "bytes"]), strict=True))
    for place, (kind, text) in enumerate(drawn):
        one, other = next(of_bytes if kind == "bytes" else of_texts)
        counts.strings[kind] += 1
        counts.equal[kind] += one == other
        if one != other:
            number = block.number * BLOCK + place
            found = pair.mismatch(text, one, other, symbols=kind == "bytes")
            row = {"kind": kind, "number": number, "text": text, **found}
            counts.causes[found["cause"]] += 1
            counts.mismatches.append(row)
    return counts


def compare_adversarial(workers: Workers, seed: int, total: int, keep: int) -> dict[str, Any]:
    """Compare `total` strings; returns the part of the report that says so."""
    counts = AdversarialCounts()
    tasks = blocks(seed, total)
    with Progress("adversarial", total, "strings") as bar:
        for task, found in zip(tasks, workers.map(check_block, tasks), strict=True):
            counts.add(found, keep)
            bar.update(task.count)
    return counts.report(seed)
