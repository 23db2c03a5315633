"""Margins: by how much the best segmentation of a string beats the second best, under a Unigram model.

Integer scores add up exactly, so a margin of 1 is as safe as one of a million; a margin of 0 is a tie, which the
library breaks by its own rule. Two different segmentations of a string differ in a border, so the best and the second
best are found by keeping the two best paths to every byte.
"""

from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.byte_alphabet import readable, to_alphabet
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import find
from ivr.encoding.unigram_encoder import REBASE, UnigramEncoder
from ivr.tokenizer.unigram_file import EXACT

NO_PATH = -(1 << 62)
NO_OTHER = -1  # the margin of a string that has one segmentation only
SHOWN = 10


@compiled
def _gaps(data, starts, trie, scores, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts) - 1):
        offset = starts[row]
        n = starts[row + 1] - offset
        best = np.full(n + 1, NO_PATH, np.int64)
        second = np.full(n + 1, NO_PATH, np.int64)
        best[0] = 0
        for i in range(n):
            if best[i] == NO_PATH:
                continue
            if best[i] > REBASE:  # as the encoder does: only differences count
                taken_off = best[i]
                for j in range(i, min(i + trie.longest, n) + 1):
                    if best[j] != NO_PATH:
                        best[j] -= taken_off
                    if second[j] != NO_PATH:
                        second[j] -= taken_off
            node = np.int64(0)
            for j in range(i, n):
                node = np.int64(find(trie.keys, trie.values, (node << 8) | data[offset + j]))
                if node < 0:
                    break
                t = trie.terminal_N[node]
                if t < 0:
                    continue
                candidate = best[i] + scores[t]
                if candidate > best[j + 1]:
                    second[j + 1] = best[j + 1]
                    best[j + 1] = candidate
                elif candidate > second[j + 1]:
                    second[j + 1] = candidate
                if second[i] != NO_PATH and second[i] + scores[t] > second[j + 1]:
                    second[j + 1] = second[i] + scores[t]
        out[row] = NO_OTHER if second[n] == NO_PATH else best[n] - second[n]


def score_gaps(strings: Batch, unigram: UnigramEncoder) -> np.ndarray:
    """Best score less second-best score of every string, int64 (N,); NO_OTHER where there is one segmentation.

    >>> unigram = UnigramEncoder([b"a", b"b", b"ab"], np.array([0, 0, 7]))
    >>> score_gaps(Batch.of([b"ab", b"ba"]), unigram).tolist()
    [7, -1]
    """
    found = np.empty(len(strings), np.int64)
    _gaps(strings.data, strings.starts, unigram.trie, unigram.scores_V, found)
    return found


def gaps_report(strings: Batch, tokens: Sequence[bytes], scores_V: np.ndarray) -> dict[str, Any]:
    """The smallest margins over these distinct strings, each as a model sees it; how many are ties; the largest score
    of a string, 2^61 at most, and how many pass 2^53, below which float64 sums are exact.
    """
    unigram = UnigramEncoder(tokens, scores_V)
    found_N = score_gaps(strings, unigram)
    totals_N = unigram.best_totals(strings)
    several_N = found_N != NO_OTHER
    tied_N, untied_N = found_N == 0, found_N > 0
    smallest = np.sort(found_N[untied_N])[:SHOWN]
    closest = _first(strings, found_N, untied_N & (found_N <= smallest.max(initial=0)))
    return {
        "strings": len(strings),
        "with_one_segmentation": int((~several_N).sum()),
        "ties": int(tied_N.sum()),
        "smallest": int(smallest[0]) if len(smallest) else None,
        "median": int(np.median(found_N[several_N])) if several_N.any() else None,
        "largest_score_of_a_string": int(totals_N.max(initial=0)),
        "strings_beyond_exact_sums": int((totals_N >= EXACT).sum()),
        "tied_strings": [readable(name) for _, name in _first(strings, found_N, tied_N)],
        "closest": [{"string": readable(name), "margin": margin} for margin, name in closest],
    }


def _first(strings: Batch, found_N: np.ndarray, chosen_N: np.ndarray) -> list[tuple[int, str]]:
    """(margin, string in the byte alphabet) of SHOWN of the chosen ones, the first in this order."""
    rows = np.flatnonzero(chosen_N).tolist()
    return nsmallest(SHOWN, ((int(found_N[row]), to_alphabet(strings.string(row))) for row in rows))
