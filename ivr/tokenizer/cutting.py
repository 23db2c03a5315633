"""Fitting scores and run rules together: scores for what scores can order, cuts for runs.

1. fit bonuses to every distinct pretoken and token (`bonuses`), beside constraints that make parts of the vocabulary
   right on every string (`closed_parts`);
2. tabulate the runs of every self-merging unit and cut them in the pre-tokenizer (`run_rules`); where a pretoken of the
   corpus still differs, look one character further to both sides of its runs, and tabulate again;
3. fit bonuses again, now to the pieces.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter, pretoken_encoder
from ivr.console import LOG
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.bonuses import Constraints, Fit, ScoresTooLarge, fit, prior_bonuses
from ivr.tokenizer.closed_parts import closed_parts
from ivr.tokenizer.neighbour_strings import neighbour_strings
from ivr.tokenizer.piece_classes import piece_classes
from ivr.tokenizer.run_neighbours import with_words
from ivr.tokenizer.run_pattern import cutting_pattern
from ivr.tokenizer.run_rules import SHORTEST, Contexts, RunTable, initial_contexts, tabulate, text_of
from ivr.tokenizer.unigram_file import unigram_tokenizer
from ivr.tokenizer.universal import Attempt, attempt, is_attempted

LEARNING_ROUNDS = 6
FITTING_ROUNDS = 3
EXPONENT_STEP = 0.4  # by which the prior is flattened where scores outgrow the file
SMALLEST_EXPONENT = 3.0
DIGITS = 5  # every number of up to so many digits is fitted: few corpora hold them all


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


def distill(base: Tokenizer, bpe: ByteLevelBpe, pretokens: Sequence[str], exponent: float) -> Distillation:
    """The Unigram tokenizer for `base`, fitted to these distinct pretokens, every token, and short numbers."""
    fitter = _Fitter(bpe, exponent)
    splitter = PretokenSplitter(base)
    cutter = _Cutter(base, bpe, fitter, splitter) if splitter.is_gpt2 else None
    texts = [*pretokens, *other_forms(pretokens, fitter.tokens)]
    texts += neighbour_strings(fitter.names, cutter.contexts if cutter else [], splitter)
    strings = {text.encode() for text in texts}
    if cutter is None:
        # the rules extend GPT-2's own pattern; another pattern keeps its runs, and the certificate names them
        LOG.info("runs are not cut: the pre-tokenizer is not GPT-2's own pattern")
        first = fitter.fit(strings)
        first, universal = attempt(bpe, fitter.prior_R, first, lambda known: fitter.fit_beside(strings, known))
        tokenizer = unigram_tokenizer(base, bpe.tokens, first.scores_V, sorted(bpe.special_ids))
        return Distillation(tokenizer, first, 0, 0, fitter.numbers_fitted, fitter.exponent, universal)
    with_runs = pretokens_with_runs([*texts, *_token_pretokens(fitter.tokens, splitter)], cutter.contexts)
    others = strings - {text.encode() for text in with_runs}
    # whole runs would ask for scores that no cut run needs, and that can outgrow what a file holds exactly
    fitted = fitter.fit(others | cutter.pieces(with_runs))
    for _ in range(FITTING_ROUNDS):
        cutter.learn(fitted.scores_V, with_runs)
        # afresh: what whole runs asked of the scores is not needed any more
        fitted = fitter.fit(others | cutter.pieces(with_runs))
        if not cutter.wrong(fitted.scores_V, with_runs):
            break
    pieces = others | cutter.pieces(with_runs)
    fitted, universal = attempt(bpe, fitter.prior_R, fitted, lambda known: fitter.fit_beside(pieces, known))
    return Distillation(
        tokenizer=cut_tokenizer(base, bpe, fitted.scores_V, cutter.pattern),
        fit=fitted,
        units=len(cutter.contexts),
        contexts=sum(len(context.lefts) + len(context.rights) for context in cutter.contexts),
        numbers_fitted=fitter.numbers_fitted,
        exponent=fitter.exponent,
        universal=universal,
    )


class _Cutter:
    """The run rules of one BPE, and the contexts learnt for them."""

    def __init__(self, base: Tokenizer, bpe: ByteLevelBpe, fitter: "_Fitter", splitter: PretokenSplitter) -> None:
        self._base, self._bpe, self._fitter, self._splitter = base, bpe, fitter, splitter
        lengths = np.array([len(token) for token in fitter.tokens])
        self.contexts = [
            with_words(context, fitter.names, fitter.encoder, lengths) for context in initial_contexts(bpe, splitter)
        ]
        self._classes = piece_classes(splitter.all_classes)
        self._tables: dict[Contexts, RunTable] = {}
        self.pattern = ""
        self._tabulate()

    def learn(self, scores_V: np.ndarray, pretokens: Sequence[str]) -> None:
        """Extend the contexts until no pretoken differs under these scores, or none can be extended."""
        for _ in range(LEARNING_ROUNDS):
            wrong = self.wrong(scores_V, pretokens)
            LOG.info("run rules: %s of %s pretokens with runs differ", f"{len(wrong):,}", f"{len(pretokens):,}")
            extended = [_extended(context, wrong) for context in self.contexts]
            if extended == self.contexts:
                return
            self.contexts = extended
            self._tabulate()

    def wrong(self, scores_V: np.ndarray, pretokens: Sequence[str]) -> list[str]:
        """The pretokens that differ from BPE under these scores and the current rules."""
        tokenizer = cut_tokenizer(self._base, self._bpe, scores_V, self.pattern)
        return _wrong(tokenizer, pretokens, self._fitter.encoder)

    def pieces(self, pretokens: Sequence[str]) -> set[bytes]:
        """The pieces that the current rules leave of these pretokens."""
        cut = Split(Regex(self.pattern), "isolated")
        texts = (to_alphabet(text.encode()) for text in pretokens)
        return {from_alphabet(piece) for text in texts for piece, _ in cut.pre_tokenize_str(text)}

    def _tabulate(self) -> None:
        fitter, known = self._fitter, self._tables
        lengths = np.array([len(token) for token in fitter.tokens])
        self._tables = {c: known.get(c) or tabulate(c, fitter.encoder, lengths) for c in self.contexts}
        self.pattern = cutting_pattern(list(self._tables.values()), self._classes)


def _token_pretokens(tokens: Sequence[bytes], splitter: PretokenSplitter) -> list[str]:
    """The tokens that are text and one pretoken by themselves: each must be produced for its own string."""
    texts = []
    for token in tokens:
        with contextlib.suppress(UnicodeDecodeError):
            texts.append(token.decode("utf-8"))
    return [text for text, pieces in zip(texts, splitter.lists(texts), strict=True) if len(pieces) == 1]


class _Fitter:
    """Fits bonuses of one BPE to sets of strings; every token, and every short number, is always among them."""

    def __init__(self, bpe: ByteLevelBpe, exponent: float) -> None:
        self._bpe, self.exponent = bpe, exponent
        self.tokens = bpe.token_bytes()
        self.names = [name for token_id, name in enumerate(bpe.tokens) if token_id not in bpe.special_ids]
        self.encoder = BpeEncoder(bpe)
        self._unigram = UnigramEncoder(self.tokens, np.zeros(bpe.num_ids, np.int64))
        self.numbers_fitted = True
        self._closed = self._close()

    @property
    def prior_R(self) -> np.ndarray:
        return prior_bonuses(len(self._bpe.merges_R3), self.exponent)

    def fit(self, strings: set[bytes]) -> Fit:
        """Scores for these strings, from the steepest prior that leaves them room in a file."""
        while True:
            try:
                return self.fit_beside(strings, self._closed)
            except ScoresTooLarge as error:
                lower = max(self.exponent - EXPONENT_STEP, SMALLEST_EXPONENT)
                if lower < self.exponent:
                    LOG.info("%s; trying %.3g", error, lower)
                    self.exponent = lower
                    self._closed = self._close()
                elif self.numbers_fitted:
                    LOG.warning("short numbers beyond the corpus are not fitted: %s", error)
                    self.numbers_fitted = False
                else:
                    raise

    def fit_beside(self, strings: set[bytes], constraints: Constraints) -> Fit:
        """The same with these constraints besides, from the prior as it is."""
        numbers = short_numbers() if self.numbers_fitted else set()
        batch = Batch.of(sorted({*strings, *filter(None, self.tokens), *numbers}))
        truth = self.encoder.encode(batch)
        return fit(self._bpe, self._unigram, batch, truth, self.exponent, constraints.copy())

    def _close(self) -> Constraints:
        if is_attempted(self._bpe):
            return Constraints()  # all merges are closed later
        return closed_parts(self._bpe, self.prior_R)


def short_numbers() -> set[bytes]:
    """Every string of 1 to DIGITS digits, alone and after a blank."""
    numbers = {f"{number:0{size}}".encode() for size in range(1, DIGITS + 1) for number in range(10**size)}
    return numbers | {b" " + number for number in numbers}


def other_forms(pretokens: Sequence[str], tokens: Sequence[bytes]) -> list[str]:
    """Words of ASCII letters, of the text and of the vocabulary, in lower case, capitals and titled, with and without
    a blank: the likeliest strings that a text of another kind holds and these do not. None holds a run.
    """
    words = {text.removeprefix(" ") for text in pretokens if text.isascii()}
    words |= {token.decode().removeprefix(" ") for token in tokens if token.isascii()}
    run = regex.compile(rf"(.)\1{{{SHORTEST - 1}}}", regex.DOTALL)
    words = {word for word in words if word.isalpha() and not run.search(word.lower())}
    forms = {form for word in words for form in (word, word.lower(), word.upper(), word.title())}
    return sorted(blank + form for form in forms for blank in ("", " "))


def pretokens_with_runs(pretokens: Sequence[str], contexts: Sequence[Contexts]) -> list[str]:
    """Those that hold three equal characters, or three equal longer units, in a row."""
    longer = "".join(f"|(?:{regex.escape(text_of(c.unit))}){{{SHORTEST}}}" for c in contexts if len(c.unit) > 1)
    run = regex.compile(rf"(.)\1{{{SHORTEST - 1}}}{longer}", regex.DOTALL)
    return [pretoken for pretoken in pretokens if run.search(pretoken)]


def cut_tokenizer(base: Tokenizer, bpe: ByteLevelBpe, scores_V: np.ndarray, pattern: str) -> Tokenizer:
    """The Unigram tokenizer that splits by `pattern`, over the byte alphabet, in place of GPT-2's own pattern."""
    spec = json.loads(unigram_tokenizer(base, bpe.tokens, scores_V, sorted(bpe.special_ids)).to_str())
    byte_level = spec["pre_tokenizer"]
    if byte_level["type"] == "Sequence":
        (byte_level,) = byte_level["pretokenizers"]
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    # the whole text is mapped first and split then: half the work of mapping piece by piece
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{**byte_level, "use_regex": False}, split]}
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))


def _wrong(tokenizer: Tokenizer, pretokens: Sequence[str], encoder: BpeEncoder) -> list[str]:
    truth = encoder.encode(Batch.of([pretoken.encode() for pretoken in pretokens]))
    found = pretoken_encoder(tokenizer).encode_batch_fast(list(pretokens), add_special_tokens=False)
    return [
        pretoken
        for row, (pretoken, encoding) in enumerate(zip(pretokens, found, strict=True))
        if encoding.ids != truth.row(row).tolist()
    ]


def _extended(context: Contexts, wrong: Sequence[str]) -> Contexts:
    run = regex.compile(f"(?:{regex.escape(context.unit)}){{{SHORTEST},}}")
    for text in (to_alphabet(text.encode()) for text in wrong):
        for found in run.finditer(text):
            context = context.extended(text[: found.start()], text[found.end() :])
    return context
