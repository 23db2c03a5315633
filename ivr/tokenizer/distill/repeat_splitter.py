"""Pretokens with repeats, and where the pre-tokenizer splits them: the pattern, and what it learns from them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import regex
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.console import LOG
from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.repeats.character_classes import piece_classes, whole_pretokens
from ivr.tokenizer.repeats.contexts import Contexts
from ivr.tokenizer.repeats.pattern import cutting_pattern
from ivr.tokenizer.repeats.tables import SHORTEST, RepeatEncoder, RepeatTable, tabulate

LEARNING_ROUNDS = 6
CONTINUATIONS = frozenset(bytes([byte]) for byte in range(0x80, 0xC0))  # of UTF-8
MOST_SPLIT_INTO_TOKENS = 100  # pretokens that neither scores nor tables of repeats make right


class RepeatStrings(NamedTuple):
    """Distinct pretokens with repeats; contexts are learnt from all of them."""

    fitted: Sequence[str]  # to be right in the end
    optional: Sequence[str] = ()  # scores are fitted to these as long as a file holds them
    no_scores: Sequence[str] = ()  # no scores are fitted to these


class RepeatSplitter:
    """The pattern of one BPE, the contexts it was made of, and the pieces it makes of some pretokens with repeats."""

    def __init__(
        self, splitter: PretokenSplitter, fitter: TextFitter, contexts: Sequence[Contexts], strings: RepeatStrings
    ) -> None:
        """contexts: of every unit, with what `families` found of them. Tabulates them and splits the strings."""
        self.contexts = list(contexts)
        self._unigram, self._tokens = fitter.unigram, fitter.tokens
        self._bpe = RepeatEncoder(fitter.encoder, np.array([len(token) for token in fitter.tokens], np.int64))
        self._classes = piece_classes(splitter.all_classes) if splitter.is_gpt2 else whole_pretokens()
        self._num_fitted = len(set(strings.fitted))
        self._num_scored = len({*strings.fitted, *strings.optional})
        self._pretokens = [*dict.fromkeys(itertools.chain(*strings))]
        self._truth = fitter.encoder.encode(Batch.of([pretoken.encode() for pretoken in self._pretokens]))
        self._texts = [to_alphabet(pretoken.encode()) for pretoken in self._pretokens]
        self._tables: dict[Contexts, RepeatTable] = {}
        self._pieces: list[list[bytes]] = [[] for _ in self._texts]
        self._tokenized: list[list[str]] = []
        self._tabulate()

    @property
    def pieces(self) -> Iterator[bytes]:
        """What the pattern leaves of the pretokens that are to be right."""
        return itertools.chain.from_iterable(self._pieces[: self._num_fitted])

    @property
    def optional_pieces(self) -> Iterator[bytes]:
        """What it leaves of the optional ones."""
        return itertools.chain.from_iterable(self._pieces[self._num_fitted : self._num_scored])

    def learn(self, scores_V: np.ndarray | None = None) -> bool:
        """Extend the contexts of what is wrong, until nothing is or nothing changes; whether the pattern did.

        scores_V: int64, under which a pretoken is wrong that is encoded unlike BPE. Without scores one is wrong that is
        split where BPE has no border, or not at its first border in a repeat. Scores could often do what a split point
        does not. But they would be raised for it: `21000` asks `1000` to be worth less than `000`, which `1000` by
        itself does not bear.
        """
        before: list[str] | None = None
        for turn in range(LEARNING_ROUNDS):
            wrong = self.missplit() if scores_V is None else self._differing(scores_V)
            LOG.info("repeats: %s of %s pretokens with some differ", f"{len(wrong):,}", f"{len(self._pretokens):,}")
            extended = [_extended(context, wrong) for context in self.contexts]
            if wrong == before or extended == self.contexts:
                return turn > 0
            before, self.contexts = wrong, extended
            self._tabulate()
        return True

    def split_into_tokens(self, scores_V: np.ndarray) -> bool:
        """Split the pretokens that still differ at each of their tokens; whether there are any, and not too many.

        Repeats of a unit that is no whole characters (`무너` within the bytes of `너무`) are split within a character.
        """
        wrong = self._differing(scores_V)
        if not 0 < len(wrong) <= MOST_SPLIT_INTO_TOKENS:
            return False
        row_of = {pretoken: row for row, pretoken in enumerate(self._pretokens)}
        rows = (self._truth.row(row_of[pretoken]).tolist() for pretoken in wrong)
        self._tokenized = [[to_alphabet(self._tokens[token_id]) for token_id in row] for row in rows]
        self._tabulate()
        return True

    def missplit(self) -> list[str]:
        """The pretokens with a split point where BPE has no border, or none at its first border in a repeat."""
        found = []
        for row, pretoken in enumerate(self._pretokens):
            borders = [*itertools.accumulate(self._bpe.token_lengths[self._truth.row(row)].tolist())]
            points = {*itertools.accumulate(map(len, self._pieces[row]))}
            if not points.issubset(borders):
                found.append(pretoken)
            elif len(points) < len(borders):
                text = to_alphabet(data := pretoken.encode())
                borders = [at for at in borders if data[at : at + 1] not in CONTINUATIONS]  # no piece ends elsewhere
                repeats = (repeat for context in self.contexts for repeat in _repeats(context.unit, text))
                firsts = (next((at for at in borders if start <= at < end), len(text)) for start, end in repeats)
                if not points.issuperset(firsts):
                    found.append(pretoken)
        return found

    def _differing(self, scores_V: np.ndarray) -> list[str]:
        """The pretokens to be scored that differ from BPE under these scores and the pattern as it is."""
        scored = self._pieces[: self._num_scored]
        batch = Batch.of([piece for pieces in scored for piece in pieces])
        found = self._unigram.with_scores(scores_V).encode(batch)
        ends = np.cumsum([len(pieces) for pieces in scored], dtype=np.int64)
        joined = Segmentations(found.ids, np.concatenate([[0], found.starts[ends]]))
        return [
            pretoken
            for row, pretoken in enumerate(self._pretokens[: self._num_scored])
            if not np.array_equal(joined.row(row), self._truth.row(row))
        ]

    def _tabulate(self) -> None:
        known, self._tables = self._tables, {}
        of_unit = {context.unit: table for context, table in known.items()}
        for context in self.contexts:
            same = known.get(context)
            self._tables[context] = same or tabulate(context, self._bpe, of_unit.get(context.unit))
        self.pattern = cutting_pattern([*self._tables.values()], self._classes, self._tokenized)
        split = Split(Regex(self.pattern or "."), "isolated")
        repeats = [SHORTEST * context.unit for context in self.contexts if context not in known]
        for row, text in enumerate(self._texts):
            if not known or self._tokenized or any(repeat in text for repeat in repeats):  # others are split as before
                self._pieces[row] = [from_alphabet(piece) for piece, _ in split.pre_tokenize_str(text)]


def _extended(context: Contexts, wrong: Sequence[str]) -> Contexts:
    for text in (to_alphabet(text.encode()) for text in wrong):
        for start, end in _repeats(context.unit, text):
            context = context.extended(text[:start], text[end:])
    return context


def _repeats(unit: str, text: str) -> list[tuple[int, int]]:
    """(start, end) of every repeat of so many units that scores cannot order; both in the byte alphabet.

    >>> _repeats("s", "essssosss")
    [(1, 5), (6, 9)]
    """
    if SHORTEST * unit not in text:
        return []
    return [found.span() for found in regex.finditer(f"(?:{regex.escape(unit)}){{{SHORTEST},}}", text)]
