"""Short pieces of the training text that hold new tokens, read twice: as new tokens and as their pieces.

The student reads the remapped ids. The teacher reads the same text with every new token spelt by its pieces under the
original tokenizer; a kept token is itself to both. Where the student stands after its i-th token, the teacher stands
after the last piece of that token: these two states are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivr.embedding.initialisers.domain_text import DomainText

ASIDE = 8
MOST_TOKENS = 3000  # that are set aside, about: they are read ten times


@dataclass(frozen=True)
class Snippet:
    """student: remapped ids, `<|endoftext|>` first; teacher: base rows; ends: for each of the student's, the teacher's
    place; first: the student's first new token."""

    student: np.ndarray
    teacher: np.ndarray
    ends: np.ndarray
    first: int


@dataclass(frozen=True)
class SnippetRules:
    """How many windows are taken, and how long they are."""

    per_token: int  # windows that hold each new token, as long as there are so many
    max_snippets: int
    length: int  # tokens of the remapped tokenizer
    context: int  # tokens of the original one, at most
    seed: int  # of their order


def set_aside(text: DomainText, length: int) -> tuple[DomainText, list[np.ndarray]]:
    """(the text without some windows of it, these windows: remapped ids, a text's start before each).

    Every `ASIDE`-th window of `length` tokens, until there are `MOST_TOKENS`; none of a short text. Unlike snippets,
    such windows hold new tokens as often as the text does.
    """
    rest: list[np.ndarray] = []
    windows: list[np.ndarray] = []
    number = held = 0
    for ids in text.documents:
        begin = 0  # of what stays, behind the last window taken
        for start in range(0, len(ids), length):
            number += 1
            if number % ASIDE or held >= MOST_TOKENS:
                continue
            window = ids[start : start + length]
            windows.append(np.concatenate([[text.start_id], window]).astype(np.int64))
            held += len(window)
            rest.append(ids[begin:start])
            begin = start + length
        rest.append(ids[begin:])
    return replace(text, documents=[ids for ids in rest if len(ids)]), windows


def choose_snippets(
    text: DomainText, new_ids: Sequence[int], pieces: Sequence[Sequence[int]], sources: np.ndarray, rules: SnippetRules
) -> list[Snippet]:
    """Windows of text that hold new tokens, in a seeded order.

    Windows are taken in rounds: in round r those that hold a token of which fewer than r were taken, so that rare
    tokens are served before frequent ones are served again. A window whose teacher side exceeds `rules.context` is cut.
    """
    spelt = dict(zip(new_ids, pieces, strict=True))
    windows = [
        ids[start : start + rules.length] for ids in text.documents for start in range(0, len(ids), rules.length)
    ]
    is_new_V = np.zeros(len(sources), dtype=bool)
    is_new_V[list(new_ids)] = True
    held = {i: set(ids[mask].tolist()) for i, ids in enumerate(windows) if (mask := is_new_V[ids]).any()}
    taken: dict[int, None] = {}
    counts = dict.fromkeys(new_ids, 0)
    for round_ in range(1, rules.per_token + 1):
        if len(taken) >= rules.max_snippets:
            break
        for i, tokens in held.items():
            if i not in taken and any(counts[token] < round_ for token in tokens):
                taken[i] = None
                for token in tokens:
                    counts[token] += 1
                if len(taken) >= rules.max_snippets:
                    break
    order = np.random.Generator(np.random.PCG64([rules.seed, 2])).permutation(len(taken))
    chosen = list(taken)
    snippets = (_spell(windows[chosen[i]], spelt, sources, text.start_id, rules.context) for i in order)
    return [snippet for snippet in snippets if snippet is not None]


def _spell(
    ids: np.ndarray, spelt: Mapping[int, Sequence[int]], sources: np.ndarray, start_id: int, context: int
) -> Snippet | None:
    teacher, ends = [int(sources[start_id])], [0]
    first = 0
    for place, token_id in enumerate(ids.tolist(), start=1):
        rows = spelt.get(token_id) or (int(sources[token_id]),)
        if len(teacher) + len(rows) > context:
            break
        teacher += rows
        ends.append(len(teacher) - 1)
        if token_id in spelt and not first:
            first = place
    if not first:
        return None  # the cut took the new tokens away
    student = np.array([start_id, *ids[: len(ends) - 1].tolist()], dtype=np.int64)
    return Snippet(student, np.array(teacher, dtype=np.int64), np.array(ends, dtype=np.int64), first)
