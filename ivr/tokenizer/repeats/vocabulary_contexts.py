"""Longer neighbours of runs, drawn from the vocabulary: where one character beside a run does not decide.

` spectatorssss` is `Ġspectators`,`ss`,`s`, but `rssss` alone `r`,`ss`,`ss`: what BPE draws out of a run depends on how
the word before it was merged, and what follows a run on how the word after it will be. The words tried are the tokens
themselves, less the units at their border with a run. Of all beginnings (or ends) of these the shortest are kept that
tell them apart, so that the longest kept one that fits a text behaves as its word.
"""

import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

import numpy as np

from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.repeats.tables import LONGEST_CONTEXT, OTHER, SHORTEST, Contexts, continues, first_of_runs

PUNCTUATION = frozenset(string.punctuation)
LONGEST_MARKS = 3
LONGEST_RUN = 8  # beyond it the ends of a run no longer see one another
Part = Callable[[str, int], str]  # (text, size) -> the part of it that touches the run


def with_own_parts(contexts: Contexts, encoder: BpeEncoder, token_lengths: np.ndarray) -> Contexts:
    """These contexts with the unit's own ends before a run that a cut within a unit leaves there, and with its
    beginnings after one.

    Where `p` draws the `x` of `xyz`, the rest of the run begins with `yz`, which need not behave as `z` does.
    """
    unit, bpe_of = contexts.unit, (encoder, token_lengths)
    borders = [place for place in range(1, len(unit)) if not continues(unit[place])]
    if len(borders) < 2:
        return contexts  # such a part is one character, and known
    pairs = [(x, r) for x in sorted(contexts.lefts | {""}) for r in sorted(contexts.rights | {OTHER})]
    pairs += [(x, OTHER) for x in sorted(contexts.far_lefts)]
    cuts = {size % len(unit) for size in np.unique(first_of_runs(contexts, pairs, *bpe_of)).tolist() if size > 0}
    ends = [part for place in borders if place in cuts and _known(part := unit[place:], end, contexts.lefts)]
    begins = [part for place in borders if _known(part := unit[:place], begin, contexts.rights)]
    lefts = contexts.lefts | unlike(ends, contexts, contexts.rights | {OTHER}, *bpe_of, ends=True)
    contexts = replace(contexts, lefts=lefts)
    rights = contexts.rights | unlike(begins, contexts, contexts.lefts | {""}, *bpe_of, ends=False)
    return replace(contexts, rights=rights)


