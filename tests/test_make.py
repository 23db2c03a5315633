"""The Makefile: what runs, what does not, and whether `make -n` says so. A fake `ivr` writes the manifests."""

import contextlib
import importlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ivr.cli import STAGES
from ivr.manifest import PIPELINE
from ivr.options.declared import options_of

MAKEFILE = Path(__file__).parent.parent / "Makefile"
RUN_STAGES = list(PIPELINE)
# records its arguments, one a line; writes the manifest and what a person may edit; takes a lock like the real one
FAKE_IVR = r"""#!/usr/bin/env bash
set -euo pipefail
stage="$1"; artifacts=artifacts
for word in "$@"; do case "$word" in --artifacts-dir=*) artifacts="${word#*=}";; esac; done
printf '%s\n' "$*" >> ran.log
[ "$stage" != "${FAIL_AT:-}" ] || exit 3
[ "$stage" != "${SLEEP_AT:-}" ] || exec sleep 600
mkdir "$artifacts.lock" || { echo "two stages at once" >> ran.log; exit 75; }
trap 'rmdir "$artifacts.lock"' EXIT
mkdir -p "$artifacts/manifests" "$artifacts/report" "$artifacts/analysis/reports" "$artifacts/tokenizers/remapped"
case "$stage" in
  select) echo csv > "$artifacts/analysis/reports/replacement_candidates.csv";;
  remap) echo yaml > "$artifacts/tokenizers/remapped/remap_rules.yaml";;
  report) echo "the summary" > "$artifacts/report/summary.txt";;
esac
echo "{}" > "$artifacts/manifests/$stage.json"
"""


def without_make() -> dict[str, str]:
    """The environment, less what a make around these tests hands on."""
    return {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}


