"""From a profile and a piece of work to submitit's AutoExecutor, and to the script that sbatch gets.

The command runs under srun, one task a process. After it, on the host and outside any image, the script looks whether
the job left a note that it wants another turn (ivr.cluster.job writes it once all ranks have saved), asks Slurm for
it, or writes the exit code beside the log.
"""

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.cluster.profile import Profile
from ivr.console import printable
from ivr.errors import ConfigError

# what an allocation may have left in the environment that the script was submitted with by hand
FORGET = "unset RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT " + " ".join(
    f"${{!{prefix}*}}" for prefix in ("SLURM_CPU_BIND", "SLURM_MEM_BIND", "PMI", "OMPI_")
)
# after `rc=$?`; {folder} and {turns} are filled in
TEARDOWN = """\
rc=$?
id=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_}}${{SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}}
cd {folder} || exit "$rc"
if [ -e "$id.again" ]; then
  rm -f "$id.again"
  if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {turns} ]; then
    echo "ivr: job $id has been requeued {turns} times (max_requeues of the profile); no more" >&2
  elif scontrol requeue "$SLURM_JOB_ID"; then
    echo "ivr: job $id is queued again" >&2
    exit 0
  else
    echo "ivr: Slurm does not requeue job $id; submit the stage again, it goes on from what was saved" >&2
  fi
fi
echo "$rc" > "$id.exit"
exit "$rc\""""


@dataclass(frozen=True)
class Work:
    """One job, or with several command lines an array of them. A command line is a stage and its arguments."""

    stage: str
    command_lines: tuple[tuple[str, ...], ...]
    nodes: int = 1
    processes_per_node: int = 1
    gpus_per_node: int = 0
    started_by_process: int = 1  # processes that one of these starts itself

    @property
    def is_array(self) -> bool:
        return len(self.command_lines) > 1


def plan_work(profile: Profile, stage: str, command_lines: tuple[tuple[str, ...], ...]) -> Work:
    """What a stage needs of the site: training takes all of it, `evaluate` one GPU, the others are one process.

    `control` starts its processes itself, on one node.
    """
    if stage == "train":
        return Work(stage, command_lines, profile.nodes, profile.processes, profile.gpus_per_node)
    if stage == "control":
        count = max(1, profile.gpus_per_node)
        if count > 1 and not any(word.startswith("--processes") for word in command_lines[0]):
            command_lines = tuple((*words, f"--processes={count}") for words in command_lines)
        return Work(stage, command_lines, gpus_per_node=profile.gpus_per_node, started_by_process=count)
    return Work(stage, command_lines, gpus_per_node=min(profile.gpus_per_node, 1) if stage == "evaluate" else 0)


def check_place(profile: Profile, place: Path, what: str) -> None:
    """Raises ConfigError for a path that a script, Slurm's names of logs or a container's mounts would take apart."""
    text = str(place)
    if "\n" in text or "\t" in text or printable(text) != text:
        raise ConfigError(f"{what} {text!a} has a control character in it; a job's script cannot hold it: rename it")
    special = {"%", "\\"} if profile.runtime == "none" else {"%", "\\", ",", ":"}
    found = sorted(special.intersection(text))
    if found:
        raise ConfigError(f"{what} {text} has {found[0]!r} in it, which Slurm or a container takes apart; rename it")


