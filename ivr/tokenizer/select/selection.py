"""The selection of swaps as one function: from counts and a distilled tokenizer to a list of swaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable
from ivr.console import LOG, Progress
from ivr.encoding.batch import Segmentations
from ivr.tokenizer.select.candidates import CandidateRules, Candidates, find_candidates
from ivr.tokenizer.select.entry_scores import raised_scores
from ivr.tokenizer.select.greedy import Entries, choose_leavers
from ivr.tokenizer.select.long_pretokens import in_parts
from ivr.tokenizer.select.recount import CutBatch
from ivr.tokenizer.select.vocabulary_state import VocabularyState

# entries chosen beyond the wanted number, as a share of it, before the least useful go again: at first, and afterwards
# while other entries and the leavers stand. Larger shares and a third round fit the corpus no better
EXCHANGES = (0.5, 0.2)
CANDIDATES_A_SWAP = 8  # that many candidates, those that may save most, are looked at more closely
CANDIDATES = 16_000
FILLS = (1,)


@dataclass(frozen=True)
class Swap:
    """One id, its old and its new string (byte alphabet left to the writer: these are bytes)."""

    token_id: int
    old: bytes
    old_count: int  # occurrences in the corpus before
    new: bytes
    new_count: int  # occurrences in the corpus after all swaps
    saved: float  # weighted tokens that the new string saves beside all others
    lost: float  # weighted tokens lost when the old one left
    score: int  # Unigram score of the new one


@dataclass(frozen=True)
class Selection:
    """The swaps, best first, and what they do to the corpora they were chosen on."""

    swaps: list[Swap]
    candidates: int
    tokens_before: int
    tokens_after: int
    protected_before: int
    protected_after: int


@dataclass(frozen=True)
class Texts:
    """Distinct pretokens of both corpora, with their counts in each. P rows."""

    batch: CutBatch
    domain_P: np.ndarray
    documents_P: np.ndarray
    protected_P: np.ndarray


@dataclass(frozen=True)
class AtLeast:
    """What is enough where so many strings as are wanted cannot be had otherwise."""

    count: int  # occurrences
    saved: float  # weighted tokens; when these run out, too, strings enter that only words not seen can use


@dataclass(frozen=True)
class Wishes:
    """What is asked of a selection."""

    swaps: int
    min_saved: float  # weighted tokens that a new string must save
    protect_weight: float
    use_cost: float
    rules: CandidateRules
    at_least: AtLeast | None = None  # None: rather fewer swaps than lesser ones


def select_swaps(
    tokens: Sequence[bytes], scores_V: np.ndarray, droppable: Sequence[int], texts: Texts, wishes: Wishes
) -> Selection:
    """Choose up to `wishes.swaps` swaps. `tokens`: bytes of every id, empty for added tokens.

    `droppable`: ids that may leave; among those that cost the same, the first in this list goes first.
    Deterministic. Time grows with distinct pretokens and swaps, memory with the spans of the distinct pretokens.
    """
    batch, wanted = texts.batch, min(wishes.swaps, len(droppable))
    weights_P = texts.domain_P + wishes.protect_weight * texts.protected_P
    plain = VocabularyState(batch, weights_P, tokens, scores_V, [])
    before = plain.segmentations()
    candidates = _candidates(before, weights_P, tokens, texts, wishes)
    LOG.info("%s candidates in %s distinct pretokens", f"{len(candidates.strings):,}", f"{len(batch):,}")
    state = VocabularyState(batch, weights_P, tokens, scores_V, candidates.strings)
    entries = Entries(state, candidates.bounds_C, candidates.counts_C < wishes.rules.min_count)
    leavers: list[tuple[int, float]] = []
    for step, extra in enumerate(EXCHANGES):
        wanted = len(leavers) if step else wanted
        with Progress(f"choose entries, round {step + 1}", int(wanted * (1 + extra)), "tokens") as bar:
            bar.update(len(entries.chosen))
            entries.add(int(wanted * (1 + extra)), wishes.min_saved, bar.update)
        entries.prune(wanted, wishes.min_saved)
        if step == 0:
            leavers = _leavers(state, entries, droppable, wanted if wishes.at_least else 0, wishes.use_cost)
            entries.prune(len(leavers), wishes.min_saved)
    if wishes.at_least and len(entries.chosen) < len(leavers):
        _fill(entries, len(leavers), wishes.at_least)
    _give_back(state, leavers, scores_V, len(leavers) - len(entries.chosen))
    new_ids = _with_own_strings(state, entries, leavers, [*tokens, *candidates.strings])
    worth = {token: state.cost_of_leaving(token) for token in sorted(new_ids)}
    new_ids.sort(key=lambda token: (-worth[token], candidates.strings[token - state.num_old]))
    after = state.segmentations()
    old_counts = _counts(before, texts.domain_P, len(tokens))
    new_counts = _counts(after, texts.domain_P, state.num_tokens)
    swaps = [
        Swap(
            token_id=leaver,
            old=tokens[leaver],
            old_count=int(old_counts[leaver]),
            new=candidates.strings[new_id - state.num_old],
            new_count=int(new_counts[new_id]),
            saved=worth[new_id],
            lost=lost,
            score=state.score_of(new_id),
        )
        for new_id, (leaver, lost) in zip(new_ids, leavers, strict=True)
    ]
    return Selection(
        swaps=swaps,
        candidates=len(candidates.strings),
        tokens_before=int(before.lengths() @ texts.domain_P),
        tokens_after=int(after.lengths() @ texts.domain_P),
        protected_before=int(before.lengths() @ texts.protected_P),
        protected_after=int(after.lengths() @ texts.protected_P),
    )


def weighted_uses(tokens: Sequence[bytes], scores_V: np.ndarray, texts: Texts, protect_weight: float) -> np.ndarray:
    """How often every id is produced before any swap, as the objective counts it."""
    weights_P = texts.domain_P + protect_weight * texts.protected_P
    state = VocabularyState(texts.batch, weights_P, tokens, scores_V, [])
    return _counts(state.segmentations(), weights_P, len(tokens))


def _candidates(
    segmentations: Segmentations, weights_P: np.ndarray, tokens: Sequence[bytes], texts: Texts, wishes: Wishes
) -> Candidates:
    """Those that keep the rules; where there are few, also those that are enough at least."""
    limit = max(CANDIDATES, CANDIDATES_A_SWAP * wishes.swaps)
    rules = wishes.rules
    while True:
        found = find_candidates(
            texts.batch.strings, segmentations, texts.domain_P, texts.documents_P, weights_P, tokens, rules, limit
        )
        if len(found.strings) >= limit or not wishes.at_least or rules.min_count <= wishes.at_least.count:
            return found
        rules = replace(rules, min_count=wishes.at_least.count)


def _leavers(
    state: VocabularyState, entries: Entries, droppable: Sequence[int], wanted: int, use_cost: float
) -> list[tuple[int, float]]:
    """An id for every entry, as long as it costs less than the entry saves; up to `wanted`, ids that cost nothing."""
    worth = sorted((state.cost_of_leaving(token) for token in entries.chosen), reverse=True)
    worth += [1.0] * (wanted - len(worth))
    with Progress("choose leavers", len(worth), "ids") as bar:
        ranks = list(range(len(droppable)))
        return choose_leavers(state, droppable, ranks, len(worth), worth, use_cost, bar.update)


def _fill(entries: Entries, wanted: int, at_least: AtLeast) -> None:
    """Spend the ids that are left: on strings that save less than asked for, then on strings for words not seen."""
    with Progress("choose entries for the ids that are left", wanted, "tokens") as bar:
        bar.update(len(entries.chosen))
        entries.admit_all()
        entries.add(wanted, at_least.saved, bar.update)
        for most_rows in FILLS:
            if len(entries.chosen) < wanted:
                entries.fill(wanted, at_least.saved, most_rows, bar.update)


def _give_back(state: VocabularyState, leavers: list[tuple[int, float]], scores_V: np.ndarray, number: int) -> None:
    """The last `number` leavers stay after all: there is nothing to take their place."""
    for _ in range(number):
        token, _ = leavers.pop()
        state.come_back(token, int(scores_V[token]))


def _with_own_strings(
    state: VocabularyState, entries: Entries, leavers: Sequence[tuple[int, float]], tokens: Sequence[bytes]
) -> list[int]:
    """The entries, with scores raised where a new token would lose its own string to shorter ones."""
    new_ids = sorted(entries.chosen)
    scores = state.scores()
    raised = raised_scores(tokens, scores, new_ids)
    for token in np.flatnonzero(raised != scores).tolist():
        state.enter(token, int(raised[token]))
    return new_ids


def _counts(segmentations: Segmentations, counts_P: np.ndarray, num_ids: int) -> np.ndarray:
    """Occurrences of every id."""
    return np.bincount(segmentations.ids, np.repeat(counts_P, segmentations.lengths()), minlength=num_ids)


def join_texts(domain: PretokenTable, protected: PretokenTable | None, splitter: PretokenSplitter) -> Texts:
    """Both corpora as one batch, cut as the distilled tokenizer cuts runs; very long pretokens in parts."""
    domain, protected = in_parts(domain), in_parts(protected) if protected else None
    texts = list(domain.pretokens)
    known = set(texts)
    only = [text for text in protected.pretokens if text not in known] if protected else []
    texts += only
    place = {text: row for row, text in enumerate(texts)}
    protected_P = np.zeros(len(texts), np.int64)
    if protected:
        protected_P[[place[text] for text in protected.pretokens]] = protected.counts_P
    nothing = np.zeros(len(only), np.int64)
    return Texts(
        batch=CutBatch.of(splitter.split([text.encode() for text in texts]).lists()),
        domain_P=np.concatenate([domain.counts_P, nothing]),
        documents_P=np.concatenate([domain.documents_P, nothing]),
        protected_P=protected_P,
    )
