"""`ivr submit --dry-run`: what sbatch would get, frozen for the three runtimes. No Slurm is needed.

After a wanted change: IVR_UPDATE_GOLDEN=1 pytest tests/cluster/test_dry_run.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ivr.cli import main

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "submit"


def dry_run(capsys: pytest.CaptureFixture[str], artifacts: Path, *arguments: str) -> str:
    assert main(["submit", *arguments, "--dry-run", "--artifacts-dir", str(artifacts)]) == 0
    said = capsys.readouterr().out.replace(str(artifacts), "/shared/run").replace(str(ROOT), "/home/me/gpt2-ivr")
    return said.replace(sys.executable, "/home/me/gpt2-ivr/.venv/bin/python")


@pytest.mark.parametrize(
    ("golden", "arguments"),
    [
        ("none", ["align", "--init-strategy", "pieces", "--profile", "cpu-node.toml"]),
        ("apptainer", ["train", "--max-steps", "2000", "--profile", "gpu-node.toml", "--after", "17", "18"]),
        (
            "pyxis",
            ["train", "--deepspeed", "slurm/deepspeed/zero3.json", "--profile", "two-nodes.toml"],
        ),
        ("gres", ["evaluate", "--profile", "gres.toml"]),
        ("array", ["analyze", "--shards", "4", "--threads", "16", "--profile", "cpu-node.toml", "--force"]),
    ],
)
def test_the_script_is_frozen(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    golden: str,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(ROOT)
    arguments[arguments.index("--profile") + 1] = f"slurm/profiles/{arguments[arguments.index('--profile') + 1]}"
    text = dry_run(capsys, tmp_path, *arguments)
    path = GOLDEN / f"{golden}.sh"
    if os.environ.get("IVR_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
    assert list(tmp_path.iterdir()) == []


def test_gpus_of_a_site_without_gpus_per_node_and_an_environment_that_starts_empty() -> None:
    text = (GOLDEN / "gres.sh").read_text()
    assert "#SBATCH --gres=tmpdisk:100,gpu:a100:1\n" in text and "gpus-per-node" not in text
    assert "#SBATCH --export=NONE\n" in text
    assert " --export=ALL " in next(line for line in text.splitlines() if line.startswith("srun "))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sh")), ids=lambda path: path.stem)
def test_bash_can_read_the_scripts(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_words_with_blanks_and_quotes_arrive(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    artifacts = tmp_path / "it's mine"
    artifacts.mkdir()
    profile = tmp_path / "site.toml"
    profile.write_text('runtime = "apptainer"\nimage = "/my image.sif"\nenvironment = {A = "it\'s $HOME"}\n')
    assert main(["submit", "train", "--profile", str(profile), "--dry-run", "--artifacts-dir", str(artifacts)]) == 0
    script = capsys.readouterr().out
    assert "'/my image.sif'" in script and "export A='it'\"'\"'s $HOME'" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_the_teardown_asks_for_another_turn_or_leaves_the_exit_code(tmp_path: Path) -> None:
    """The part of the script that runs on the host, with a `scontrol` that only says what it was asked."""
    from ivr.cluster.executor import TEARDOWN

    teardown = TEARDOWN.format(folder=tmp_path, turns=3)
    fake = tmp_path / "bin" / "scontrol"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\necho "$@" > asked\n[ ! -e refuse ]\n')
    fake.chmod(0o755)
    asked = tmp_path / "asked"

    def ended(rc: int, again: bool, restarts: int = 0, **more: str) -> int:
        environment = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "12"}
        environment |= {"SLURM_RESTART_COUNT": str(restarts), **more}
        name = "9_4" if more else "12"
        for path in (asked, tmp_path / f"{name}.exit"):
            path.unlink(missing_ok=True)
        if again:
            (tmp_path / f"{name}.again").touch()
        done = subprocess.run(["bash", "-c", f"(exit {rc})\n\n# teardown\n{teardown}"], env=environment)
        assert not (tmp_path / f"{name}.again").exists()
        return done.returncode

    for rc in (0, 3):
        assert ended(rc, again=False) == rc and (tmp_path / "12.exit").read_text() == f"{rc}\n" and not asked.exists()
    assert ended(75, again=True) == 0 and asked.read_text() == "requeue 12\n" and not (tmp_path / "12.exit").exists()
    assert ended(75, again=True, restarts=3) == 75 and not asked.exists(), "no more turns"
    assert (tmp_path / "12.exit").read_text() == "75\n"
    array = {"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "4"}
    assert ended(75, again=True, **array) == 0 and asked.read_text() == "requeue 12\n"
    assert ended(0, again=False, **array) == 0 and (tmp_path / "9_4.exit").read_text() == "0\n"
    (tmp_path / "refuse").touch()
    assert ended(75, again=True) == 75, "Slurm refused"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 2, "name a stage and a profile"),
        (["train", "--profile", "none.toml"], 2, "no such file"),
        (["--attach", "5"], 2, "no such job"),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    assert main(["submit", *arguments, "--artifacts-dir", str(tmp_path)]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nonsense"], ["train", "--nonsense"], ["train", "--max-steps", "many"]])
def test_the_options_of_the_stage_are_checked_before_it_travels(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["submit", *arguments, "--profile", "slurm/profiles/cpu-node.toml", "--dry-run"])
    assert caught.value.code == 2


def test_without_slurm_and_without_the_image(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = tmp_path / "site.toml"
    profile.write_text('runtime = "apptainer"\nimage = "/nowhere/ivr.sif"\n')
    (tmp_path / "bin").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "bin" / "sbatch").touch(mode=0o755)  # this machine may have none
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert main(["submit", "train", "--profile", str(profile), "--artifacts-dir", str(tmp_path / "a")]) == 2
    assert "there is no image /nowhere/ivr.sif" in capsys.readouterr().err
    profile.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", "train", "--profile", str(profile), "--artifacts-dir", str(tmp_path / "a")]) == 2
    assert "there is no sbatch here" in capsys.readouterr().err
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "runtime", "refused"),
    [
        ("it's $(touch pwned) `touch pwned` \"; touch pwned; #", "none", False),
        ("it's $(touch pwned) `touch pwned` \"; touch pwned; #", "apptainer", False),
        ("a\ntouch pwned\n", "none", True),
        ("a\x1b[2J", "none", True),
        ("a\u2028touch pwned", "none", True),
        ("runs %j", "none", True),
        ("a,b", "none", False),
        ("a,b:c", "pyxis", True),
    ],
)
def test_no_path_is_a_command(
    name: str, runtime: str, refused: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_mine_and_only_mine")
    artifacts = tmp_path / name
    artifacts.mkdir()
    profile = tmp_path / "site.toml"
    image = "" if runtime == "none" else 'image = "/x.sif"\n'
    profile.write_text(f'runtime = "{runtime}"\n{image}')
    more = ["--lr", "1e-4", "--remap-rules-path", "x\ntouch pwned"]
    code = main(["submit", "train", *more, "--profile", str(profile), "--dry-run", "--artifacts-dir", str(artifacts)])
    said = capsys.readouterr()
    if refused:
        assert code == 2 and "rename it" in said.err and "\x1b" not in said.err
        return
    assert code == 0
    assert "hf_mine" not in said.out + said.err
    # what is run stands between quotes: with commands that do nothing, the script does nothing else
    script = said.out.replace(sys.executable, "true").replace("cd ", "true ")
    environment = {"PATH": os.environ["PATH"]}
    fakes = "srun() { :; }; scontrol() { :; }; exit() { :; }\n"
    subprocess.run(["bash", "-c", fakes + script], env=environment, cwd=tmp_path, capture_output=True)
    assert not (tmp_path / "pwned").exists()
