"""The container path on a real Slurm: what apptainer would run, run by podman under apptainer's name.

The stand-in understands the command line that `ivr submit` makes for `runtime = "apptainer"` and nothing else.
"""

import json
from pathlib import Path

import pytest
from slurm_site import ROOT, TRAINING, Site, log_of

from ivr.artifacts import ArtifactPaths

pytestmark = [pytest.mark.needs_testbed, pytest.mark.needs_image, pytest.mark.slow]

APPTAINER = r"""#!/usr/bin/env bash
# apptainer exec [--bind A[:B[:ro]]]... --pwd DIR IMAGE COMMAND...: IMAGE is a file that names podman's image
set -euo pipefail
[ "$1" = exec ] || { echo "apptainer: $1 is not known here" >&2; exit 2; }
shift
options=()
while :; do
  case "$1" in
    --bind) case "$2" in *:*) options+=(--volume "$2");; *) options+=(--volume "$2:$2");; esac; shift 2;;
    --pwd) options+=(--workdir "$2"); shift 2;;
    *) break;;
  esac
done
image="$(cat "$1")"; shift
# apptainer hands on the environment but for what the image sets itself
while IFS='=' read -r name _; do
  case "$name" in SLURM*|SUBMITIT*|HF_*|OMP_*|MASTER_*) options+=(--env "$name");; esac
done < <(env)
exec "@IMAGE_SH@" run --user 0:0 --network host --tmpfs /tmp --volume "@CACHE@:/cache" "${options[@]}" "$image" "$@"
"""


def test_training_in_the_image(site: Site, world: ArtifactPaths, tmp_path: Path) -> None:
    programs, cache = tmp_path / "bin", tmp_path / "cache"
    programs.mkdir()
    cache.mkdir()
    stand_in = APPTAINER.replace("@IMAGE_SH@", str(ROOT / "slurm/image/image.sh")).replace("@CACHE@", str(cache))
    (programs / "apptainer").write_text(stand_in)
    (programs / "apptainer").chmod(0o755)
    image = tmp_path / "gpt2-ivr.sif"
    image.write_text(site.environment["IVR_IMAGE"] + "\n")
    setup = [f'export PATH="{programs}:$PATH"']
    profile = site.profile(
        runtime="apptainer", image=str(image), setup=setup, mounts=["/etc/hostname:/etc/hostname:ro"]
    )
    job = site.submit(world, profile, "train", "--max-steps=3", *TRAINING)
    site.wait(world, job)
    row = site.job(world)
    assert (row["state"], row["exit_code"]) == ("COMPLETED", 0)
    assert "Job completed successfully" in log_of(world, row)
    manifest = json.loads(world.manifest("train").read_text())
    assert manifest["versions"]["python"].startswith("3.13"), "the image's Python, not this one"
    assert manifest["slurm"]["SLURM_JOB_ID"] == job
    assert (world.final_model / "model.safetensors").is_file()
