"""Fitting scores and run rules together: scores for what scores can order, cuts for runs.

1. fit bonuses to every distinct pretoken and token (`merge_weights`), beside constraints that make parts of the
   vocabulary right on every string (`closed_subsets`);
2. tabulate the runs of every self-merging unit and cut them in the pre-tokenizer (`tables`); where a pretoken of the
   corpus still differs, look one character further to both sides of its runs, and tabulate again;
3. fit bonuses again, now to the pieces.
"""

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import regex
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.console import LOG
from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.encoding.text.missing_bytes import dropping, without
from ivr.encoding.tokenizer_steps import steps
from ivr.tokenizer.distill.taken_whole import Inside, learn_splits, patterns, strings_of, with_whole_scores
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.neighbour_strings import neighbour_strings, strings_between_parts
from ivr.tokenizer.fit.strings import (
    other_forms,
    pretokens_with_runs,
    short_numbers,
    single_pretokens,
    sparse_numbers,
)
from ivr.tokenizer.fit.windows import in_windows
from ivr.tokenizer.proof.closure import Attempt, Proof, attempt
from ivr.tokenizer.repeats.alphabet_contexts import small_alphabets, with_alphabets, with_letters, with_numerals
from ivr.tokenizer.repeats.character_classes import piece_classes, whole_pretokens
from ivr.tokenizer.repeats.part_contexts import Characters, with_characters, with_prefix_blank
from ivr.tokenizer.repeats.pattern import cutting_pattern
from ivr.tokenizer.repeats.tables import SHORTEST, Contexts, RunTable, initial_contexts, tabulate, text_of
from ivr.tokenizer.repeats.vocabulary_contexts import seen_marks, with_marks, with_own_parts, with_words
from ivr.tokenizer.scores.merge_weights import Fit
from ivr.tokenizer.unigram_file import unigram_tokenizer

LEARNING_ROUNDS = 6
FITTING_ROUNDS = 3
CONTINUATIONS = frozenset(bytes([byte]) for byte in range(0x80, 0xC0))  # of UTF-8
MOST_CUT_INTO_TOKENS = 100  # pretokens that neither scores nor tables of runs make right
OFTEN = 50  # distinct pretokens that hold two marks in a row, for these to be tried beside runs


@dataclass(frozen=True)
class Distillation:
    """A fitted Unigram tokenizer and how it came about."""

    tokenizer: Tokenizer
    fit: Fit
    units: int  # self-merging units whose runs are cut
    contexts: int  # neighbours tabulated for them
    numbers_fitted: bool
    exponent: float  # of the prior
    universal: Attempt  # to be right on every string
    proofs: Sequence[Proof]  # what strings it is right on in any case
    inside: Sequence[Inside] = ()  # where pretokens are split that hold a token which is taken whole alone


