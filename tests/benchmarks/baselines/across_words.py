"""What else could choose tokens that span words: greedy pair merging over pretokens, and AdaptiVocab's n-grams.

Both choose sequences of pretokens, one pretoken of several tokens among them, and give them the ids used least; parts
of words they do not have. The tokenizer is then made as ours is: longest match from the left, old tokens elsewhere.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ivr.tokenizer.superwords.stream import PretokenStream

Sequence = tuple[int, ...]  # numbers of pretokens
MAX_WORDS, MIN_COUNT = 4, 3
ADAPTIVOCAB_WORDS = 3


def pair_merging(
    stream: PretokenStream, lengths_P: np.ndarray, swaps: int, on_step: Callable[[], object] = lambda: None
) -> list[Sequence]:
    """Join the pair of neighbours that saves most, again and again, to MAX_WORDS pretokens at most.

    A pretoken of several tokens may become one, too. `lengths_P`: tokens of every pretoken.
    """
    symbols = stream.rows_T.tolist()
    following = [at + 1 if joined else -1 for at, joined in enumerate(stream.joined_T.tolist())]
    before = [-1, *(at if joined else -1 for at, joined in enumerate(stream.joined_T.tolist()))][: len(symbols)]
    parts: list[Sequence] = [(row,) for row in range(len(lengths_P))]
    costs = [int(length) for length in lengths_P]
    counts = Counter(symbols)
    numbers = {sequence: number for number, sequence in enumerate(parts)}
    places: dict[tuple[int, int], set[int]] = defaultdict(set)
    for at, behind in enumerate(following):
        if behind >= 0:
            places[symbols[at], symbols[behind]].add(at)

    def gain(step: tuple[int, ...]) -> int:
        if len(step) == 1:
            return counts[step[0]] * (costs[step[0]] - 1)
        left, right = step
        if len(parts[left]) + len(parts[right]) > MAX_WORDS or len(places[left, right]) < MIN_COUNT:
            return 0
        return len(places[left, right]) * (costs[left] + costs[right] - 1)

    heap = [(-gain(step), step) for step in [*places, *((row,) for row in counts)]]
    heap = [entry for entry in heap if entry[0] < 0]
    heapq.heapify(heap)
    chosen: dict[Sequence, None] = {}
    while heap and len(chosen) < swaps:
        promised, step = heapq.heappop(heap)
        now = -gain(step)
        if now != promised:
            if now < 0:
                heapq.heappush(heap, (now, step))
            continue
        if len(step) == 1:
            costs[step[0]] = 1
            chosen[parts[step[0]]] = None
            on_step()
            continue
        left, right = step
        joined = parts[left] + parts[right]
        number = numbers.setdefault(joined, len(parts))
        if number == len(parts):
            parts.append(joined)
            costs.append(1)
        chosen[joined] = None
        on_step()
        for at in sorted(places.pop(step)):
            behind = following[at]
            if symbols[at] != left or behind < 0 or symbols[behind] != right:
                continue  # `a a a`: the middle one is taken
            changed = set()
            for one, other in ((before[at], at), (behind, following[behind])):
                if one >= 0 and other >= 0:
                    places[symbols[one], symbols[other]].discard(one)
            symbols[at], symbols[behind] = number, -1
            counts.update({left: -1, right: -1, number: 1})
            following[at] = following[behind]
            if following[at] >= 0:
                before[following[at]] = at
            for one, other in ((before[at], at), (at, following[at])):
                if one >= 0 and other >= 0:
                    places[symbols[one], symbols[other]].add(one)
                    changed.add((symbols[one], symbols[other]))
            for pair in changed:
                if value := gain(pair):
                    heapq.heappush(heap, (-value, pair))
    return list(chosen)


def adaptivocab(
    stream: PretokenStream, lengths_P: np.ndarray, swaps: int, on_step: Callable[[], object] = lambda: None
) -> list[Sequence]:
    """The n-grams of up to three words that save most, each counted as if alone (AdaptiVocab, arXiv 2503.19693).

    Its own rescoring of overlaps is worth 1.5 % of the saving at most, by its own account.
    """
    found: Counter[Sequence] = Counter()
    rows, joined = stream.rows_T.tolist(), stream.joined_T.tolist()
    for at in range(len(rows)):
        for size in range(1, ADAPTIVOCAB_WORDS + 1):
            if size > 1 and not joined[at + size - 2]:
                break
            found[tuple(rows[at : at + size])] += 1
    saving = {
        sequence: count * (int(lengths_P[list(sequence)].sum()) - 1)
        for sequence, count in found.items()
        if count >= MIN_COUNT
    }
    best = sorted((one for one in saving if saving[one] > 0), key=lambda one: (-saving[one], one))[:swaps]
    for _ in best:
        on_step()
    return best


CHOICES = {"pairs": pair_merging, "adaptivocab": adaptivocab, "pairs-loose": pair_merging}
LOOSE = ("pairs-loose",)  # over sentences' ends and numbers, too


def write_spanning(
    method: str, paths_root: Path, swaps: int, tokenizer: Path, on_step: Callable[[], object] = lambda: None
) -> None:
    """Choose by `method` on the run below `paths_root`, which is distilled, and write its tokenizer.json."""
    from tokenizers import Tokenizer

    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.analysis.tables import read_pretoken_frequency
    from ivr.artifacts import ArtifactPaths
    from ivr.corpus.documents import read_documents_utf8
    from ivr.encoding.bpe import read_bpe
    from ivr.encoding.byte_alphabet import to_alphabet
    from ivr.tokenizer.remap.apply import DistilledTokenizer, apply_swaps, make_swaps
    from ivr.tokenizer.select.output.table import Candidate
    from ivr.tokenizer.select.selection import weighted_uses
    from ivr.tokenizer.select.texts import join_texts, with_sequences
    from ivr.tokenizer.select.undertrained import eviction_order
    from ivr.tokenizer.select.vocabulary_state import VocabularyState
    from ivr.tokenizer.superwords.boundaries import Boundaries
    from ivr.tokenizer.unigram_file import read_unigram, token_bytes

    paths = ArtifactPaths(paths_root)
    distilled = DistilledTokenizer(*read_unigram(paths.distilled_tokenizer / "tokenizer.json"))
    original = Tokenizer.from_file(str(paths.original_tokenizer / "tokenizer.json"))
    split = PretokenSplitter(original)
    tokens = token_bytes(distilled.strings, distilled.scores_V)
    texts = join_texts(read_pretoken_frequency(paths.pretoken_frequency), None, PretokenSplitter(distilled.tokenizer))
    boundaries = Boundaries.named("none" if method in LOOSE else "sentences,digits")
    texts = with_sequences(texts, read_documents_utf8(paths.cleaned_corpora), (), split, boundaries)
    assert texts.sequences is not None
    lengths_P = VocabularyState(texts.batch, texts.domain_P, tokens, distilled.scores_V, []).lengths_P
    chosen = CHOICES[method](texts.sequences.domain, lengths_P, swaps, on_step)
    uses_V = weighted_uses(tokens, distilled.scores_V, texts, 0.0)
    leaving = eviction_order([token for token, string in enumerate(tokens) if len(string) > 1], uses_V, None)
    leaving.sort(key=lambda token: uses_V[token])  # stable
    strings = [to_alphabet("".join(texts.pretokens[row] for row in sequence).encode()) for sequence in chosen]
    known = set(distilled.strings)
    strings = [string for string in strings if string not in known]
    rows = [
        Candidate(0, token, distilled.strings[token], string) for token, string in zip(leaving, strings, strict=False)
    ]
    apply_swaps(distilled, make_swaps(rows, distilled, read_bpe(original), split), split).save(str(tokenizer))
