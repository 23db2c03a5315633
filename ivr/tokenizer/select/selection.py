"""The selection of swaps as one function: from counts and a distilled tokenizer to a list of swaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivr.console import LOG, Progress
from ivr.encoding.batch import Batch, Segmentations
from ivr.tokenizer.select.candidates import CandidateRules, Candidates, Pretokens, find_candidates
from ivr.tokenizer.select.greedy import Additions, choose_evictions, shares_to_trust
from ivr.tokenizer.select.joint_state import JointState
from ivr.tokenizer.select.new_token_scores import raised_scores
from ivr.tokenizer.select.recount import CutBatch
from ivr.tokenizer.select.texts import Texts
from ivr.tokenizer.select.vocabulary_state import VocabularyState
from ivr.tokenizer.superwords.ngrams import SuperwordCandidates, SuperwordRules, SuperwordTrie, find_superwords
from ivr.tokenizer.superwords.parse import Segments
from ivr.tokenizer.superwords.scores import superword_scores
from ivr.tokenizer.superwords.stream import PretokenStream, no_stream

# additions chosen beyond the wanted number, as a share of it, before the least useful go again: at first, and then
# once more while other additions and the evictions stand. Larger shares and a third round fit the corpus no better
EXCHANGES = (0.5, 0.2)
CANDIDATES_A_SWAP = 8  # that many candidates, those that may save most, are looked at more closely
CANDIDATES = 16_000


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
    parts: tuple[bytes, ...] = ()  # the pretokens of a superword


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
class AtLeast:
    """What is enough where so many strings as are wanted cannot be had otherwise."""

    count: int  # occurrences
    saved: float  # weighted tokens; when these run out, too, strings enter that only words not seen can use


@dataclass(frozen=True)
class Request:
    """What is asked of a selection."""

    swaps: int
    min_saved: float  # weighted tokens that a new string must save
    protect_weight: float
    use_cost: float
    rules: CandidateRules
    at_least: AtLeast | None = None  # None: rather fewer swaps than lesser ones
    max_words: int = 1  # pretokens that a new string spans; more than 1 needs `Texts.sequences`


State = VocabularyState | JointState


@dataclass(frozen=True)
class _New:
    """What may enter, in the order of the state's ids: C strings inside pretokens, then S superwords."""

    words: Candidates
    superwords: SuperwordCandidates
    segments: Segments

    @property
    def strings(self) -> list[bytes]:
        return [*self.words.strings, *self.superwords.strings]

    def parts(self, place: int, pretokens: Sequence[str]) -> tuple[bytes, ...]:
        """The pretokens of the superword at this place, none of another string."""
        place -= len(self.words.strings)
        return tuple(pretokens[row].encode() for row in self.superwords.rows[place]) if place >= 0 else ()


def select_swaps(
    tokens: Sequence[bytes], scores_V: np.ndarray, droppable: Sequence[int], texts: Texts, request: Request
) -> Selection:
    """Choose up to `request.swaps` swaps. `tokens`: bytes of every id, empty for added tokens.

    `droppable`: ids that may leave; among those that cost the same, the first in this list goes first.
    Deterministic. Time grows with distinct pretokens and swaps, memory with the spans of the distinct pretokens.
    """
    batch, wanted = texts.batch, min(request.swaps, len(droppable))
    weights_P = texts.domain_P + request.protect_weight * texts.protected_P
    before = VocabularyState(batch, weights_P, tokens, scores_V, []).segmentations()
    new = _find_new(before, weights_P, tokens, texts, request)
    strings = new.strings
    LOG.info("%s candidates in %s distinct pretokens", f"{len(strings):,}", f"{len(batch):,}")
    state = _state(batch, weights_P, tokens, scores_V, new, texts, request)
    additions = _additions(state, new, request)
    evictions: list[tuple[int, float]] = []
    for step, extra in enumerate(EXCHANGES):
        wanted = len(evictions) if step else wanted
        with Progress(f"choose additions, round {step + 1}", int(wanted * (1 + extra)), "tokens") as bar:
            bar.update(len(additions.chosen))
            additions.add(int(wanted * (1 + extra)), request.min_saved, bar.update)
        additions.prune(wanted, request.min_saved)
        if step == 0:
            evictions = _evictions(state, additions, droppable, wanted if request.at_least else 0, request.use_cost)
            additions.prune(len(evictions), request.min_saved)
    if request.at_least and len(additions.chosen) < len(evictions):
        _fill(additions, len(evictions), request.at_least)
    _give_back(state, evictions, scores_V, len(evictions) - len(additions.chosen))
    new_ids = _with_own_strings(state, additions, evictions, [*tokens, *new.words.strings])
    worth = {token: state.eviction_cost(token) for token in sorted(new_ids)}
    new_ids.sort(key=lambda token: (-worth[token], strings[token - state.num_old]))
    scores = _scores(state, new_ids, [*tokens, *new.words.strings], strings)
    old_counts = _counts(before, texts.domain_P, len(tokens))
    new_counts, tokens_after, protected_after = _outcome(state, new.segments, texts)
    swaps = [
        Swap(
            token_id=evicted,
            old=tokens[evicted],
            old_count=int(old_counts[evicted]),
            new=strings[new_id - state.num_old],
            new_count=int(new_counts[new_id]),
            saved=worth[new_id],
            lost=lost,
            score=scores[new_id],
            parts=new.parts(new_id - state.num_old, texts.pretokens),
        )
        for new_id, (evicted, lost) in zip(new_ids, evictions, strict=True)
    ]
    return Selection(
        swaps=swaps,
        candidates=len(strings),
        tokens_before=int(before.lengths() @ texts.domain_P),
        tokens_after=tokens_after,
        protected_before=int(before.lengths() @ texts.protected_P),
        protected_after=protected_after,
    )


