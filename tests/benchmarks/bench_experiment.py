"""Bits per byte against training budget, per initialiser, for a vocabulary reassigned in place in a tied GPT-2.

    python tests/benchmarks/bench_experiment.py --work DIR        # CPU; --minutes 9 stops in time, goes on later
    python tests/benchmarks/bench_experiment.py --work DIR --report-only       # what there is so far
    python tests/benchmarks/bench_experiment.py --work DIR --size gpt2 --device cuda  # untested: no GPU was at hand

A GPT-2 is pre-trained on English books; then for biomedical and Korean text, at two numbers of swaps, every initialiser
is scored untrained and after three budgets of text, against fine-tuning without reassignment on the same bytes and on
the same tokens (which is the same FLOPs). So far only untrained cells have run: training ones are untested.
Writes DIR/experiment.json, DIR/experiment.md and DIR/experiment.png.
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow each other down on a busy machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or shared / "gpt2"))
    parser.add_argument("--size", choices=("small", "gpt2"), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    import experiment_cells
    import experiment_data
    import experiment_report

    from ivr.console import LOG, set_up_logging

    set_up_logging(0)
    size = experiment_data.SIZES[options.size]
    lab = experiment_cells.Laboratory(options.work, size, options.device, options.threads)
    until = time.monotonic() + 60 * options.minutes
    if not options.report_only:
        if not (lab.root / "text").exists():
            experiment_data.prepare_text(options.corpora_dir, lab.root / "text", size)
        if not (lab.root / "base").exists():
            experiment_data.pretrain(lab.root / "text", lab.root / "base", size, options.gpt2_dir, options.device)
        experiment_cells.prepare_vocabularies(lab)
        for cell in experiment_cells.cells(size):
            if lab.result(cell).exists():
                continue
            if time.monotonic() > until:
                LOG.info("time is up; the same command goes on with %s", cell.name)
                break
            LOG.info("cell %s", cell.name)
            LOG.setLevel("WARNING")
            experiment_cells.run_cell(lab, cell)
            LOG.setLevel("INFO")
    experiment_report.write(lab, list(experiment_cells.finished(lab)))


if __name__ == "__main__":
    main()
