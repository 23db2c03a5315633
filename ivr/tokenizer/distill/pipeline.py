"""Fitting scores and split points together: scores for what scores can order, split points for repeats.

1. find the contexts that decide how BPE splits repeats (`families`), tabulate them and split there in the
   pre-tokenizer (`RepeatSplitter`); where a pretoken is still split wrongly, look one character further to both sides;
2. fit merge weights to every distinct pretoken, every token and the pieces, beside constraints that make parts of the
   vocabulary right on every string (`TextFitter`);
3. where a pretoken with repeats still differs, repeat both.
"""

import contextlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.text.missing_bytes import dropping, without
from ivr.encoding.tokenizer_steps import steps
from ivr.tokenizer.distill.repeat_splitter import RepeatSplitter, RepeatStrings
from ivr.tokenizer.distill.taken_whole import Inside, learn_splits, patterns, strings_of, with_whole_scores
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.neighbour_strings import neighbour_strings, strings_between_parts
from ivr.tokenizer.fit.strings import (
    each_single_pretoken,
    in_one_array,
    other_forms,
    pretokens_with_repeats,
    rows_with_repeats,
    short_numbers,
    single_pretokens,
    sparse_numbers,
)
from ivr.tokenizer.fit.windows import in_windows
from ivr.tokenizer.proof.closure import Attempt, Proof, attempt, is_provable
from ivr.tokenizer.repeats.characters import Characters
from ivr.tokenizer.repeats.families import Sources, families_of, refine
from ivr.tokenizer.repeats.shown import seen_marks
from ivr.tokenizer.repeats.tables import RepeatEncoder, initial_contexts, text_of
from ivr.tokenizer.scores.merge_weights import Fit
from ivr.tokenizer.unigram_file import unigram_tokenizer

FITTING_ROUNDS = 3


@dataclass(frozen=True)
class Distillation:
    """A fitted Unigram tokenizer and how it came about."""

    tokenizer: Tokenizer
    fit: Fit
    units: int  # self-merging units whose repeats are cut
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
    fitted, pattern, described = _fitted(base, bpe, pretokens, exponent)
    # by now the strings are gone that it was fitted to: of a large corpus a gigabyte, and the file needs room, too
    tokenizer = cut_tokenizer(base, bpe, fitted.scores_V, pattern, described.keywords["inside"])
    return described(tokenizer=tokenizer, fit=fitted)


def _fitted(
    base: Tokenizer, bpe: ByteLevelBpe, pretokens: Sequence[str], exponent: float
) -> tuple[Fit, str, partial[Distillation]]:
    """(the scores, the pattern that splits repeats, all else that is told)."""
    splitter = PretokenSplitter(base)
    fitter = TextFitter(bpe, exponent, splitter)
    pretokens = _merged(pretokens, bpe)
    inside = learn_splits(bpe, fitter.encoder, np.array([len(token) for token in fitter.tokens]), pretokens)
    characters = Characters(splitter, fitter.encoder)
    pretokens = in_windows(pretokens, fitter.encoder, np.array([len(token) for token in fitter.tokens], np.int64))
    names = _inside_pretokens(fitter.names, splitter)
    contexts = initial_contexts(bpe, splitter)
    forms = each_single_pretoken(other_forms(pretokens, fitter.tokens), splitter)
    texts = in_one_array(itertools.chain(pretokens, forms, neighbour_strings(names, contexts, splitter, characters)))
    numbers = single_pretokens(short_numbers(), splitter)
    rows = rows_with_repeats(texts, contexts)
    of_tokens = pretokens_with_repeats(_token_pretokens(fitter.tokens, splitter), contexts)
    strings = RepeatStrings(
        fitted=[*(texts.string(row).decode() for row in rows.tolist()), *of_tokens],
        optional=pretokens_with_repeats(numbers, contexts),
        no_scores=pretokens_with_repeats(single_pretokens(sparse_numbers(), splitter), contexts),
    )
    sources = Sources(RepeatEncoder.of(bpe, fitter.encoder), characters, names, seen_marks(pretokens))
    families = families_of(pretokens)
    refined = [refine(context, families, sources) for context in contexts]
    repeats = RepeatSplitter(splitter, fitter, refined, strings)
    repeats.learn()
    # whole repeats would ask for scores that no split one needs, and that can outgrow what a file holds exactly
    texts = texts.select(np.setdiff1d(np.arange(len(texts)), rows))
    whole = set(strings.optional)
    plain_numbers = (text.encode() for text in numbers if text not in whole)
    between = strings_between_parts(contexts, characters, blanks=splitter.adds_prefix_space)
    fitter.take(texts, itertools.chain(plain_numbers, repeats.optional_pieces), between)
    del texts  # the fitter's own from here on
    fitted = _fit(fitter, repeats)
    fitted, universal = attempt(bpe, fitter.prior_R, fitted, lambda known: fitter.fit_beside(repeats.pieces, known))
    described = partial(
        Distillation,
        units=len(repeats.contexts),
        contexts=sum(len(context.lefts) + len(context.rights) for context in repeats.contexts),
        numbers_fitted=fitter.plan.numbers,
        exponent=fitter.plan.exponent,
        universal=universal,
        proofs=_proofs(universal, fitter, fitted) if is_provable(bpe) else (),
        inside=inside,
    )
    return fitted, repeats.pattern, described


def _merged(pretokens: Sequence[str], bpe: ByteLevelBpe) -> Sequence[str]:
    """What merges are applied to: the pretokens without bytes that have no id, less those that are taken whole."""
    if not (bpe.missing or bpe.whole_ids):
        return pretokens
    whole = {token.decode(errors="replace") for token in strings_of(bpe).values()}
    left = (without(text, bpe.missing) for text in pretokens)
    return [text for text in dict.fromkeys(filter(None, left)) if text not in whole]


def _proofs(universal: Attempt, fitter: TextFitter, fitted: Fit) -> Sequence[Proof]:
    return [universal.proof] if universal.proof else fitter.proofs(fitted)


def _fit(fitter: TextFitter, repeats: RepeatSplitter) -> Fit:
    """Scores for all strings, and for the pieces of those with repeats, in turns with where these are split."""
    fitted = fitter.fit(repeats.pieces)
    for _ in range(FITTING_ROUNDS):
        if not repeats.learn(fitted.scores_V):
            break
        fitted = fitter.fit(repeats.pieces)
    return fitter.fit(repeats.pieces) if repeats.split_into_tokens(fitted.scores_V) else fitted


def _inside_pretokens(names: Sequence[str], splitter: PretokenSplitter) -> list[str]:
    """Those of these tokens (byte alphabet) that a pretoken can hold; part of a character may be in one.

    The rules for repeats look at what stands before and behind: a token that is split, such as blanks with a letter,
    would be looked for across the border of a pretoken.
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
