"""manifests/<stage>.jobs.json: a row that points outside of the run is not followed."""

import json
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cluster.records import jobs_path, read_jobs
from ivr.errors import CorruptInputError

ROW = {
    "job_id": "1", "stage": "train", "command": "ivr train", "profile": "p", "folder": "jobs/train-1",
    "log": "jobs/train-1/1_0_log.out", "submitted_at": "2026-01-01T00:00:00Z", "after": [],
}  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"log": "../../secret"}, {"log": "/etc/passwd"}, {"folder": "jobs/../../x"}])
def test_logs_lie_inside_the_run(tmp_path: Path, change: dict[str, str]) -> None:
    paths = ArtifactPaths(tmp_path)
    jobs_path(paths, "train").parent.mkdir()
    jobs_path(paths, "train").write_text(json.dumps([{**ROW, **change}]))
    if not change:
        assert read_jobs(paths, "train")[0].log == ROW["log"]
        return
    with pytest.raises(CorruptInputError, match="lies outside"):
        read_jobs(paths, "train")
