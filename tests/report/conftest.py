"""An artifacts directory as the stages leave it, with invented figures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ivr.artifacts import ArtifactPaths
from ivr.disk.digest import sha256_file
from ivr.disk.writer import write_text
from ivr.manifest import PIPELINE, FileRecord, Manifest
from ivr.versions import stage_version

ENDS = {"as_prompt": 1.875, "as_whole_text": 1.75, "difference": 0.125, "low": -0.01, "high": 0.26}
RESULTS: dict[str, dict[str, Any]] = {
    "distill-tokenizer": {
        "types": 41_234,
        "occurrences": 1_234_567,
        "mismatched_types": 3,
        "mismatched_occurrences": 7,
        "agreement_percent": 99.99943,
        "constraints": 812,
        "rounds": 6,
        "largest_score": 1.3e14,
    },
    "select": {"swaps": 60},
    "align": {
        "strategy": "distill",
        "strategies": {
            "zeros": {"new_norm_mean": 0.0, "kept_norm_mean": 3.1, "new_cosine_to_mean": None, "bits_per_byte": 2.5},
            "distill": {"new_norm_mean": 2.9, "kept_norm_mean": 3.1, "new_cosine_to_mean": 0.5, "bits_per_byte": 2.2211}
            | {"new_rows_mass": 0.0712, "new_rows_share": 0.08, "flagged": [{"id": 7, "mass": 0.02, "share": 0.01}]},
        },
    },
    "train": {"steps": 100, "tokens": 51_200, "bytes": 190_123, "passes_over_text": 1.25, "replayed_share": 0.1}
    | {"tokens_per_second_median": 8123.4, "processes": 2, "device": "cpu", "distributed_type": "DEEPSPEED"}
    | {"zero_stage": 2, "precision": "float32"},
    "evaluate": {
        "bits_per_byte": {
            "domain": {"base": 1.9123, "aligned": 2.2211, "trained": 1.6402, "my <own>": 1.5551},
            "general": {"base": 1.7001, "aligned": 1.7013, "trained": 1.7122},
        },
        "differences": {
            "domain": {
                "trained - base": {"difference": -0.2721, "low": -0.3111, "high": -0.2222, "documents": 40},
                "my <own> - base": {"difference": -0.3572, "low": None, "high": None, "documents": 1},
            },
            "general": {"trained - base": {"difference": 0.0121, "low": 0.0011, "high": 0.0222, "documents": 50}},
        },
        "sampling": {
            "base": {"tokens": 1024, "bytes": 3072, "bytes_per_token": 3.0},
            "trained": {"tokens": 1024, "bytes": 4096, "bytes_per_token": 4.0, "new_tokens": 60}
            | {"new_token_share_sampled": 0.1234, "new_token_share_in_text": 0.15, "different_new_tokens_sampled": 41},
        },
        "prompt_ends": {
            "domain": {
                "base": {"cuts": 200, "cuts_inside_a_token": 0, "all": ENDS, "inside": None},
                "trained": {"cuts": 200, "cuts_inside_a_token": 31, "all": ENDS, "inside": {**ENDS, "as_prompt": 2.5}},
            }
        },
        "tokens_per_byte": {"domain": {"base": 0.3131, "aligned": 0.25, "trained": 0.25}},
        "heldout_tokens_before": 45_120,
        "heldout_tokens_after": 42_003,
    },
}


def _row(root: Path, path: Path) -> FileRecord:
    return FileRecord(str(path.relative_to(root)), sha256_file(path), path.stat().st_size)


def _write_run(root: Path, stages: tuple[str, ...] = PIPELINE) -> ArtifactPaths:
    """Manifests of `stages`, each reading what the one before wrote, and the tables the report shows."""
    paths = ArtifactPaths(root)
    previous: list[FileRecord] = []
    for seconds, stage in enumerate(stages):
        output = root / stage / "out.txt"
        write_text(output, stage)
        written = [_row(root, output)]
        manifest = Manifest(
            stage=stage,
            argv=f"ivr {stage}",
            config={"model_name": "my/model <b>"} if stage == "init" else {},
            identity="0",
            inputs=previous if stage != "report" else [_row(root, paths.manifest(made)) for made in stages[:-1]],
            outputs=written,
            results=RESULTS.get(stage, {}),
            versions={"python": "3.13.0", "torch": "2.11.0"},
            started_at=f"2026-01-01T00:00:{seconds:02d}Z",
            wall_seconds=7.5 * seconds,
            peak_memory_bytes=(seconds + 1) << 28,
            version=stage_version(stage),
        )
        manifest.write(paths.manifest(stage))
        previous = written
    if "select" in stages:
        lines = ["old_id,old_token,old_count,new_token,new_count,tokens_saved,reason"]
        lines += [
            f'{300 + n},Ġold{n},{n % 3},"ĠnewĠ""<{n}>""",{9000 // (n + 1)},{18000 // (n + 1)},rare' for n in range(60)
        ]
        write_text(paths.replacement_candidates, "\n".join(lines) + "\n")
    if "train" in stages:
        rows: list[dict[str, Any]] = [
            {"step": n, "loss": 5 - n**0.3 + 0.2 * (n % 7), "lr": 1e-4, "bytes_per_second": 900 + n, "mfu": 0.31}
            for n in range(1, 101)
        ]
        rows[50:50] = [{"step": 50, "heldout_bits_per_byte": 1.9}]
        rows += [{"step": 100, "heldout_bits_per_byte": 1.7}]
        write_text(paths.training / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if "analyze" in stages:
        paths.reports.mkdir(parents=True, exist_ok=True)
        counts = [200_000 // (n + 1) if n < 1900 else 0 for n in range(2000)]
        table = {"token_id": list(range(2000)), "token": [f"Ġold{n}" for n in range(2000)], "count": counts}
        pq.write_table(pa.table(table), paths.token_frequency)
    return paths


@pytest.fixture
def whole_run(tmp_path: Path) -> ArtifactPaths:
    return _write_run(tmp_path)


@pytest.fixture
def write_run() -> Callable[..., ArtifactPaths]:
    """`write_run(root, stages)` writes the run of some stages only."""
    return _write_run
