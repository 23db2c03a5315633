"""How the time and memory of `ivr select` grow with distinct pretokens and with K.

    python tests/benchmarks/bench_select_growth.py --artifacts-dir RUN [--swaps 500,2000,10000] [--plot growth.svg]
                                                   [--results]

RUN holds a distilled tokenizer and its counts. Every selection runs in a process of its own, on every n-th distinct
pretoken of the run's table; the figures are processor seconds, from reading the files to the last swap with what is
compiled already cached, and the largest resident memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import results


def measure(artifacts: Path, swaps: int, step: int) -> dict[str, float]:
    """One selection, in this process."""
    import numpy as np

    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.analysis.tables import PretokenTable, read_pretoken_frequency
    from ivr.artifacts import ArtifactPaths
    from ivr.tokenizer.remap.apply import DistilledTokenizer
    from ivr.tokenizer.select.candidates import DEFAULT_EXCLUDE, CandidateRules
    from ivr.tokenizer.select.selection import Request, select_swaps
    from ivr.tokenizer.select.texts import join_texts
    from ivr.tokenizer.unigram_file import read_unigram

    paths = ArtifactPaths(artifacts)
    distilled = DistilledTokenizer(*read_unigram(paths.distilled_tokenizer / "tokenizer.json"))
    tokens, table = distilled.token_bytes(), read_pretoken_frequency(paths.pretoken_frequency)
    places = np.arange(0, len(table), step)
    part = PretokenTable([table.pretokens[i] for i in places], table.counts_P[places], table.documents_P[places])
    droppable = [i for i in range(len(tokens) - 1, -1, -1) if len(tokens[i]) > 1]
    rules = CandidateRules(3, 2, 128, whole_characters=True, exclude=DEFAULT_EXCLUDE)
    texts = join_texts(part, None, PretokenSplitter(distilled.tokenizer))
    selection = select_swaps(tokens, distilled.scores_V, droppable, texts, Request(swaps, 2, 1, 0, rules))
    return {
        "pretokens": len(part),
        "swaps": len(selection.swaps),
        "cpu_seconds": round(time.process_time(), 1),
        "GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def measured(artifacts: Path, swaps: int, step: int) -> dict[str, float]:
    """One selection, in another process."""
    command = [sys.executable, __file__, "--artifacts-dir", str(artifacts), "--one", f"{swaps},{step}"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


def record(rows: list[dict[str, float]]) -> results.Record:
    """The table of all selections."""
    return results.Record(
        results.command_line(),
        ["distinct pretokens", "swaps", "processor seconds", "GiB"],
        [[row["pretokens"], row["swaps"], row["cpu_seconds"], row["GiB"]] for row in rows],
    )


def plot(by_pretokens: list[dict[str, float]], by_swaps: list[dict[str, float]], path: Path) -> None:
    """Seconds and memory against distinct pretokens, and against K."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    _, panels = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for panel, rows, what in ((panels[0], by_pretokens, "pretokens"), (panels[1], by_swaps, "swaps")):
        panel.plot([row[what] for row in rows], [row["cpu_seconds"] for row in rows], marker="o", color="tab:blue")
        panel.set(xlabel=f"distinct {what}" if what == "pretokens" else what, xlim=(0, None), ylim=(0, None))
        panel.set_ylabel("processor seconds", color="tab:blue")
        memory = panel.twinx()
        memory.plot([row[what] for row in rows], [row["GiB"] for row in rows], marker="s", color="tab:orange")
        memory.set(ylim=(0, None))
        memory.set_ylabel("GiB", color="tab:orange")
    pyplot.tight_layout()
    pyplot.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--swaps", default="500,2000,5000,10000", metavar="K,K")
    parser.add_argument(
        "--steps", default="8,4,2,1", metavar="N,N", help="every N-th distinct pretoken, with 2,000 swaps"
    )
    parser.add_argument("--plot", type=Path, help="a picture, .svg or .png")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    results.add_option(parser)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.artifacts_dir, *map(int, options.one.split(",")))))
        return
    measured(options.artifacts_dir, 100, 50)  # compiles
    by_pretokens = [measured(options.artifacts_dir, 2000, int(step)) for step in options.steps.split(",")]
    by_swaps = [measured(options.artifacts_dir, int(swaps), 1) for swaps in options.swaps.split(",")]
    found = record([*by_pretokens, *by_swaps])
    print(results.table(found))
    results.publish(options, "select-growth", found)
    if options.plot:
        plot(by_pretokens, by_swaps, options.plot)


if __name__ == "__main__":
    main()
