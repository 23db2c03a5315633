"""Which pretokens need borders in a portable pre-tokenizer: those that it encodes otherwise than the remapped one."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import Model

from ivr.analysis.pretokens import PretokenSplitter
from ivr.corpus.packing import text_chunks
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.text.tokenizer_file import for_text
from ivr.export.portable import is_mostly_repeat, portable_steps, with_borders, without_contradictions
from ivr.tokenizer.repeats.tables import SHORTEST, self_merging_units, text_of

LONGEST_REPEAT = 48  # bytes
LONGEST_BLANKS = 128  # of indentation and rules there is more
RULES = " -=*_#.~"
BEFORE = ("", " ", "\n")
ROUNDS = 3
MOST_JOINED = 64  # tokens between two borders


@dataclass
class Learner:
    """A portable tokenizer.json in the making. borders: pretoken -> its parts, in the byte alphabet."""

    spec: dict[str, Any]
    steps: list[dict[str, Any]]
    full: Tokenizer
    borders: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: dict[str, Any], base: PretokenSplitter, superwords: Sequence[Sequence[str]]) -> "Learner":
        """Without any borders. `spec`: the remapped tokenizer.json; `superwords`: the pretokens of each."""
        after = spec["pre_tokenizer"].get("pretokenizers", [spec["pre_tokenizer"]])
        full = for_text(Tokenizer.from_str(json.dumps(spec)))
        return cls(spec, portable_steps(after, base, superwords), full)

    def text(self) -> str:
        """The tokenizer.json as it is now."""
        steps = with_borders(self.steps, dict(sorted(self.borders.items())))
        spec = {**self.spec, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
        return json.dumps(spec, ensure_ascii=False, indent=2)

    def tokenizer(self) -> Tokenizer:
        """As the library loads it now."""
        return for_text(Tokenizer.from_str(self.text()))

    def learn(self, pretokens: Iterable[str]) -> None:
        """Give borders to those of these pretokens that need some."""
        mine, found = self.tokenizer(), dict(self.borders)
        for texts in text_chunks(pretokens):
            for ours, theirs in zip(encode(self.full, texts), encode(mine, texts), strict=True):
                if ours != theirs:
                    tokens = [str(self.full.id_to_token(token_id)) for token_id in ours]
                    found["".join(tokens)] = parts(tokens, self.full.model)
        self.borders = without_contradictions(found)


def parts(tokens: Sequence[str], model: Model) -> list[str]:
    """These tokens (byte alphabet), joined as far as the model by itself splits what is joined so.

    Not in repeats: those of one unit have the same tokens and different ends, so that they take less room by tokens.
    """
    found: list[str] = []
    begin = 0
    while begin < len(tokens):
        rest = "".join(tokens[begin:])
        end = begin + 1 if is_mostly_repeat(rest) else min(begin + MOST_JOINED, len(tokens))
        while end > begin + 1 and _split(model, tokens[begin:end]) != tokens[begin:end]:
            end -= 1
        found.append("".join(tokens[begin:end]))
        begin = end
    return found


def _split(model: Model, tokens: Sequence[str]) -> list[str]:
    return [piece.value for piece in model.tokenize("".join(tokens))]


def different(learner: Learner, documents: Iterable[str], on_bytes: Callable[[int], None]) -> tuple[int, list[str]]:
    """(documents compared, those that the two encode otherwise)."""
    mine, count, found = learner.tokenizer(), 0, []
    for texts in text_chunks(documents):
        for text, ours, theirs in zip(texts, encode(learner.full, texts), encode(mine, texts), strict=True):
            count += 1
            on_bytes(len(text.encode()))
            if ours != theirs:
                found.append(text)
    return count, found


def repeats(bpe: ByteLevelBpe) -> Iterator[str]:
    """Short repeats of every unit that merges with itself, alone, behind a blank and behind a line end."""
    for unit, _ in self_merging_units(bpe):
        text = text_of(unit)
        limit = LONGEST_BLANKS if text in RULES else LONGEST_REPEAT
        for count in range(SHORTEST, max(SHORTEST, limit // len(unit)) + 1):
            yield from (before + text * count for before in BEFORE)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each."""
    return [found.ids for found in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
