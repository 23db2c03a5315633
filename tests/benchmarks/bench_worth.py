"""What reassigned ids are worth to a pretrained model: bits per byte before and after training, against a control.

    python tests/benchmarks/bench_worth.py --work DIR [--minutes N] [--only REGEX] [--report-only] [--results]
    python tests/benchmarks/bench_worth.py --work DIR --model-name small --domains biomedical:1e-3/2e-3/4e-3 ...

For each domain ids of the model are reassigned in several ways (ARMS), with the default initialiser, and every model is
trained once on the same budget's documents; `unchanged` is the model with its own vocabulary, trained on the same
bytes, `unchanged-flops` on as many FLOPs as `superwords-500` took for its rows and its training. Of several learning
rates each arm has the one that loses least on held-out text that is not scored. A cell is a JSON file that is made
once: a run that is stopped goes on. In the table: tokens of the held-out documents that are saved; their bits per byte,
and what that is more than the control's with its 95 % interval (documents drawn again, in pairs); bits lost for each
token saved; petaFLOPs of training; bits per byte of novels (`--general-bytes`); of what follows a prompt that ends
behind a word (`--prompt-cuts`), how many of these ends lie inside a token, and the bits per byte lost there against the
same text encoded as one. On two cores some 90 tokens of SmolLM2 are trained a second; `small` is the GPT-2 of
bench_experiment.py (4 layers, 128 wide), pre-trained here on novels.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from bench_tokenizers import ROOT
from results import Record, add_option, command_line, publish
from worth_cells import UNCHANGED, Cell, Laboratory, scores_of

from ivr.evaluation.intervals import paired_difference

NAMES = {"small": "worth-small"}  # the table of a model; of all others: "worth"
COLUMNS = (
    "domain", "budget in kB", "arm", "tokens saved %", "bits per byte", "more than the control", "95 % interval",
    "bits lost per token saved", "PFLOPs", "novels", "behind a cut", "cuts inside a token %", "lost there",
)  # fmt: skip


def table(lab: Laboratory) -> list[list[str | int | float | None]]:
    """A row for each cell that there is and whose control there is."""
    rows: list[list[str | int | float | None]] = []
    for cell in lab.arms():
        found, control = lab.result(cell), lab.result(Cell(cell.domain, UNCHANGED, cell.budget))
        if not found or not control:
            continue
        mine, others = scores_of(found["scores"]), scores_of(control["scores"])
        saved = int(others.tokens_N.sum() - mine.tokens_N.sum())
        row: list[str | int | float | None] = [cell.domain, cell.budget // 1000, cell.arm]
        row += [round(100 * saved / int(others.tokens_N.sum()), 1), round(mine.bits_per_byte, 4)]
        if cell.arm == UNCHANGED:
            row += ["", "", ""]
        else:
            more = paired_difference(mine, others)
            lost = float(mine.bits_N.sum() - others.bits_N.sum()) / saved if saved > 0 else None
            row += [round(more.difference, 4), f"{more.low:.4f} to {more.high:.4f}", round(lost, 2) if lost else ""]
        flops = found.get("tokens", 0) * found.get("flops_per_token", 0)
        novels = round(scores_of(found["general"]).bits_per_byte, 4) if "general" in found else ""
        rows.append(
            [*row, float(f"{flops / 1e15:.3g}") if flops else "", novels, *_prompt_end(found.get("prompt_end"))]
        )
    return rows


def _prompt_end(found: dict[str, Any] | None) -> list[str | int | float | None]:
    if not found:
        return ["", "", ""]
    share = round(100 * found["cuts_inside_a_token"] / found["cuts"], 1)
    lost = round(found["inside"]["difference"], 4) if found["inside"] else ""
    return [round(found["all"]["as_prompt"], 4), share, lost]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    corpora = Path(os.environ.get("CORPORA_DIR") or ROOT.parent / "shared" / "corpora")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model-name", default="smollm2")
    parser.add_argument("--corpora-dir", type=Path, default=corpora)
    parser.add_argument(
        "--domains",
        default="biomedical:3e-5,korean_reviews:1e-4",
        metavar="NAME:LR[/LR...],...",
        help="corpora, and the learning rates that are tried on each (default: %(default)s)",
    )
    parser.add_argument("--budgets", default="100", help="kB of training text (default: %(default)s)")
    parser.add_argument("--scored-bytes", type=int, default=16_000, help="of held-out text (default: %(default)s)")
    parser.add_argument("--general-bytes", type=int, default=0, help="of novels, scored too (default: %(default)s)")
    parser.add_argument("--prompt-cuts", type=int, default=0, help="places where a prompt ends (default: %(default)s)")
    parser.add_argument("--block-size", type=int, default=256)
    parser.add_argument("--snippets", type=int, default=300, help="that `align` reads (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--only", default="", metavar="REGEX", help="just the cells whose names match")
    parser.add_argument("--report-only", action="store_true", help="the table of the cells that there are")
    add_option(parser)
    options = parser.parse_args()
    lab, until = Laboratory(options), time.monotonic() + 60 * options.minutes
    for cell in lab.cells():
        if options.report_only or lab.read(cell) or not re.search(options.only, cell.name):
            continue
        if time.monotonic() > until:
            print(f"time is up; the same command goes on with {cell.name}", file=sys.stderr)
            break
        print(time.strftime("%H:%M:%S"), cell.name, file=sys.stderr, flush=True)
        lab.run(cell)
    rows = table(lab)
    measured = [place for place in range(len(COLUMNS)) if any(row[place] != "" for row in rows)]
    rows = [[row[place] for place in measured] for row in rows]
    for row in rows:
        print(*row, sep="\t")
    columns = tuple(COLUMNS[place] for place in measured)
    publish(options, NAMES.get(options.model_name, "worth"), Record(command_line(), columns, rows))


if __name__ == "__main__":
    main()
