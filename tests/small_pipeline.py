"""The smallest real pipeline: every stage through the command line, on a tiny model and corpus, in some seconds.

`run_forked` runs a stage in a child that has every import behind it already, so that it can be killed in the midst of
its work and started again at no cost.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from builders import END, bpe_tokenizer, documents, save_tokenizer, tiny_model
from tiny_run import domain_documents

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.disk.digest import sha256_file
from ivr.manifest import PIPELINE
from ivr.training.metrics import read_metrics, without_times

STAGE_OPTIONS = {
    "init": ["--heldout-fraction", "0.2"],
    "analyze": ["--threads", "1"],
    "distill-tokenizer": [],
    "select": ["--swaps", "12"],
    "remap": [],
    "align": ["--init-strategy", "pieces"],
    "train": ["--max-steps", "12", "--save-every", "3", "--eval-every", "6", "--batch-size", "2", "--threads", "1"],
    "evaluate": ["--max-documents=8", "--prompt-cuts=8", "--samples=2", "--sample-tokens=8", "--threads=1"],
    "report": [],
}
assert list(STAGE_OPTIONS) == list(PIPELINE)


def write_inputs(folder: Path) -> None:
    """`folder`/model, /domain and /general: what a person brings."""
    tokenizer = bpe_tokenizer()
    tiny_model(tokenizer.get_vocab_size()).save_pretrained(folder / "model")
    save_tokenizer(tokenizer, folder / "model")
    for name, texts in (("domain", domain_documents(120)), ("general", documents(60, seed=5))):
        (folder / name).mkdir()
        lines = (json.dumps({"text": text.replace(END, "")}, ensure_ascii=False) + "\n" for text in texts)
        (folder / name / "texts.jsonl").write_text("".join(lines), encoding="utf-8")


def command(stage: str, inputs: Path, artifacts: Path) -> list[str]:
    """The words after `ivr`."""
    words = [stage, "--artifacts-dir", str(artifacts), "-q", *STAGE_OPTIONS[stage]]
    if stage == "init":
        words += ["--model-name", str(inputs / "model"), "--raw-corpora-dir", str(inputs / "domain")]
        words += ["--general-corpora-dir", str(inputs / "general")]
    return words


def run_stage(stage: str, inputs: Path, artifacts: Path) -> int:
    """Run it in this process; returns the exit code."""
    return main(command(stage, inputs, artifacts))


def import_everything() -> None:
    """What the stages import when they run, before the first fork: no thread may be started by it."""
    import torch  # noqa: F401
    from accelerate import Accelerator  # noqa: F401

    import ivr.analysis.analyze
    import ivr.analysis.counting
    import ivr.base.init
    import ivr.embedding.align
    import ivr.embedding.trials
    import ivr.evaluation.evaluate
    import ivr.evaluation.intervals
    import ivr.report.page.page
    import ivr.tokenizer.distill.pipeline
    import ivr.tokenizer.remap.apply
    import ivr.tokenizer.select.greedy
    import ivr.training.loop
    import ivr.training.setup  # noqa: F401


def run_forked(words: list[str], log: Path, kill_after: float | None = None, number: int = 9) -> tuple[int, float]:
    """Run `ivr WORDS` in a fork, killed by signal `number` after so many seconds; (wait status, seconds it ran)."""
    child = os.fork()
    if not child:
        _be_child(words, log)
    begun = time.monotonic()
    if kill_after is not None:
        _wait_until(lambda: _has_ended(child), begun + kill_after)
        if not _has_ended(child):
            os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return status, time.monotonic() - begun


def _be_child(words: list[str], log: Path) -> None:
    code = 99
    try:
        os.setsid()
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for number in (1, 2):
            os.dup2(stream, number)
        code = main(words)
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_until(done: Callable[[], bool], end: float) -> None:
    while time.monotonic() < end and not done():
        time.sleep(0.001)


def artifact_hashes(artifacts: Path) -> dict[str, str]:
    """name -> sha256 of everything a run leaves, but for what names times: of manifests and the report's tables what
    they say of files and figures, of metrics.jsonl the rows without times. Of checkpoints the newest: which others are
    kept depends on where the training was stopped. Names that begin with a dot are the machinery's."""
    found = {}
    paths = ArtifactPaths(artifacts)
    for folder, folders, names in os.walk(artifacts):
        older = sorted(name for name in folders if name.startswith("step-"))[:-1]
        folders[:] = [name for name in folders if name[0] != "." and name not in older]
        for name in names:
            path = Path(folder, name)
            label = str(path.relative_to(artifacts))
            if name[0] != "." and not label.startswith(ALL_TIMES):
                found[label] = _content(path, paths)
    return found


ALL_TIMES = ("report/index.html", "report/pictures/training-speed.")
SOME_TIMES = ("metrics.jsonl", "complete.json", "figures.json", "stages.csv", "training.csv", "lineage.csv")


def _content(path: Path, paths: ArtifactPaths) -> str:
    if path.name == "metrics.jsonl":
        return json.dumps(without_times(read_metrics(path)))
    if path.name == "complete.json":  # names the hash of metrics.jsonl
        facts = json.loads(path.read_bytes())
        return json.dumps([facts["step"], facts["card"], sorted(facts["files"])])
    if path.parent == paths.root / "manifests":
        record = json.loads(path.read_bytes())
        rows = [[row["path"], row["sha256"]] for row in record["outputs"] if not _has_times(row["path"])]
        figures = {key: value for key, value in record["results"].items() if "per_second" not in key}
        return json.dumps([record["config"], figures, rows])
    if path.name == "figures.json":
        tables = json.loads(path.read_bytes())["tables"]
        return json.dumps({name: _timeless(rows) for name, rows in tables.items()})
    if path.name in SOME_TIMES:
        with path.open(encoding="utf-8", newline="") as stream:
            return json.dumps(_timeless(list(csv.DictReader(stream))))
    return sha256_file(path)


def _has_times(name: str) -> bool:
    return name.startswith(ALL_TIMES) or PurePath(name).name in SOME_TIMES


def _timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A table of the report without what the clock and the machine decide."""
    found = []
    for row in rows:
        left_out = {"seconds", "peak_memory_bytes", "output_bytes"}
        left_out |= {"sha256", "bytes"} if _has_times(row.get("path", "")) else set()
        if "a second" not in row.get("what", ""):
            found.append({key: value for key, value in row.items() if key not in left_out})
    return found