def with_words(contexts: Contexts, tokens: Sequence[str], encoder: BpeEncoder, token_lengths: np.ndarray) -> Contexts:
    """These contexts with the neighbours that tell apart what the tokens do beside a run of the unit.

    `tokens`: the model's, in the byte alphabet; `token_lengths`: int64 (V,), bytes of every token.
    """
    unit = contexts.unit
    tokens = [token for token in tokens if unit in token]
    lefts = {_without(token, unit, str.removesuffix) for token in tokens if token.endswith(unit)} - {"", "Ġ"}
    lefts |= {"Ġ" + text for text in lefts if not text.startswith("Ġ")}
    lefts = {text for text in lefts if end(text, 1) in contexts.lefts}
    words = {token.removeprefix("Ġ") for token in tokens}
    rights = {_without(word, unit, str.removeprefix) for word in words if word.startswith(unit)} - {""}
    rights = {text for text in rights if begin(text, 1) in contexts.rights}

    def behaviour(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return first_of_runs(contexts, pairs, encoder, token_lengths)[:, SHORTEST - 1 :]

    far_lefts = telling(lefts, contexts.lefts, end, lambda parts: behaviour([(part, "") for part in parts]))
    far_rights = telling(rights, contexts.rights, begin, lambda parts: behaviour([("", part) for part in parts]))
    return replace(contexts, far_lefts=frozenset(far_lefts), far_rights=frozenset(far_rights))


def with_marks(
    contexts: Contexts, seen: Set[str], merged: Set[str], encoder: BpeEncoder, token_lengths: np.ndarray
) -> Contexts:
    """For a unit of ASCII punctuation: these contexts with longer neighbours of punctuation, too.

    `,...]]` is `,...`,`]]`, but `,...]` is `,`,`...]`: marks stand on both sides of such runs in any order, so
    these are tried beside every one of the other side. Two in a row are tried where they are among the `seen`; a third
    beside those that tell, where it merges with the second (`merged`: the tokens).
    """
    if not PUNCTUATION.issuperset(contexts.unit):
        return contexts

    def near(known: frozenset[str], size: int, part: Part) -> list[str]:
        """Those of `size` marks to be tried."""
        shorter = [text for text in known if len(text) == size - 1]
        if size == 2:
            found = {text for text in seen if part(text, 1) in known}
        elif part is end:
            found = {mark + text for text in shorter for mark in PUNCTUATION if mark + text[0] in merged}
        else:
            found = {text + mark for text in shorter for mark in PUNCTUATION if text[-1] + mark in merged}
        return sorted(found - known)

    bpe_of = (encoder, token_lengths)
    for size in range(2, LONGEST_MARKS + 1):
        lefts, rights = contexts.lefts, contexts.rights
        rights |= unlike(near(rights, size, begin), contexts, lefts | {"", "Ġ"}, *bpe_of, ends=False)
        contexts = replace(contexts, rights=rights)
        lefts |= unlike(near(lefts, size, end), contexts, rights | {""}, *bpe_of, ends=True)
        contexts = replace(contexts, lefts=lefts)
    return contexts


def unlike(
    wanted: Sequence[str],
    contexts: Contexts,
    others: Iterable[str],
    encoder: BpeEncoder,
    token_lengths: np.ndarray,
    *,
    ends: bool,
) -> set[str]:
    """Of these left (`ends`) or right neighbours those that behave unlike the longest known one that fits them, beside
    one of the others on the other side.
    """
    if not wanted:
        return set()
    known, part, sides = (contexts.lefts, end, sorted(others)) if ends else (contexts.rights, begin, sorted(others))
    fits = {text: part(text, _longest(text, part, known)) for text in wanted}
    tried = sorted({*wanted, *fits.values()})
    pairs = [(text, other) if ends else (other, text) for text in tried for other in sides]
    rows = first_of_runs(contexts, pairs, encoder, token_lengths, LONGEST_RUN)[:, SHORTEST - 1 :]
    of = {text: row.tobytes() for text, row in zip(tried, rows.reshape(len(tried), -1), strict=True)}
    return {text for text in wanted if of[text] != of[fits[text]]}


def seen_marks(texts: Iterable[str], often: int) -> set[str]:
    """Two characters of ASCII punctuation in a row, in so many of the texts; and two brackets that close, always."""
    counts = Counter[str]()
    for text in texts:
        if not text.isalnum() and PUNCTUATION.issuperset(marks := text.removeprefix(" ")):
            counts.update({marks[at : at + 2] for at in range(len(marks) - 1)})
    return {marks for marks, count in counts.items() if count >= often} | {2 * bracket for bracket in ")]}>"}


def _without(text: str, unit: str, remove: Callable[[str, str], str]) -> str:
    while (shorter := remove(text, unit)) != text:
        text = shorter
    return text


def begin(text: str, size: int) -> str:
    return text[:size]


def end(text: str, size: int) -> str:
    return text[len(text) - size :]


def telling(
    texts: Iterable[str], known: Iterable[str], part: Part, behaviour: Callable[[Sequence[str]], np.ndarray]
) -> set[str]:
    """Parts of the texts, besides the known ones, so that the longest that fits a text behaves as the whole text.

    A known one fits each of the texts.
    """
    fitting, kept = set(known), set[str]()
    wanted = sorted(texts)
    of: dict[str, bytes] = {}

    def learn(parts: Iterable[str]) -> None:
        new = sorted({*parts} - of.keys())
        if new:
            of.update((text, row.tobytes()) for text, row in zip(new, behaviour(new), strict=True))

    learn(wanted)
    changed = True
    while changed:
        fits = {text: _longest(text, part, fitting) for text in wanted}
        learn(part(text, size) for text, size in fits.items())
        differ = [text for text in wanted if of[part(text, fits[text])] != of[text]]
        learn(part(text, size) for text in differ for size in _sizes(text) if size > fits[text])
        changed = False
        for text in differ:
            fit = _longest(text, part, fitting)
            if of[part(text, fit)] == of[text]:
                continue  # what was kept for another text
            longer = [size for size in _sizes(text) if size > fit and of[part(text, size)] == of[text]]
            if longer:
                kept.add(part(text, longer[0]))
                fitting.add(part(text, longer[0]))
                changed = True
    return kept


def _sizes(text: str) -> range:
    return range(1, min(len(text), LONGEST_CONTEXT) + 1)


def _known(text: str, part: Part, fitting: Set[str]) -> bool:
    return any(part(text, size) in fitting for size in _sizes(text))


def _longest(text: str, part: Part, fitting: Set[str]) -> int:
    for size in reversed(_sizes(text)):
        if part(text, size) in fitting:
            return size
    raise AssertionError("a known neighbour fits")
