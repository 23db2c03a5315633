"""The real huggingface_hub against a Hub of our own: each way to fail is one sentence and the right exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serve
from tiny_model import CONFIG, safetensors_bytes, tiny_model_files, write_corpus

NAME = "someone/tiny-gpt2"
IVR_INIT = (sys.executable, "-m", "ivr", "init", "--model-name", NAME)


@dataclass
class Run:
    code: int
    log: str

    @property
    def message(self) -> str:
        """The last line, without its time."""
        return self.log.strip().split("\n")[-1].partition(" ")[2]


@pytest.fixture
def hub() -> Iterator[Hub]:
    big = {"README.md": b"# hello", "pytorch_model.bin": b"pickled", "onnx/model.onnx": b"another"}
    with serve(Hub(files={NAME: {**tiny_model_files(), **big}})) as running:
        yield running


def init(tmp_path: Path, url: str, *arguments: str, **environment: str) -> Run:
    """`ivr init` in a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    raw = write_corpus(tmp_path / "raw")
    run = subprocess.run(
        [*IVR_INIT, "--raw-corpora-dir", str(raw), "--artifacts-dir", str(tmp_path / "artifacts"), *arguments],
        env={**kept, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in run.stderr, run.stderr
    return Run(run.returncode, run.stderr)


def base(tmp_path: Path) -> Path:
    return tmp_path / "artifacts/models/base"


def test_success_then_kept_then_offline(tmp_path: Path, hub: Hub) -> None:
    run = init(tmp_path, hub.url)
    assert run.code == 0, run.log
    assert sorted(hub.fetched()) == ["README.md", "config.json", "merges.txt", "model.safetensors", "vocab.json"]
    for name, content in tiny_model_files().items():
        assert (base(tmp_path) / name).read_bytes() == content
        assert not (base(tmp_path) / name).is_symlink()
    assert f'"revision": "{COMMIT}"' in (tmp_path / "artifacts/manifests/init.json").read_text()

    # other text, same model: the Hub is not asked again
    asked = len(hub.requests)
    run = init(tmp_path, hub.url, "--document-separator", "line", "--heldout-fraction", "0.2")
    assert (run.code, len(hub.requests)) == (0, asked), run.log

    # nothing of the artifacts left, no Hub either: the cache is enough
    run = init(tmp_path, "http://127.0.0.1:9", "--artifacts-dir", str(tmp_path / "other"), HF_HUB_OFFLINE="1")
    assert run.code == 0, run.log
    assert (tmp_path / "other/models/base/model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--model-name", "someone/else"], {}, "has no model someone/else"),
        (["--revision", "v9"], {}, "has no revision 'v9'"),
        (["--model-name", "a/b/c"], {}, "--model-name a/b/c: neither a directory here nor a Hub id"),
        ([], {"HF_HUB_OFFLINE": "1"}, "is not whole in the cache and HF_HUB_OFFLINE is set"),
    ],
)
def test_what_the_user_can_mend(
    tmp_path: Path, hub: Hub, arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    run = init(tmp_path, hub.url, *arguments, **environment)
    assert (run.code, expected in run.message) == (2, True), run.log
    assert not base(tmp_path).exists()


def test_a_gated_model_needs_a_token(tmp_path: Path, hub: Hub) -> None:
    hub.gated.add(NAME)
    run = init(tmp_path, hub.url)
    assert run.code == 2
    assert f"{NAME} is gated" in run.message and "HF_TOKEN" in run.message
    # let in, it gets as far as the next mistake
    assert "has no revision" in init(tmp_path, hub.url, "--revision", "v9", HF_TOKEN="good").message


def test_connection_refused(tmp_path: Path) -> None:
    run = init(tmp_path, "http://127.0.0.1:9")
    assert run.code == 75
    assert "could not be fetched from http://127.0.0.1:9" in run.message
    assert "run the command again" in run.message


def test_a_file_cut_short_then_only_the_rest_is_fetched(tmp_path: Path, hub: Hub) -> None:
    hub.lies_shorter["model.safetensors"] = 100
    run = init(tmp_path, hub.url)
    assert run.code == 4
    assert "came cut short" in run.message
    assert not base(tmp_path).exists()
    hub.lies_shorter.clear()
    hub.requests.clear()
    run = init(tmp_path, hub.url)
    assert run.code == 0, run.log
    assert "model.safetensors" in hub.fetched()
    assert len(hub.fetched()) < len(tiny_model_files())
    assert (base(tmp_path) / "model.safetensors").read_bytes() == tiny_model_files()["model.safetensors"]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path: Path, hub: Hub) -> None:
    # the client writes pieces of 10 MB: what came of an unfinished piece is asked for again
    content = hub.files[NAME]["model.safetensors"] = safetensors_bytes(num_rows=700_000)
    hub.files[NAME]["config.json"] = json.dumps({**CONFIG, "vocab_size": 700_000}).encode()
    hub.hangs_up_after["model.safetensors"] = 11_000_000
    run = init(tmp_path, hub.url)
    assert run.code == 0, run.log
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith("model.safetensors")]
    assert len(ranges) == 2
    assert ranges[1].startswith("bytes=") and ranges[1] != "bytes=0-"
    assert (base(tmp_path) / "model.safetensors").read_bytes() == content


def test_a_server_in_trouble(tmp_path: Path, hub: Hub) -> None:
    hub.fails_with["config.json"] = 500
    run = init(tmp_path, hub.url)
    assert (run.code, "HTTP 500" in run.message) == (75, True), run.log
