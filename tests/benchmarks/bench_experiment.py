"""Bits per byte against training budget, per initialiser, for a vocabulary reassigned in place in a tied GPT-2.

    python tests/benchmarks/bench_experiment.py --work DIR        # CPU; --minutes 9 stops in time, goes on later
    python tests/benchmarks/bench_experiment.py --work DIR --report-only       # what there is so far
    python tests/benchmarks/bench_experiment.py --work DIR --size tiny         # every path, in two minutes
    python tests/benchmarks/bench_experiment.py --work DIR --size gpt2 --device cuda  # 124M parameters

A GPT-2 with the real vocabulary is pre-trained on English books; then for biomedical and Korean text, at two numbers of
swaps, every initialiser is scored untrained and after two budgets of text, against fine-tuning without reassignment on
the same bytes and on the same FLOPs. What is held equal: experiment_cells.py.
Writes DIR/experiment.json, DIR/experiment.md and DIR/experiment.png.
"""

import argparse
import ctypes
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow each other down on a busy machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or shared / "gpt2"))
    parser.add_argument("--size", choices=("small", "small-gpt2", "gpt2", "tiny", "tiny-gpt2"), default="small")
    parser.add_argument("--device", default="cpu", help="for pre-training, align and scores; `ivr train` takes CUDA's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--only", default="", metavar="REGEX", help="just the cells whose names match, e.g. ^korean")
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    import experiment_cells
    import experiment_data
    import experiment_report
    from experiment_report import speeds

    from ivr.console import LOG, set_up_logging

    set_up_logging(0)
    size = experiment_data.SIZES[options.size]
    lab = experiment_cells.Laboratory(options.work, size, options.device, options.threads)
    until = time.monotonic() + 60 * options.minutes
    if not options.report_only:
        keep_memory()
        prepare(lab, options)
        for cell in experiment_cells.plan(size):
            if lab.result(cell).exists() or not re.search(options.only, cell.name):
                continue
            if time.monotonic() > until:
                LOG.info("time is up; the same command goes on with %s", cell.name)
                break
            LOG.info("cell %s", cell.name)
            LOG.setLevel("WARNING")
            experiment_cells.run_cell(lab, cell)
            LOG.setLevel("INFO")
    found = list(experiment_cells.finished(lab))
    experiment_report.write(lab, found, preparation(lab) | {"machine": machine(options)} | speeds(lab, found))


def prepare(lab: Any, options: argparse.Namespace) -> None:
    """Text, base model, vocabularies, where they are not there yet; how long that took is written beside the cells."""
    import experiment_cells
    import experiment_data

    from ivr.disk.writer import write_json

    if not (lab.root / "text").exists():
        experiment_data.prepare_text(options.corpora_dir, lab.root / "text", lab.size)
    if not (lab.root / "base").exists():
        experiment_data.pretrain(
            lab.root / "text", lab.root / "base", lab.size, options.gpt2_dir, lab.device, lab.threads
        )
    between, cpu_between = time.monotonic(), time.process_time()
    experiment_cells.prepare_vocabularies(lab)
    if not (lab.root / "vocabularies.json").exists():
        times = {"seconds": time.monotonic() - between, "cpu_seconds": time.process_time() - cpu_between}
        write_json(lab.root / "vocabularies.json", {name: round(value, 1) for name, value in times.items()})


def preparation(lab: Any) -> dict[str, Any]:
    """What pre-training and the vocabularies took."""
    files = {name: lab.root / f"{name}.json" for name in ("pretraining", "vocabularies")}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.exists()}


def machine(options: argparse.Namespace) -> str:
    import torch

    if torch.cuda.is_available() and options.device != "cpu":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{options.threads} thread(s) of {model}"


def keep_memory() -> None:
    """Let glibc keep what torch frees. The logits of 50,257 tokens are 50 MB a step; fetched from the system anew, and
    filled with zeros by it, each time, they take a quarter of the step."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_max = -1, -4
            libc.mallopt(mmap_max, 0)
            libc.mallopt(trim_threshold, 2**31 - 1)


if __name__ == "__main__":
    main()
