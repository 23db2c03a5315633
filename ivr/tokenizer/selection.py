"""The selection of swaps as one function: from counts and a distilled tokenizer to a list of swaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable, merge_tables
from ivr.console import LOG, Progress
from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.candidates import CandidateRules, find_candidates
from ivr.tokenizer.greedy import VocabularyState, choose_entries, choose_leavers
from ivr.tokenizer.unigram_file import NEVER

EXTRA_SHARE = 0.25  # entries chosen beyond the wanted number, so that those made idle by later ones can go again


@dataclass(frozen=True)
class Swap:
    """One id, its old and its new string (byte alphabet left to the writer: these are bytes)."""

    token_id: int
    old: bytes
    old_count: int  # occurrences in the corpus before
    new: bytes
    new_count: int  # occurrences in the corpus after all swaps
    saved: float  # weighted tokens saved when the new string entered
    lost: float  # weighted tokens lost when the old one left


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
class _Texts:
    """Distinct pretokens of both corpora, as bytes, with their counts in each. P rows."""

    strings: list[bytes]
    domain_P: np.ndarray
    documents_P: np.ndarray
    protected_P: np.ndarray


def select_swaps(
    tokens: Sequence[bytes],
    scores_V: np.ndarray,
    untouchable: frozenset[int],
    domain: PretokenTable,
    protected: PretokenTable | None,
    protect_weight: float,
    use_cost: float,
    wanted: int,
    min_saved: float,
    rules: CandidateRules,
) -> Selection:
    """Choose up to `wanted` swaps. `tokens`: bytes of every id, empty for added tokens; `untouchable` ids never leave.

    Deterministic. Time grows with distinct pretokens and swaps, memory with the spans of the distinct pretokens.
    """
    texts = _join(domain, protected)
    batch = Batch.of(texts.strings)
    weights_P = texts.domain_P + protect_weight * texts.protected_P
    before = UnigramEncoder(tokens, scores_V).encode(batch)
    candidates = find_candidates(batch, before, texts.domain_P, texts.documents_P, tokens, rules)
    LOG.info("%s candidates in %s distinct pretokens", f"{len(candidates.strings):,}", f"{len(batch):,}")
    state = VocabularyState(batch, weights_P, tokens, scores_V, candidates.strings)

    with Progress("choose entries", wanted, "tokens") as bar:
        entries = choose_entries(state, candidates, wanted + int(EXTRA_SHARE * wanted), min_saved, bar.update)
    new_ids = [state.num_old + candidate for candidate in entries]
    # those beyond the wanted number go again, and those that later ones left without work
    too_many = max(len(new_ids) - wanted, 0)
    limits = [np.inf] * too_many + [min_saved] * (len(new_ids) - too_many)
    idle = choose_leavers(state, new_ids, [0.0] * len(new_ids), len(new_ids), limits)
    new_ids = sorted(set(new_ids) - {token for token, _ in idle})
    worth = _worth(state, new_ids)
    new_ids.sort(key=lambda token: (-worth[token], candidates.strings[token - state.num_old]))

    droppable = [token_id for token_id, token in enumerate(tokens) if token and token_id not in untouchable]
    # among ids that cost the same, the one learnt last goes first: merge ranks are ordered by frequency
    preference = [float(-token_id) for token_id in droppable]
    limits = [worth[token] for token in new_ids]
    with Progress("choose leavers", len(new_ids), "ids") as bar:
        leavers = choose_leavers(state, droppable, preference, len(new_ids), limits, use_cost, bar.update)
    for token in new_ids[len(leavers) :]:  # no id is cheap enough for these
        state.take_out(token)
    new_ids = new_ids[: len(leavers)]

    after = state.segmentations()
    old_counts = np.bincount(before.ids, np.repeat(texts.domain_P, before.lengths()), minlength=len(tokens))
    new_counts = np.bincount(
        after.ids, np.repeat(texts.domain_P, after.lengths()), minlength=state.num_old + len(candidates.strings)
    )
    swaps = [
        Swap(
            token_id=leaver,
            old=tokens[leaver],
            old_count=int(old_counts[leaver]),
            new=candidates.strings[new_id - state.num_old],
            new_count=int(new_counts[new_id]),
            saved=worth[new_id],
            lost=lost,
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


def _worth(state: VocabularyState, new_ids: Sequence[int]) -> dict[int, float]:
    """Weighted tokens that each new token saves beside all the others."""
    holders = state.holders()
    return {token: state.try_score(token, NEVER, holders.rows_of(token))[0] for token in new_ids}


def cut_table(table: PretokenTable, splitter: PretokenSplitter) -> PretokenTable:
    """The same text as the pieces that the model sees: a distilled tokenizer cuts runs inside pretokens."""
    pieces = splitter.lists(table.pretokens)
    lengths = [len(row) for row in pieces]
    flat = [piece for row in pieces for piece in row]
    return merge_tables(
        [PretokenTable(flat, np.repeat(table.counts_P, lengths), np.repeat(table.documents_P, lengths))]
    )


def _join(domain: PretokenTable, protected: PretokenTable | None) -> _Texts:
    texts = list(domain.pretokens)
    known = set(texts)
    only = [text for text in protected.pretokens if text not in known] if protected else []
    texts += only
    place = {text: row for row, text in enumerate(texts)}
    protected_P = np.zeros(len(texts), np.int64)
    if protected:
        protected_P[[place[text] for text in protected.pretokens]] = protected.counts_P
    nothing = np.zeros(len(only), np.int64)
    return _Texts(
        strings=[text.encode() for text in texts],
        domain_P=np.concatenate([domain.counts_P, nothing]),
        documents_P=np.concatenate([domain.documents_P, nothing]),
        protected_P=protected_P,
    )