def distill(base: Tokenizer, bpe: ByteLevelBpe, pretokens: Sequence[str], exponent: float) -> Distillation:
    """The Unigram tokenizer for `base`, fitted to these distinct pretokens, every token, and short numbers.

    Very long pretokens are fitted in windows; the certificate compares them whole.
    """
    fitter = TextFitter(bpe, exponent)
    pretokens = _merged(pretokens, bpe)
    inside = learn_splits(bpe, fitter.encoder, np.array([len(token) for token in fitter.tokens]), pretokens)
    pretokens = in_windows(pretokens, fitter.encoder, np.array([len(token) for token in fitter.tokens], np.int64))
    splitter = PretokenSplitter(base)
    numbers = single_pretokens(short_numbers(), splitter)
    contexts = initial_contexts(bpe, splitter)
    characters = Characters(splitter, fitter.encoder)
    texts = [*pretokens, *single_pretokens(other_forms(pretokens, fitter.tokens), splitter)]
    names = _inside_pretokens(fitter.names, splitter)
    texts += neighbour_strings(names, contexts, splitter, characters)
    numbers_with_runs = pretokens_with_runs(numbers, contexts)
    with_runs = pretokens_with_runs([*texts, *_token_pretokens(fitter.tokens, splitter)], contexts)
    # whole runs would ask for scores that no cut run needs, and that can outgrow what a file holds exactly
    runs = {*with_runs, *numbers_with_runs}
    plain, plain_numbers = (_encoded(text for text in some if text not in runs) for some in (texts, numbers))
    sparse = pretokens_with_runs(single_pretokens(sparse_numbers(), splitter), contexts)
    cutter = _Cutter(splitter, fitter, names, characters, contexts, pretokens, with_runs, numbers_with_runs, sparse)
    cutter.learn_cuts()
    between = strings_between_parts(contexts, characters, blanks=splitter.adds_prefix_space)
    fitter.take(plain, itertools.chain(plain_numbers, cutter.other_pieces), between)
    fitted = fitter.fit(cutter.pieces)
    for _ in range(FITTING_ROUNDS):
        if not cutter.learn(fitted.scores_V):
            break
        fitted = fitter.fit(cutter.pieces)
    if cutter.cut_into_tokens(fitted.scores_V):
        fitted = fitter.fit(cutter.pieces)
    fitted, universal = attempt(bpe, fitter.prior_R, fitted, lambda known: fitter.fit_beside(cutter.pieces, known))
    return Distillation(
        tokenizer=cut_tokenizer(base, bpe, fitted.scores_V, cutter.pattern, inside),
        fit=fitted,
        units=len(cutter.contexts),
        contexts=sum(len(context.lefts) + len(context.rights) for context in cutter.contexts),
        numbers_fitted=fitter.optional_fitted,
        exponent=fitter.exponent,
        universal=universal,
        # a proof knows of the merges alone, in the order in which they stand
        proofs=() if bpe.whole_ids or bpe.applied_R is not None else _proofs(universal, fitter, fitted),
        inside=inside,
    )


def _merged(pretokens: Sequence[str], bpe: ByteLevelBpe) -> Sequence[str]:
    """What merges are applied to: the pretokens without bytes that have no id, less those that are taken whole."""
    if not (bpe.missing or bpe.whole_ids):
        return pretokens
    whole = {token.decode(errors="replace") for token in strings_of(bpe).values()}
    left = (without(text, bpe.missing) for text in pretokens)
    return [text for text in dict.fromkeys(filter(None, left)) if text not in whole]


def _proofs(universal: Attempt, fitter: TextFitter, fitted: Fit) -> Sequence[Proof]:
    return [universal.proof] if universal.proof else fitter.proofs(fitted)