def _additions(state: "VocabularyState | JointState", new: _New, request: Request) -> Additions:
    """None chosen yet; where superwords compete, savings that few documents vouch for count for less."""
    counts_C = np.concatenate([new.words.counts_C, new.superwords.counts_S])
    bounds_C = np.concatenate([new.words.bounds_C, new.superwords.bounds_S])
    documents_C = np.concatenate([new.words.documents_C, new.superwords.documents_S])
    trust_C = shares_to_trust(documents_C) if request.max_words > 1 else np.ones(len(bounds_C))
    return Additions(state, bounds_C, counts_C < request.rules.min_count, trust_C)


def _find_new(
    before: Segmentations,
    weights_P: np.ndarray,
    tokens: Sequence[bytes],
    texts: Texts,
    request: Request,
) -> _New:
    """Candidates inside pretokens, and with `request.max_words` > 1 superwords."""
    words, least = _candidates(before, weights_P, tokens, texts, request)
    lengths_P = before.lengths().astype(np.int32)
    nothing = np.zeros(0, np.int64)
    if request.max_words < 2:
        none = SuperwordCandidates([], [], nothing, np.zeros(0), nothing)
        return _New(words, none, _segments(no_stream(), no_stream(), [], len(texts.batch)))
    assert texts.sequences is not None
    domain, protected = texts.sequences.domain, texts.sequences.protected
    rules, pretokens = request.rules, Batch.of([text.encode() for text in texts.pretokens])
    superwords = find_superwords(
        domain, pretokens, lengths_P, frozenset(filter(None, tokens)) | rules.taken,
        SuperwordRules(request.max_words, least, rules.min_documents, rules.max_bytes, rules.exclude),
        max(CANDIDATES, CANDIDATES_A_SWAP * request.swaps),
    )  # fmt: skip
    segments = _segments(domain, protected, superwords.rows, len(texts.batch))
    if len(protected):
        saved_S = np.array([lengths_P[list(parts)].sum() - 1 for parts in superwords.rows], np.float64)
        more_S = request.protect_weight * saved_S * segments.occurrences(segments.protected_T, len(superwords.rows))
        superwords = replace(superwords, bounds_S=superwords.bounds_S + more_S)
    return _New(words, superwords, segments)


def _segments(
    domain: PretokenStream, protected: PretokenStream, rows: Sequence[tuple[int, ...]], num_pretokens: int
) -> Segments:
    return Segments.of(domain, protected, SuperwordTrie(rows, num_pretokens))


def _state(
    batch: CutBatch,
    weights_P: np.ndarray,
    tokens: Sequence[bytes],
    scores_V: np.ndarray,
    new: _New,
    texts: Texts,
    request: Request,
) -> State:
    words = VocabularyState(batch, weights_P, tokens, scores_V, new.words.strings)
    if request.max_words < 2:
        return words
    weights_T = new.segments.domain_T + request.protect_weight * new.segments.protected_T
    return JointState(words, new.superwords.rows, new.segments, weights_T)


