"""A site: profiles for the testbed's Slurm, `ivr` as a user calls it, and how the jobs stand."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.cluster.records import ENDED
from ivr.training.metrics import TIME_FIELDS

ROOT = Path(__file__).parents[1]
TESTBED = ROOT / "slurm" / "testbed" / "testbed.sh"
# one small training run, the same in every drill; it saves only when it is told to, and at its end
TRAINING = ["--threads=1", "--batch-size=2", "--eval-bytes=300", "--eval-every=100000", "--save-every=100000"]


class Site:
    """What the tests do on the cluster. Each world is an artifacts directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        for name in (
            "RANK",
            "LOCAL_RANK",
            "WORLD_SIZE",
            "MASTER_ADDR",
            "MASTER_PORT",
            "MAKEFLAGS",
            "MFLAGS",
            "MAKELEVEL",
        ):
            self.environment.pop(name, None)

    def profile(self, **keys: Any) -> Path:
        """Partition low, ten minutes, and these keys."""
        keys = {"partition": "low", "time": "10", "warning_seconds": 60, **keys}
        path = self.folder / f"profile-{len(list(self.folder.glob('profile-*')))}.toml"
        tables = {key: value for key, value in keys.items() if isinstance(value, dict)}
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if key not in tables]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        path.write_text("\n".join(lines) + "\n")
        return path

    def ivr(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ivr", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=1200)
        assert not check or done.returncode == 0, done.stderr
        return done

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The project's own Makefile, with this Python."""
        command = ["make", "--no-print-directory", f"IVR={sys.executable} -m ivr", "SETUP=", *words]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr
        return done

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """The same, in the background."""
        command = [sys.executable, "-m", "ivr", *map(str, arguments)]
        self.started.append(subprocess.Popen(command, cwd=ROOT, env=self.environment))
        return self.started[-1]

    def close(self) -> None:
        """End what was started and still runs: of a test that failed."""
        for process in self.started:
            process.kill()

    def submit(self, paths: ArtifactPaths, profile: Path, *arguments: object) -> str:
        """Submit and do not wait; the id of the (last) job."""
        done = self.ivr("submit", *arguments, "--profile", profile, "--detach", "--artifacts-dir", paths.root)
        return done.stdout.strip()

    def wait(self, paths: ArtifactPaths, job_id: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.ivr("submit", "--attach", job_id, "--artifacts-dir", paths.root, check=check)

    def job(self, paths: ArtifactPaths, stage: str = "train") -> dict[str, Any]:
        """The newest row of a stage, as `ivr status --json` has it."""
        rows = json.loads(self.ivr("status", "--json", "-q", "--artifacts-dir", paths.root).stdout)
        return dict(next(row["jobs"] for row in rows if row["stage"] == stage)[-1])

    def slurm(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def field(self, job_id: str, name: str) -> str:
        """A field of `scontrol show job`."""
        for word in self.slurm("scontrol", "--oneliner", "show", "job", job_id).split():
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
        raise AssertionError(f"no {name} of job {job_id}")

    def occupy(self) -> str:
        """A short job of the partition that preempts, on both nodes."""
        said = self.slurm("sbatch", "-p", "high", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2")
        return said.split()[-1]


def until(seconds: float, what: str, true: Callable[[], Any]) -> Any:
    """Wait until `true()` is, at most so long."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what}: not after {seconds} s"
        time.sleep(0.2)
    return found


def last_step(paths: ArtifactPaths) -> int:
    """The last step in the training's log."""
    try:
        lines = (paths.training / "metrics.jsonl").read_text().splitlines()
        return max((json.loads(line)["step"] for line in lines), default=0)
    except (FileNotFoundError, ValueError):
        return 0


def ran_to_step(site: Site, paths: ArtifactPaths, job: str, step: int, turn: int = 0, seconds: float = 600) -> None:
    """Wait until the job is in this turn (from 0) or a later one, and beyond this step. A job that ends will not be."""

    def there() -> bool:
        state = site.field(job, "JobState")
        if state in ENDED - {"PREEMPTED", "NODE_FAIL"}:
            log = next((paths.root / "jobs").glob(f"*/{job}_0_log.out"), None)
            said = log.read_text()[-3000:] if log else "no log"
            raise AssertionError(
                f"job {job} is {state} at step {last_step(paths)}, wanted turn {turn}, step {step}: {said}"
            )
        return int(site.field(job, "Restarts")) >= turn and last_step(paths) >= step

    until(seconds, f"turn {turn} of job {job} at step {step}", there)


def log_of(paths: ArtifactPaths, job: dict[str, Any]) -> str:
    return (paths.root / job["log"]).read_text()


def products(paths: ArtifactPaths) -> tuple[bytes, list[dict[str, Any]]]:
    """What must be the same however often a run was stopped: the weights, and the log but for its times."""
    lines = (paths.training / "metrics.jsonl").read_text().splitlines()
    rows = [{key: value for key, value in json.loads(line).items() if key not in TIME_FIELDS} for line in lines]
    return (paths.final_model / "model.safetensors").read_bytes(), rows


def rank_process(job: str, rank: int) -> int:
    """The process of one rank."""
    for folder in Path("/proc").iterdir():
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"submitit.core._submit" in command and b"srun" not in command.split(b"\0")[0]:
            wanted = {f"SLURM_JOB_ID={job}".encode(), f"SLURM_PROCID={rank}".encode()}
            if wanted <= set(environment):
                return int(folder.name)
    raise AssertionError(f"no rank {rank} of job {job}")