class Checkout:
    """A directory with the Makefile and the fake `ivr`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(MAKEFILE, folder / "Makefile")
        fake = folder / "fake ivr"
        fake.write_text(FAKE_IVR)
        fake.chmod(0o755)

    def make(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "IVR='./fake ivr'", "SETUP=", *arguments],
            cwd=self.folder,
            env=without_make() | environment,
            capture_output=True,
            text=True,
            check=check,
        )

    def ran(self) -> list[str]:
        """The command lines since the last call."""
        log = self.folder / "ran.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def stages_of(self, *arguments: str) -> list[str]:
        """The stages one call of make runs, after checking that `make -n` announced just these."""
        announced = self.make("-n", *arguments).stdout
        assert self.ran() == [], "make -n ran something"
        self.make(*arguments)
        stages = [line.split()[0] for line in self.ran()]
        assert re.findall(r"^'\./fake ivr' ([a-z-]+)", announced, re.MULTILINE) == stages
        return stages

    def touch(self, path: str) -> None:
        later = time.time() + 2
        os.utime(self.folder / path, (later, later))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("there is no make here (the image has none)")
    return Checkout(tmp_path)


def from_stage(name: str) -> list[str]:
    return RUN_STAGES[RUN_STAGES.index(name) :]


def test_pipeline_runs_every_stage_once_and_then_nothing(checkout: Checkout) -> None:
    assert checkout.stages_of("pipeline") == RUN_STAGES
    assert checkout.stages_of("pipeline") == []
    assert checkout.make("pipeline").stdout == "the summary\n"


def test_in_parallel_too(checkout: Checkout) -> None:
    checkout.make("-j2", *RUN_STAGES, "pipeline")
    assert [line.split()[0] for line in checkout.ran()] == RUN_STAGES
    checkout.make("-j2", "pipeline", "report", "train")
    assert checkout.ran() == []


def test_a_stage_brings_the_ones_before_it(checkout: Checkout) -> None:
    assert checkout.stages_of("select") == RUN_STAGES[:4]
    assert checkout.stages_of("train") == ["remap", "align", "train"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "first", "option"),
    [
        ("MODEL=openai-community/gpt2", "init", "--model-name=openai-community/gpt2"),
        ("INIT_ARGS=--normalize-force", "init", "--normalize-force"),
        ("ANALYZE_ARGS=--threads 2", "analyze", "--threads 2"),
        ("DISTILL_ARGS=--exponent 2.5", "distill-tokenizer", "--exponent 2.5"),
        ("SWAPS=12", "select", "--swaps=12"),
        ("REMAP_ARGS=--x", "remap", "--x"),
        ("INIT_STRATEGY=zeros", "align", "--init-strategy=zeros"),
        ("LR=3e-4", "train", "--lr=3e-4"),
        ("EVALUATE_ARGS=--x", "evaluate", "--x"),
        ("REPORT_ARGS=--x", "report", "--x"),
    ],
)
def test_a_changed_option_runs_its_stage_and_the_later_ones_there_and_back(
    checkout: Checkout, setting: str, first: str, option: str
) -> None:
    checkout.make("pipeline")
    checkout.ran()
    checkout.make("pipeline", setting)
    ran = checkout.ran()
    assert [line.split()[0] for line in ran] == from_stage(first)
    assert option in ran[0]
    assert checkout.stages_of("pipeline", setting) == []
    assert checkout.stages_of("pipeline") == from_stage(first), "going back to the old options"
    assert checkout.stages_of("pipeline") == []


def test_an_unset_variable_passes_no_option(checkout: Checkout) -> None:
    checkout.make("pipeline")
    assert checkout.ran() == ["init --model-name=sample", *RUN_STAGES[1:]]


def test_values_reach_the_stage_as_they_are(checkout: Checkout) -> None:
    key = 'it\'s "a" $HOME `b` \\n #c *'
    checkout.make("init", "TEXT_KEY=" + key.replace("$", "$$"), "DOCUMENT_SEPARATOR=---")
    assert checkout.ran() == [f"init --model-name=sample --text-key={key} --document-separator=---"]


def test_the_environment_does_not_set_options(checkout: Checkout) -> None:
    checkout.make("init", SEED="7", MODEL="other", INIT_ARGS="--nonsense")
    assert checkout.ran() == ["init --model-name=sample"]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["my corpus", "it's mine"])
def test_a_corpus_added_changed_or_removed_runs_init_again(checkout: Checkout, folder: str) -> None:
    corpus = checkout.folder / folder
    (corpus / "deep er").mkdir(parents=True)
    (corpus / "a.txt").write_text("a")
    setting = f"CORPUS={folder}"
    assert checkout.stages_of("init", setting) == ["init"]
    assert checkout.stages_of("init", setting) == []
    (corpus / "deep er" / "b c.txt").write_text("b")
    assert checkout.stages_of("init", setting) == ["init"], "added"
    (corpus / "deep er" / "b c.txt").write_text("bb")
    assert checkout.stages_of("init", setting) == ["init"], "changed"
    (corpus / "a.txt").unlink()
    assert checkout.stages_of("init", setting) == ["init"], "removed"
    (corpus / "loop").symlink_to(corpus)
    assert checkout.stages_of("init", setting) == [], "a loop of links adds no file"


def test_raw_corpora_of_the_artifacts_directory_count_without_corpus(checkout: Checkout) -> None:
    assert checkout.stages_of("init") == ["init"]
    raw = checkout.folder / "artifacts" / "corpora" / "raw"
    raw.mkdir(parents=True)
    assert checkout.stages_of("init") == []
    (raw / "a b.jsonl").write_text("{}")
    assert checkout.stages_of("init") == ["init"]


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("artifacts/analysis/reports/replacement_candidates.csv", "remap"),
        ("artifacts/tokenizers/remapped/remap_rules.yaml", "align"),
    ],
)
def test_an_edit_by_hand_runs_the_stage_that_reads_it(checkout: Checkout, path: str, first: str) -> None:
    checkout.make("pipeline")
    checkout.ran()
    checkout.touch(path)
    announced = checkout.make("-n", "pipeline").stdout
    assert re.findall(r"^'\./fake ivr' ([a-z-]+)", announced, re.MULTILINE) == from_stage(first)


def test_a_failed_stage_stops_the_pipeline_which_goes_on_from_there(checkout: Checkout) -> None:
    done = checkout.make("pipeline", check=False, FAIL_AT="remap")
    assert done.returncode != 0
    assert [line.split()[0] for line in checkout.ran()] == RUN_STAGES[:5]
    assert checkout.stages_of("pipeline") == from_stage("remap")


def programs_of_group(group: int) -> list[str]:
    """The names of the programs that run in a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().partition(" (")[2].rpartition(") ")
            if int(rest.split()[2]) == group:
                found.append(name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_and_run_again_it_completes(checkout: Checkout, how: signal.Signals) -> None:
    command = ["make", "IVR='./fake ivr'", "SETUP=", "pipeline"]
    environment = without_make() | {"SLEEP_AT": "select"}
    with subprocess.Popen(
        command, cwd=checkout.folder, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    ) as process:
        # make prints a command before it starts it; a signal in between would not reach the stage, which then completes
        end = time.monotonic() + 120
        while "sleep" not in programs_of_group(process.pid):
            assert process.poll() is None and time.monotonic() < end, "the stage never slept"
            time.sleep(0.05)
        os.killpg(process.pid, how)  # as a terminal or a batch system does: make and the stage
    assert process.returncode != 0
    checkout.ran()
    assert checkout.stages_of("pipeline") == from_stage("select")
    assert checkout.stages_of("pipeline") == []


def test_artifacts_elsewhere(checkout: Checkout) -> None:
    assert checkout.stages_of("pipeline", "ARTIFACTS=runs/a") == RUN_STAGES
    assert not (checkout.folder / "artifacts").exists()
    assert checkout.stages_of("pipeline") == RUN_STAGES, "each directory for itself"
    assert checkout.stages_of("pipeline", "ARTIFACTS=runs/a") == []


def test_artifacts_with_blanks_are_refused_with_a_reason(checkout: Checkout) -> None:
    done = checkout.make("init", "ARTIFACTS=my runs", check=False)
    assert done.returncode == 2 and "--artifacts-dir" in done.stderr


def test_help_lists_every_target_and_variable_with_its_default(checkout: Checkout) -> None:
    text = MAKEFILE.read_text()
    said = checkout.make("help").stdout
    phony = text.split(".PHONY:")[1].replace("\\\n", " ").split("\n")[0].split()
    for target in phony:
        assert re.search(rf"^  {target} +\S", said, re.MULTILINE), target
    settings = text.split("ifneq ($(words")[0]
    variables = re.findall(r"^([A-Z_]+) =[ ]?(.*?)#", settings, re.MULTILINE)
    assert len(variables) > 20
    for name, default in variables:
        assert re.search(rf"^  {name} +{re.escape(default) or re.escape('(empty)')} +\S", said, re.MULTILINE), name
    assert checkout.make().stdout == said, "make alone"
    # as a newcomer reads: setting up, running, looking; then what those need who change the code or run a cluster
    order = [said.index(f"\n  {name} ") for name in ("setup", "pipeline", "init", "status", "check", "queue", "image")]
    assert order == sorted(order) and max(order) < said.index("\n  MODEL ")


def test_clean_keeps_what_a_run_made_until_told(checkout: Checkout) -> None:
    for folder in ("ivr", "tests"):
        (checkout.folder / folder / "__pycache__").mkdir(parents=True)
    raw = checkout.folder / "artifacts" / "corpora" / "raw" / "mine.txt"
    raw.parent.mkdir(parents=True)
    raw.write_text("mine")
    checkout.make("pipeline")
    checkout.ran()
    assert "CONFIRM=yes" in checkout.make("clean").stdout
    assert not (checkout.folder / "ivr" / "__pycache__").exists()
    assert checkout.stages_of("pipeline") == []
    # what a run wrote is told from what a person brought by ivr.disk.clean (tests/test_ownership.py)
    announced = checkout.make("-n", "clean", "CONFIRM=yes").stdout
    assert re.search(r"^\s*\.venv/bin/python -I -m ivr\.disk\.clean 'artifacts'$", announced, re.MULTILINE)


def test_a_lock_with_an_index_is_refused(checkout: Checkout) -> None:
    lock = checkout.folder / "uv.lock"
    lock.write_text('source = { registry = "wheelhouse" }\n')
    checkout.make("lock-check")
    lock.write_text('source = { registry = "https://index.invalid/simple" }\n')
    done = checkout.make("lock-check", check=False)
    assert done.returncode == 2 and "names an index" in done.stderr and "index.invalid" in done.stdout


def test_the_lock_of_this_project_names_no_host() -> None:
    assert "://" not in (MAKEFILE.parent / "uv.lock").read_text(encoding="utf-8")


def test_setup_without_a_python_that_runs_says_so(checkout: Checkout) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        (checkout.folder / name).touch()
    shim = checkout.folder / "python3.13"  # like a version manager's: there, and yet it does not run
    shim.write_text("#!/bin/sh\necho 'command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    done = checkout.make("setup", "SETUP=.venv/.ivr-stamp", f"PYTHON={shim}", check=False)
    assert done.returncode == 2
    assert "no Python 3.11 to 3.14 that runs" in done.stderr and "PYTHON=/path" in done.stderr
    assert not (checkout.folder / ".venv").exists()


def test_another_version_of_the_program_asks_every_stage(checkout: Checkout) -> None:
    (checkout.folder / "ivr").mkdir()
    (checkout.folder / "ivr" / "versions.py").write_text("")
    assert checkout.stages_of("pipeline") == RUN_STAGES
    assert checkout.stages_of("pipeline") == []
    checkout.touch("ivr/versions.py")
    assert checkout.stages_of("pipeline") == RUN_STAGES


def test_a_file_gives_the_options_and_the_command_line_goes_before(checkout: Checkout) -> None:
    run_file = checkout.folder / "run.toml"
    run_file.write_text('artifacts-dir = "runs/a"\n[init]\nraw-corpora-dir = "texts"\n')
    (checkout.folder / "texts").mkdir()
    (checkout.folder / "texts" / "a.txt").write_text("a")
    assert checkout.stages_of("select", "CONFIG=run.toml", "SWAPS=3") == RUN_STAGES[:4]
    assert checkout.stages_of("select", "CONFIG=run.toml", "SWAPS=3") == []
    assert (checkout.folder / "runs" / "a" / "manifests" / "select.json").exists()
    (checkout.folder / "texts" / "b.txt").write_text("b")
    assert checkout.stages_of("init", "CONFIG=run.toml") == ["init"]
    run_file.write_text(run_file.read_text() + "seed = 3\n")
    checkout.make("select", "CONFIG=run.toml", "SWAPS=3")
    assert checkout.ran() == [
        f"{stage} --config=run.toml {options}--artifacts-dir=runs/a"
        for stage, options in (("init", ""), ("analyze", ""), ("distill-tokenizer", ""), ("select", "--swaps=3 "))
    ]
    done = checkout.make("init", "CONFIG=none.toml", check=False)
    assert done.returncode == 2 and "CONFIG='none.toml': no such file" in done.stderr


def make_options() -> list[tuple[str, str, str]]:
    """(stage, variable, option) for every option the Makefile passes."""
    found = []
    for stage, text in re.findall(r"^([a-z-]+)_OPTIONS = ((?:.*\\\n)*.*)", MAKEFILE.read_text(), re.MULTILINE):
        found += [(stage, *pair) for pair in re.findall(r"\$\(call option,([A-Z_]+),(--[a-z-]+)\)", text)]
    return found


@pytest.mark.parametrize(("stage", "variable", "option"), make_options())
def test_every_option_passed_exists_and_its_default_is_told_truly(stage: str, variable: str, option: str) -> None:
    declared = {item.flag: item for item in options_of(importlib.import_module(STAGES[stage][0]).Config)}
    default = declared[option].default
    told = re.search(rf"^{variable} =.*\(stage default: ([^,)]*)", MAKEFILE.read_text(), re.MULTILINE)
    if default is not None and variable != "MODEL":
        assert told is not None, f"make help does not say that {variable} is {default}"
        assert told.group(1) == str(default)
