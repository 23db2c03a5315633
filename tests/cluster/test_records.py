"""manifests/<stage>.jobs.json: a row that points outside of the run is not followed."""

from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cluster.records import jobs_path, read_jobs
from ivr.errors import CorruptInputError
from ivr.report.integrity import check
from ivr.schema import write_sealed

ROW = {
    "job_id": "1", "stage": "train", "command": "ivr train", "profile": "p", "folder": "jobs/train-1",
    "log": "jobs/train-1/1_0_log.out", "submitted_at": "2026-01-01T00:00:00Z", "after": [],
}  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"log": "../../secret"}, {"log": "/etc/passwd"}, {"folder": "jobs/../../x"}])
def test_logs_lie_inside_the_run(tmp_path: Path, change: dict[str, str]) -> None:
    paths = ArtifactPaths(tmp_path)
    jobs_path(paths, "train").parent.mkdir()
    write_sealed(jobs_path(paths, "train"), {"jobs": [{**ROW, **change}]})
    if not change:
        assert read_jobs(paths, "train")[0].log == ROW["log"]
        return
    with pytest.raises(CorruptInputError, match="lies outside"):
        read_jobs(paths, "train")


def test_any_flipped_bit_is_seen_by_those_who_read_it_and_by_check(tmp_path: Path) -> None:
    paths = ArtifactPaths(tmp_path)
    path = jobs_path(paths, "train")
    write_sealed(path, {"jobs": [ROW]})
    whole = path.read_bytes()
    assert check(paths, 1, int).damage == []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CorruptInputError, match="delete it to forget these jobs"):
            read_jobs(paths, "train")
        assert [finding.path for finding in check(paths, 1, int).damage] == ["manifests/train.jobs.json"], place


def test_a_list_without_a_checksum_is_refused(tmp_path: Path) -> None:
    paths = ArtifactPaths(tmp_path)
    jobs_path(paths, "train").parent.mkdir()
    jobs_path(paths, "train").write_text('{"jobs": []}')
    with pytest.raises(CorruptInputError, match="checksum: this field is missing; delete it"):
        read_jobs(paths, "train")
