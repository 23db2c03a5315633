"""The real huggingface_hub against a Hub of our own: each way to fail is one sentence and the right exit code."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from family_models import write_family
from hub_server import COMMIT, Hub, serve
from tiny_model import CONFIG, safetensors_bytes, tensor_shapes, tiny_model_files, write_corpus

from ivr.base.hub_errors import PROXIES, explain
from ivr.console import LOG, set_up_logging

NAME = "someone/tiny-gpt2"


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


def init(
    tmp_path: Path,
    url: str,
    *arguments: str,
    start: tuple[str, ...] = (sys.executable, "-m", "ivr"),
    **environment: str,
) -> Run:
    """`ivr init` in a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    raw = write_corpus(tmp_path / "raw")
    run = subprocess.run(
        [
            *start,
            "init",
            "--model-name",
            NAME,
            "--raw-corpora-dir",
            str(raw),
            "--artifacts-dir",
            str(tmp_path / "artifacts"),
            *arguments,
        ],
        env={**kept, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in run.stderr, run.stderr
    return Run(run.returncode, run.stderr)


def base(tmp_path: Path) -> Path:
    return tmp_path / "artifacts/models/base"


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_llama_is_taken_as_it_is(tmp_path: Path, hub: Hub) -> None:
    folder = write_family(tmp_path / "model", "SmolLM2")
    hub.files[NAME] = {path.name: path.read_bytes() for path in folder.iterdir()}
    run = init(tmp_path, hub.url)
    assert run.code == 0, run.log
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (base(tmp_path) / name).read_bytes() == hub.files[NAME][name]
    record = json.loads((tmp_path / "artifacts/manifests/init.json").read_text())["results"]["model"]
    assert (record["model_type"], record["head"], record["positions"]) == ("llama", "tied", "computed")


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_expired_token_does_not_hide_a_public_model(tmp_path: Path, hub: Hub) -> None:
    hub.knows_tokens = True
    run = init(tmp_path, hub.url, HF_TOKEN="hf_expiredexpiredexpired")
    assert run.code == 0, run.log
    assert "does not accept the token in HF_TOKEN; asking without it" in run.log
    run = init(tmp_path, hub.url, "--model-name", "someone/else", HF_TOKEN="hf_expiredexpiredexpired")
    assert run.code == 2
    assert "does not accept the token in HF_TOKEN (HTTP 401" in run.message and "someone/else" in run.message
    written = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert written and not any(b"hf_expired" in path.read_bytes() for path in written)
    assert "hf_expired" not in run.log


def test_a_token_that_no_header_can_carry(tmp_path: Path, hub: Hub) -> None:
    run = init(tmp_path, hub.url, HF_TOKEN="hf_paste\u2026dpasted")
    assert (run.code, "the token in HF_TOKEN has characters that no token has" in run.message) == (2, True), run.log


@pytest.mark.slow
def test_shards_and_templates_are_fetched_and_nothing_else(tmp_path: Path, hub: Hub) -> None:
    files = hub.files[NAME]
    weights, names = files.pop("model.safetensors"), sorted(tensor_shapes())
    shards = {
        f"model-{number:05d}-of-00002.safetensors": safetensors_bytes(
            shapes={name: tensor_shapes()[name] for name in part}
        )
        for number, part in enumerate((names[:5], names[5:]), start=1)
    }
    weight_map = dict(zip(names, [*[min(shards)] * 5, *[max(shards)] * (len(names) - 5)], strict=True))
    wanted = {
        **shards,
        "model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode(),
        "chat_template.jinja": b"{{ messages }}",
        "additional_chat_templates/tools.jinja": b"{{ tools }}",
        "LICENSE": b"MIT",
        "generation_config.json": b"{}",
    }
    unwanted = {"model.fp16.safetensors": weights, "model-00003-of-00002.safetensors": b"x", "modeling.py": b"x"}
    files |= {**wanted, **unwanted}
    run = init(tmp_path, hub.url)
    assert run.code == 0, run.log
    asked = [path.partition("/resolve/")[2] for method, path, _ in hub.requests if method == "GET"]
    fetched = {path.partition("/")[2] for path in asked}
    assert fetched - {""} == {*wanted, "README.md", "config.json", "merges.txt", "vocab.json"}
    for name in ("chat_template.jinja", "additional_chat_templates/tools.jinja", "LICENSE"):
        assert (base(tmp_path) / name).read_bytes() == wanted[name]
    assert sorted(path.name for path in base(tmp_path).glob("model*")) == ["model.safetensors"]


def test_a_model_that_cannot_be_taken_is_refused_before_it_is_fetched(tmp_path: Path, hub: Hub) -> None:
    hub.files[NAME] = {"config.json": b"{}", "x.gguf": b"GGUF", "tokenizer.json": b"{}"}
    run = init(tmp_path, hub.url)
    assert (run.code, "as GGUF (x.gguf)" in run.message, hub.fetched()) == (2, True, []), run.log


def test_a_cache_that_cannot_be_written(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    run = init(tmp_path, hub.url, HF_HOME=str(tmp_path / "file/hf"))
    assert (run.code, "cannot be written" in run.message, "HF_HOME" in run.message) == (2, True, True), run.log
    # a limit on the size of files stands in for a quota
    program = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\nimport sys, ivr.cli\n"
    start = (sys.executable, "-c", f"{program}sys.exit(ivr.cli.main())")
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # what was run could not be written either
    run = init(tmp_path, hub.url, start=start)
    assert (run.code, "a quota is used up" in run.message, "HF_HUB_CACHE" in run.message) == (73, True, True), run.log


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 73, "no space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/c/x"), 73, "a quota is used up"),
        (OSError(errno.EROFS, "Read-only file system", "/c/x"), 77, "cannot be written"),
        (PermissionError(errno.EACCES, "Permission denied", "/c/x"), 77, "Permission denied: /c/x"),
        (OSError(errno.EIO, "Input/output error", "/c/x"), 74, "Input/output error"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/c/x"), 2, "File name too long"),
        (PermissionError(errno.EPERM, "Operation not permitted"), 75, "check the network"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 75, "check the network"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), 75, "check the network"),
        (OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), 2, "SSL_CERT_FILE"),
        (OSError("407 Proxy Authentication Required"), 2, "wants a name and a password"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_this_machines_faults_and_the_networks(
    error: OSError, code: int, said: str, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    outer: Exception = error
    if wrapped:
        outer = RuntimeError("while fetching")
        outer.__cause__ = error
    found = explain(outer, NAME, None)
    assert (found.exit_code, said in str(found)) == (code, True), str(found)


def test_a_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass@proxy:3128")
    found = explain(ConnectionError("http://me:pass@proxy:3128 refused"), NAME, None)
    assert "the proxy in HTTPS_PROXY" in str(found)
    set_up_logging()
    LOG.error("%s", found)
    assert "me:pass" not in capsys.readouterr().err
