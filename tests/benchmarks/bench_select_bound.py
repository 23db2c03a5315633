"""How far `ivr select` is from the best that any selection of the same size could do.

    python tests/benchmarks/bench_select_bound.py --artifacts-dir RUN [--pretokens 300] [--swaps 20]

RUN holds a distilled tokenizer and its counts. On the most frequent pretokens that take more than one token, three
figures of the same instance: the swaps that `ivr select` finds; the exact optimum (an integer programme, HiGHS); and
the optimum of its linear relaxation. Both bounds allow more than any tokenizer can: every pretoken takes the fewest
tokens its vocabulary permits, whatever scores would say, old tokens never leave, and every string of the text may
enter.

Variables: x[p, a] in [0, 1], pretoken p uses token a at a place (a flow from its first byte to its last); y[u] in
{0, 1}, new string u is in use. Minimise sum of count(p) x[p, a] subject to x[p, a] <= y[u] and sum y <= K.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable, read_pretoken_frequency
from ivr.artifacts import ArtifactPaths
from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.remap.apply import DistilledTokenizer
from ivr.tokenizer.select.candidates import CandidateRules
from ivr.tokenizer.select.selection import Request, select_swaps
from ivr.tokenizer.select.texts import join_texts
from ivr.tokenizer.unigram_file import read_unigram


@dataclass(frozen=True)
class Programme:
    """min cost x subject to equal x = target, upper x <= 0, sum of y <= K; the last `num_new` variables are y."""

    cost: np.ndarray
    equal: coo_array
    target: np.ndarray
    upper: coo_array
    num_new: int

    def solve(self, swaps: int, exact: bool, seconds: float) -> tuple[float, float]:
        """(bound on the tokens from below, tokens of the best solution found)."""
        size = len(self.cost)
        chosen = np.zeros((1, size))
        chosen[0, size - self.num_new :] = 1
        integral = np.zeros(size)
        integral[size - self.num_new :] = exact
        result = milp(
            self.cost,
            integrality=integral,
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(self.equal, self.target, self.target),
                LinearConstraint(self.upper, -np.inf, 0),
                LinearConstraint(chosen, 0, swaps),
            ],
            options={"time_limit": seconds},
        )
        if result.x is None:
            raise SystemExit(f"no solution in {seconds:g} s: {result.message}")
        return float(result.mip_dual_bound if exact else result.fun), float(result.fun)


def programme(strings: list[bytes], counts: np.ndarray, old: set[bytes]) -> Programme:
    """All arcs of all pretokens: old tokens, and every string of whole characters of two bytes or more."""
    new: dict[bytes, int] = {}
    rows, columns, used = list[int](), list[int](), list[tuple[int, int]]()
    values, cost, target = list[float](), list[float](), list[float]()
    node = 0
    for string, count in zip(strings, counts.tolist(), strict=True):
        n = len(string)
        target += [-1.0] + [0.0] * (n - 1) + [1.0]
        for i in range(n):
            for j in range(i + 1, n + 1):
                part = string[i:j]
                if part not in old:
                    if (string[i] & 0xC0) == 0x80 or (j < n and (string[j] & 0xC0) == 0x80):
                        continue
                    used.append((len(cost), new.setdefault(part, len(new))))
                rows += [node + i, node + j]
                columns += [len(cost)] * 2
                values += [-1.0, 1.0]
                cost.append(float(count))
        node += n + 1
    size = len(cost) + len(new)
    limits = np.array([(row, arc, len(cost) + place) for row, (arc, place) in enumerate(used)], np.int64).reshape(-1, 3)
    return Programme(
        cost=np.concatenate([cost, np.zeros(len(new))]),
        equal=coo_array((values, (rows, columns)), shape=(node, size)),
        target=np.array(target),
        upper=coo_array(
            (
                np.repeat([1.0, -1.0], len(limits)),
                (np.tile(limits[:, 0], 2), np.concatenate([limits[:, 1], limits[:, 2]])),
            ),
            shape=(len(limits), size),
        ),
        num_new=len(new),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pretokens", type=int, default=300, metavar="N", help="default: %(default)s")
    parser.add_argument("--swaps", type=int, default=20, metavar="K", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=120, metavar="S", help="for each programme (default: 120)")
    options = parser.parse_args()

    paths = ArtifactPaths(options.artifacts_dir)
    distilled = DistilledTokenizer(*read_unigram(paths.distilled_tokenizer / "tokenizer.json"))
    tokens, splitter = distilled.token_bytes(), PretokenSplitter(distilled.tokenizer)
    table = read_pretoken_frequency(paths.pretoken_frequency)
    lengths = (
        UnigramEncoder(tokens, distilled.scores_V).encode(Batch.of([p.encode() for p in table.pretokens])).lengths()
    )
    places = np.flatnonzero(lengths > 1)[: options.pretokens]
    part = PretokenTable([table.pretokens[i] for i in places], table.counts_P[places], table.documents_P[places])

    old = {token for token in tokens if token}
    rules = CandidateRules(min_count=1, min_documents=1, max_bytes=48, whole_characters=True, exclude="")
    droppable = [i for i in range(len(tokens) - 1, -1, -1) if len(tokens[i]) > 1]
    selection = select_swaps(
        tokens, distilled.scores_V, droppable, join_texts(part, None, splitter), Request(options.swaps, 0, 1, 0, rules)
    )
    problem = programme([p.encode() for p in part.pretokens], part.counts_P, old)
    found = {"pretokens": len(part), "swaps": options.swaps, "strings": problem.num_new}
    found |= {"tokens": selection.tokens_before, "select": selection.tokens_after}
    for name, exact in (("relaxation", False), ("optimum", True)):
        started = time.perf_counter()
        bound, best = problem.solve(options.swaps, exact, options.seconds)
        found |= {name: round(bound, 1), f"{name}_seconds": round(time.perf_counter() - started, 1)}
        if exact:
            found["best_found"] = round(best, 1)
    for name in ("relaxation", "optimum"):
        possible = found["tokens"] - found[name]
        found[f"share_of_{name}_percent"] = round(100 * (found["tokens"] - found["select"]) / possible, 2)
    print(json.dumps(found))
    saved = found["tokens"] - found["select"]
    print(
        f"{len(part)} pretokens, {options.swaps} swaps: select saves {saved:,} of {found['tokens']:,} tokens, "
        f"{found['share_of_optimum_percent']} % of what the best strings could (bounded from above), "
        f"{found['share_of_relaxation_percent']} % of the relaxation's bound"
    )


if __name__ == "__main__":
    main()