def make_executor(
    profile: Profile, work: Work, folder: Path, artifacts: Path, after: tuple[str, ...] = (), dry_run: bool = False
) -> Any:
    """An AutoExecutor that runs `work` with logs in `folder`, once the jobs `after` have succeeded."""
    from submitit import AutoExecutor

    check_place(profile, folder, "--artifacts-dir")
    check_place(profile, Path.cwd(), "the working directory")
    words, srun_words = runtime_words(profile, work, (artifacts.absolute(), Path.cwd()))
    with _without_srun() if dry_run else contextlib.nullcontext():
        executor = AutoExecutor(folder, cluster="slurm", slurm_python=words, slurm_max_num_timeout=profile.max_requeues)
    optional = {"slurm_partition": profile.partition, "slurm_account": profile.account, "slurm_qos": profile.qos}
    executor.update_parameters(
        name=f"ivr-{work.stage}",
        timeout_min=profile.minutes,
        nodes=work.nodes,
        tasks_per_node=work.processes_per_node,
        cpus_per_task=profile.cpus_per_process * work.started_by_process,
        stderr_to_stdout=True,
        slurm_mem=profile.memory or None,
        slurm_signal_delay_s=profile.warning_seconds,
        slurm_comment=folder.name,  # a wiped cluster gives the same job ids again: this tells ours from others
        slurm_dependency="afterok:" + ":".join(after) if after else None,
        slurm_setup=setup_lines(profile, work),
        slurm_teardown=TEARDOWN.format(folder=shlex.quote(str(folder)), turns=profile.max_requeues).splitlines(),
        # a rank that dies takes the others along, which would wait for it for hours
        # what the script exports reaches the tasks, also at sites where sbatch starts with --export=NONE
        slurm_srun_args=["--kill-on-bad-exit=1", "--export=ALL", *srun_words],
        slurm_additional_parameters={
            "requeue": True,
            "kill-on-invalid-dep": "yes",
            **_options(profile.sbatch, *profile.gpu_option(work.gpus_per_node)),
        },
        **{key: value for key, value in optional.items() if value},
    )
    return executor


def script_of(executor: Any, work: Work) -> str:
    """The text sbatch would get."""
    slurm = executor._executor
    if not work.is_array:
        return str(slurm._make_submission_file_text(slurm._submitit_command_str, "dry-run"))
    slurm.parameters["map_count"] = len(work.command_lines)
    try:
        return str(slurm._make_submission_file_text(slurm._submitit_command_str, "dry-run"))
    finally:
        del slurm.parameters["map_count"]  # submitit sets it itself when it submits


def runtime_words(profile: Profile, work: Work, needed: tuple[Path, ...]) -> tuple[str, list[str]]:
    """(what stands for `python` in the command, more words for srun); `needed` directories are mounted, too.

    `-I`: neither the current directory, which may be a checkout, nor PYTHONPATH or PYTHONHOME of a `module load` shadow
    what is installed.
    """
    if profile.runtime == "none":
        return f"{shlex.quote(profile.python or sys.executable)} -I", []
    python = [profile.python or "python", "-I"]
    ours = [str(path) for path in dict.fromkeys(needed) if str(path) not in profile.mounts]
    workdir = str(needed[-1])
    if profile.runtime == "apptainer":
        words = ["apptainer", "exec", *(["--nv"] if work.gpus_per_node else [])]
        for mount in (*profile.mounts, *ours):
            words += ["--bind", mount]
        return shlex.join([*words, "--pwd", workdir, profile.image, *python]), []
    mounts = [mount if ":" in mount else f"{mount}:{mount}" for mount in (*profile.mounts, *ours)]
    return shlex.join(python), [
        f"--container-image={profile.image}",
        f"--container-mounts={','.join(mounts)}",
        f"--container-workdir={workdir}",
    ]


def setup_lines(profile: Profile, work: Work) -> list[str]:
    """What the script does before srun."""
    lines = [FORGET, *profile.setup]
    lines += [f"export {name}={shlex.quote(text)}" for name, text in sorted(profile.environment.items())]
    # from Slurm 22.05 on srun does not take this over from sbatch
    return [*lines, f"export SRUN_CPUS_PER_TASK={profile.cpus_per_process * work.started_by_process}"]


def set_by_script(text: str) -> frozenset[str]:
    """The options of sbatch that a script sets."""
    return frozenset(re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE))


def _options(words: tuple[str, ...], gpus: str, gpu_text: str) -> dict[str, Any]:
    """['--constraint=a100', '--exclusive'] as submitit takes them, with the option that asks for GPUs."""
    pairs = (word.removeprefix("--").partition("=") for word in words)
    options: dict[str, Any] = {name: text if equals else True for name, equals, text in pairs}
    if gpus:
        # other generic resources of the site may stand in the same option
        options[gpus] = ",".join([*([options[gpus]] if gpus in options else []), gpu_text])
    return options


@contextlib.contextmanager
def _without_srun() -> Iterator[None]:
    """submitit refuses to be made on a machine without srun, even when it is only to print a script."""
    from submitit.slurm.slurm import SlurmExecutor

    real = SlurmExecutor.affinity
    SlurmExecutor.affinity = classmethod(lambda cls: 2)
    try:
        yield
    finally:
        SlurmExecutor.affinity = real