class _Cutter:
    """The run rules of one BPE, the contexts learnt for them, and what they make of some pretokens with runs."""

    def __init__(
        self,
        splitter: PretokenSplitter,
        fitter: TextFitter,
        names: Sequence[str],
        characters: Characters,
        contexts: Sequence[Contexts],
        text: Sequence[str],
        with_runs: Sequence[str],
        only_cut: Sequence[str],
        only_learnt: Sequence[str] = (),
    ) -> None:
        """`names`: tokens that pretokens can hold, in the byte alphabet.

        `text`: the distinct pretokens; `with_runs`: what is fitted of these and others.

        `only_cut`: contexts are learnt from these too, but they need not be right in the end. `only_learnt`: no scores
        are fitted to these.
        """
        self._encoder, self._unigram, self._tokens = fitter.encoder, fitter.unigram, fitter.tokens
        self._num_fitted, self._num_scored = len(set(with_runs)), len({*with_runs, *only_cut})
        self._pretokens = [*dict.fromkeys([*with_runs, *only_cut, *only_learnt])]
        self._lengths = np.array([len(token) for token in fitter.tokens])
        bpe_of = (fitter.encoder, self._lengths)
        contexts = [with_characters(context, characters, *bpe_of) for context in contexts]
        contexts = [with_prefix_blank(context, characters, *bpe_of) for context in contexts]
        contexts = [with_words(context, names, *bpe_of) for context in contexts]
        marks, alphabets = seen_marks(text, OFTEN), small_alphabets(text)
        contexts = [with_marks(context, marks, set(names), *bpe_of) for context in contexts]
        contexts = [with_own_parts(context, *bpe_of) for context in contexts]
        contexts = [with_numerals(context, *bpe_of) for context in contexts]
        contexts = [with_letters(context, *bpe_of) for context in contexts]
        self.contexts = [with_alphabets(context, alphabets, *bpe_of) for context in contexts]
        self._classes = piece_classes(splitter.all_classes) if splitter.is_gpt2 else whole_pretokens()
        self._truth = fitter.encoder.encode(Batch.of([*_encoded(self._pretokens)]))
        self._texts = [to_alphabet(pretoken.encode()) for pretoken in self._pretokens]
        self._tables: dict[Contexts, RunTable] = {}
        self._pieces: list[list[bytes]] = [[] for _ in self._texts]
        self._tokenized: list[list[str]] = []
        self._tabulate()

    def learn_cuts(self) -> None:
        """Extend the contexts until every run is cut where BPE does, or no more can be.

        Scores could often do what a cut does not. But they would be raised for it: `21000` asks `1000` to be worth less
        than `000`, which `1000` by itself does not bear.
        """
        before: list[str] = []
        for _ in range(LEARNING_ROUNDS):
            wrong = self._miscut()
            LOG.info("run rules: %s of %s pretokens are cut elsewhere", f"{len(wrong):,}", f"{len(self._pretokens):,}")
            extended = [_extended(context, wrong) for context in self.contexts]
            if wrong == before or extended == self.contexts:
                return
            before = wrong
            self.contexts = extended
            self._tabulate()

    def _miscut(self) -> list[str]:
        """The pretokens with a cut where BPE has no border, or none at its first border in a run."""
        found = []
        for row, pretoken in enumerate(self._pretokens):
            borders = [*itertools.accumulate(self._lengths[self._truth.row(row)].tolist())]
            cuts = {*itertools.accumulate(map(len, self._pieces[row]))}
            if not cuts.issubset(borders):
                found.append(pretoken)
            elif len(cuts) < len(borders):
                text = to_alphabet(data := pretoken.encode())
                borders = [at for at in borders if data[at : at + 1] not in CONTINUATIONS]  # no piece ends elsewhere
                runs = (run for context in self.contexts for run in _runs(context.unit, text))
                firsts = (next((at for at in borders if start <= at < end), len(text)) for start, end in runs)
                if not cuts.issuperset(firsts):
                    found.append(pretoken)
        return found

    def learn(self, scores_V: np.ndarray) -> bool:
        """Extend the contexts until no pretoken differs under these scores, or none can be; whether any was."""
        for turn in range(LEARNING_ROUNDS):
            wrong = self._wrong(scores_V)
            LOG.info("run rules: %s of %s pretokens with runs differ", f"{len(wrong):,}", f"{self._num_scored:,}")
            extended = [_extended(context, wrong) for context in self.contexts]
            if extended == self.contexts:
                return turn > 0
            self.contexts = extended
            self._tabulate()
        return True

    def cut_into_tokens(self, scores_V: np.ndarray) -> bool:
        """Cut the pretokens that still differ at each of their tokens; whether there are any, and not too many.

        Runs of a unit that is no whole characters (`무너` within the bytes of `너무`) would be cut within a character.
        """
        wrong = self._wrong(scores_V)
        if not 0 < len(wrong) <= MOST_CUT_INTO_TOKENS:
            return False
        row_of = {pretoken: row for row, pretoken in enumerate(self._pretokens)}
        rows = (self._truth.row(row_of[pretoken]).tolist() for pretoken in wrong)
        self._tokenized = [[to_alphabet(self._tokens[token_id]) for token_id in row] for row in rows]
        self._tabulate()
        return True

    def _wrong(self, scores_V: np.ndarray) -> list[str]:
        """The pretokens that differ from BPE under these scores and the current rules."""
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

    @property
    def pieces(self) -> Iterator[bytes]:
        """What the current rules leave of the pretokens, less those that are only cut."""
        return itertools.chain.from_iterable(self._pieces[: self._num_fitted])

    @property
    def other_pieces(self) -> Iterator[bytes]:
        """What they leave of those."""
        return itertools.chain.from_iterable(self._pieces[self._num_fitted : self._num_scored])

    def _tabulate(self) -> None:
        known, self._tables = self._tables, {}
        of_unit = {context.unit: table for context, table in known.items()}
        for context in self.contexts:
            same = known.get(context)
            self._tables[context] = same or tabulate(context, self._encoder, self._lengths, of_unit.get(context.unit))
        self.pattern = cutting_pattern([*self._tables.values()], self._classes, self._tokenized)
        cut = Split(Regex(self.pattern or "."), "isolated")
        runs = [SHORTEST * context.unit for context in self.contexts if context not in known]
        for row, text in enumerate(self._texts):
            if not known or self._tokenized or any(run in text for run in runs):  # others are cut as before
                self._pieces[row] = [from_alphabet(piece) for piece, _ in cut.pre_tokenize_str(text)]


