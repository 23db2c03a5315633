"""Longer neighbours of runs, drawn from the vocabulary: where one character beside a run does not decide.

` spectatorssss` is `Ġspectators`,`ss`,`s`, but `rssss` alone `r`,`ss`,`ss`: what BPE draws out of a run depends on how
the word before it was merged, and what follows a run on how the word after it will be. The words tried are the tokens
themselves, less the units at their border with a run. Of all beginnings (or ends) of these the shortest are kept that
tell them apart, so that the longest kept one that fits a text behaves as its word.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.run_rules import LONGEST_CONTEXT, Contexts, first_of_runs

Part = Callable[[str, int], str]  # (text, size) -> the part of it that touches the run


def with_words(contexts: Contexts, tokens: Sequence[str], encoder: BpeEncoder, token_lengths: np.ndarray) -> Contexts:
    """These contexts with the neighbours that tell apart what the tokens do beside a run of the unit.

    `tokens`: the model's, in the byte alphabet; `token_lengths`: int64 (V,), bytes of every token.
    """
    unit = contexts.unit
    lefts = {token.removesuffix(unit) for token in tokens if token.endswith(unit)}
    lefts = {_without(text, unit, str.removesuffix) for text in lefts} - {"", "Ġ"}
    lefts |= {"Ġ" + text for text in lefts if not text.startswith("Ġ")}
    words = {token.removeprefix("Ġ") for token in tokens}
    rights = {_without(word, unit, str.removeprefix) for word in words if word.startswith(unit)} - {""}

    def behaviour(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return first_of_runs(contexts, pairs, encoder, token_lengths)

    far_lefts = _telling(lefts, contexts.lefts, _end, lambda parts: behaviour([(part, "") for part in parts]))
    far_rights = _telling(rights, contexts.rights, _begin, lambda parts: behaviour([("", part) for part in parts]))
    return replace(contexts, far_lefts=frozenset(far_lefts), far_rights=frozenset(far_rights))


def _without(text: str, unit: str, remove: Callable[[str, str], str]) -> str:
    while (shorter := remove(text, unit)) != text:
        text = shorter
    return text


def _begin(text: str, size: int) -> str:
    return text[:size]


def _end(text: str, size: int) -> str:
    return text[len(text) - size :]


def _telling(
    texts: Iterable[str], known: Iterable[str], part: Part, behaviour: Callable[[Sequence[str]], np.ndarray]
) -> set[str]:
    """Parts of the texts, besides the known ones, so that the longest that fits a text behaves as the whole text."""
    short = set(known)
    wanted = sorted(text for text in texts if part(text, 1) in short)
    parts = sorted(
        {part(text, size) for text in wanted for size in (*range(1, min(len(text), LONGEST_CONTEXT) + 1), len(text))}
    )
    if not parts:
        return set()
    rows = behaviour(parts)
    of: Mapping[str, bytes] = {text: row.tobytes() for text, row in zip(parts, rows, strict=True)}
    kept: set[str] = set()
    changed = True
    while changed:
        changed = False
        for text in wanted:
            sizes = range(min(len(text), LONGEST_CONTEXT), 0, -1)
            fits = next(size for size in sizes if (p := part(text, size)) in kept or p in short)
            if of[part(text, fits)] == of[text]:
                continue
            longer = [size for size in range(fits + 1, sizes.start + 1) if of[part(text, size)] == of[text]]
            if longer:
                kept.add(part(text, longer[0]))
                changed = True
    return kept