def _scores(state: State, new_ids: Sequence[int], tokens: Sequence[bytes], strings: Sequence[bytes]) -> dict[int, int]:
    """The score of every new token; `tokens`: old ones and words that might enter, `strings`: all that might."""
    first = len(tokens)
    superwords = sorted(token for token in new_ids if token >= first)
    found = superword_scores(tokens, state.scores(), [strings[token - state.num_old] for token in superwords])
    return {token: state.score_of(token) for token in new_ids if token < first} | dict(
        zip(superwords, found, strict=True)
    )


def _outcome(state: State, segments: Segments, texts: Texts) -> tuple[np.ndarray, int, int]:
    """(occurrences of every token in the domain, all of them, all in the protected text)."""
    if isinstance(state, JointState):
        counts, total = state.counts(segments.domain_T, texts.domain_P)
        return counts, total, state.counts(segments.protected_T, texts.protected_P)[1]
    after = state.segmentations()
    counts = _counts(after, texts.domain_P, state.num_tokens)
    return counts, int(after.lengths() @ texts.domain_P), int(after.lengths() @ texts.protected_P)


def weighted_uses(tokens: Sequence[bytes], scores_V: np.ndarray, texts: Texts, protect_weight: float) -> np.ndarray:
    """How often every id is produced before any swap, as the objective counts it."""
    weights_P = texts.domain_P + protect_weight * texts.protected_P
    state = VocabularyState(texts.batch, weights_P, tokens, scores_V, [])
    return _counts(state.segmentations(), weights_P, len(tokens))


def _candidates(
    segmentations: Segmentations, weights_P: np.ndarray, tokens: Sequence[bytes], texts: Texts, request: Request
) -> tuple[Candidates, int]:
    """Those that keep the rules; where there are few, also those that are enough at least. And the count they have."""
    limit = max(CANDIDATES, CANDIDATES_A_SWAP * request.swaps)
    rules = request.rules
    pretokens = Pretokens(texts.batch.strings, segmentations, texts.domain_P, texts.documents_P, weights_P)
    while True:
        found = find_candidates(pretokens, tokens, rules, limit)
        if len(found.strings) >= limit or not request.at_least or rules.min_count <= request.at_least.count:
            return found, rules.min_count
        rules = replace(rules, min_count=request.at_least.count)


def _evictions(
    state: State, additions: Additions, droppable: Sequence[int], wanted: int, use_cost: float
) -> list[tuple[int, float]]:
    """An id for every entry, as long as it costs less than the entry saves; up to `wanted`, ids that cost nothing."""
    worth = sorted((state.eviction_cost(token) for token in additions.chosen), reverse=True)
    worth += [1.0] * (wanted - len(worth))
    with Progress("choose evictions", len(worth), "ids") as bar:
        ranks = list(range(len(droppable)))
        return choose_evictions(state, droppable, ranks, len(worth), worth, use_cost, bar.update)


def _fill(additions: Additions, wanted: int, at_least: AtLeast) -> None:
    """Spend the ids that are left: on strings that save less than asked for, then on strings for words not seen."""
    with Progress("choose additions for the ids that are left", wanted, "tokens") as bar:
        bar.update(len(additions.chosen))
        additions.admit_all()
        additions.add(wanted, at_least.saved, bar.update)
        if len(additions.chosen) < wanted:
            additions.fill(wanted, at_least.saved, bar.update)


def _give_back(state: State, evictions: list[tuple[int, float]], scores_V: np.ndarray, number: int) -> None:
    """The last `number` evictions stay after all: there is nothing to take their place."""
    for token, _ in (evictions.pop() for _ in range(number)):
        state.come_back(token, int(scores_V[token]))


def _with_own_strings(
    state: State, additions: Additions, evictions: Sequence[tuple[int, float]], tokens: Sequence[bytes]
) -> list[int]:
    """The additions, with scores raised where a new token would lose its own string to shorter ones."""
    new_ids = sorted(additions.chosen)
    scores = state.scores()
    raised = raised_scores(tokens, scores, [token for token in new_ids if token < len(tokens)])
    for token in np.flatnonzero(raised != scores).tolist():
        state.enter(token, int(raised[token]))
    return new_ids


def _counts(segmentations: Segmentations, counts_P: np.ndarray, num_ids: int) -> np.ndarray:
    """Occurrences of every id."""
    return np.bincount(segmentations.ids, np.repeat(counts_P, segmentations.lengths()), minlength=num_ids)