def _encoded(texts: Iterable[str]) -> Iterator[bytes]:
    return (text.encode() for text in texts)


def _inside_pretokens(names: Sequence[str], splitter: PretokenSplitter) -> list[str]:
    """Those of these tokens (byte alphabet) that a pretoken can hold; part of a character may be in one.

    The rules for runs look at what stands before and behind: a token that is split, such as blanks with a letter, would
    be looked for across the border of a pretoken.
    """
    texts = [text_of(name) for name in names]
    return [
        name
        for name, text, pieces in zip(names, texts, splitter.lists(texts), strict=True)
        if not text or len(pieces) == 1
    ]


def _token_pretokens(tokens: Sequence[bytes], splitter: PretokenSplitter) -> list[str]:
    """The tokens that are text and one pretoken by themselves: each must be produced for its own string."""
    texts = []
    for token in tokens:
        with contextlib.suppress(UnicodeDecodeError):
            texts.append(token.decode("utf-8"))
    return single_pretokens(texts, splitter)


def cut_tokenizer(
    base: Tokenizer, bpe: ByteLevelBpe, scores_V: np.ndarray, pattern: str, inside: Sequence[Inside] = ()
) -> Tokenizer:
    """The Unigram tokenizer that splits by `pattern`, over the byte alphabet: in place of GPT-2's own pattern, or what
    another pre-tokenizer leaves.

    `inside`: where pretokens are split before that which hold a token that is taken whole alone.
    """
    scores_V = with_whole_scores(bpe, scores_V)
    spec = json.loads(unigram_tokenizer(base, bpe.tokens, scores_V, sorted(bpe.unmade_ids - bpe.whole_ids)).to_str())
    spec = dropping(spec, bpe.missing)
    before = steps(spec["pre_tokenizer"], "pretokenizers")
    if PretokenSplitter(base).is_gpt2:
        # the whole text is mapped first and split then: half the work of mapping piece by piece
        before = [{**before[0], "use_regex": False}]
    isolated = {"behavior": "Isolated", "invert": False}
    splits = [{"type": "Split", "pattern": {"Regex": each}, **isolated} for each in patterns(pattern, inside)]
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*before, *splits]}
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))


def _extended(context: Contexts, wrong: Sequence[str]) -> Contexts:
    for text in (to_alphabet(text.encode()) for text in wrong):
        for start, end in _runs(context.unit, text):
            context = context.extended(text[:start], text[end:])
    return context


def _runs(unit: str, text: str) -> list[tuple[int, int]]:
    """(start, end) of every run of so many units that scores cannot order; both in the byte alphabet."""
    if SHORTEST * unit not in text:
        return []
    return [found.span() for found in regex.finditer(f"(?:{regex.escape(unit)}){{{SHORTEST},}}", text)]
