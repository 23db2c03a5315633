"""Every reader of the program with good files for it: what `fuzz_cases.mutate` spoils. The files are a small run's."""

import dataclasses
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from fuzz_cases import Reader
from safetensors.torch import load, save

from ivr.artifacts import ArtifactPaths
from ivr.base.model_directory import lay_in_model, model_files
from ivr.card.facts import CardFacts, training_rows
from ivr.card.model_card import model_card
from ivr.cluster.profile import read_profile
from ivr.cluster.records import Job, read_jobs
from ivr.cluster.status import table as jobs_table
from ivr.corpus.cleaners import clean_corpus
from ivr.corpus.cleaning import CleaningOptions
from ivr.corpus.packing import open_stream, read_facts
from ivr.corpus.readers import ReadOptions
from ivr.embedding.weights import read_config, read_state
from ivr.errors import CorruptInputError
from ivr.evaluation import evaluate
from ivr.manifest import PIPELINE
from ivr.options.config_file import choose, read_config_file, show
from ivr.report.figures import (
    heldout_points,
    loss_points,
    rank_counts,
    read_metrics,
    read_swaps,
    speed_points,
    swapped_ids,
)
from ivr.report.files import figures as figures_of
from ivr.report.integrity import check
from ivr.report.page.page import page
from ivr.report.page.templates import render
from ivr.report.rows import nearest_rows, read_matrix
from ivr.report.status import read_manifests, stage_statuses, status_table
from ivr.report.summary import read_run, summary_text
from ivr.tokenizer.distill.fitted_text import read_fitted
from ivr.tokenizer.distill.stage import load_base
from ivr.tokenizer.proof.checker import main as judge_proof
from ivr.tokenizer.remap.rules import read_rules
from ivr.tokenizer.select import stage as select
from ivr.tokenizer.select.output.table import read_candidates
from ivr.tokenizer.unigram_file import read_unigram
from ivr.tokenizer.verify.sources import read_chunks, sources_of
from ivr.training import options as training
from ivr.training.checkpoints import MARKER, UNFINISHED, newest_whole, read_marker, read_note
from ivr.training.launch.deepspeed_file import Wanted, asked_precision, check_zero, filled, read_deepspeed_file

TEXTS = ["One document with words.", "Zwei Wörter, 세 단어 🙂 and a <|endoftext|> inside", "a\ttab and  blanks"] * 3
RUN_FILE = """\
artifacts-dir = "runs/a"
[select]
swaps = "auto"
min-gain = 2.5
[train]
epochs = 2
resume = false
lr = 1e-4
[evaluate]
model = ["a=b", "c=d"]
"""
PROFILE = """\
partition = "gpu"
nodes = 2
gpus_per_node = 4
cpus_per_process = 8
memory = "64G"
time = "1-12:00:00"
warning_seconds = 300
runtime = "apptainer"
image = "/shared/ivr.sif"
mounts = ["/data", "/scratch:/work:ro"]
setup = ["module load cuda"]
sbatch = ["--constraint=a100"]
[environment]
NCCL_DEBUG = "INFO"
"""


def readers(small_run: Path, repository: Path) -> list[Reader]:
    """All of them. small_run: the folder of `small_pipeline`, whole; repository: for the files that it ships."""
    paths = ArtifactPaths(small_run / "artifacts")
    return [
        *_corpus_readers(),
        *_model_readers(small_run / "model"),
        *_record_readers(paths),
        *_training_readers(paths, repository),
        *_table_readers(paths),
    ]


def options_reader() -> Reader:
    """Of `--config`: its values end in a config."""
    configs = {"select": select.Config, "train": training.Config, "evaluate": evaluate.Config}

    def choose_all(run: Path) -> None:
        path = run / "run.toml"
        file = read_config_file(path, configs)
        for stage, config in configs.items():
            show(stage, choose(config, stage, {}, path, file))

    return Reader("options of a run", {"run.toml": RUN_FILE.encode()}, choose_all, ("lines",), 3)


def _below(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


# what a person brings ---------------------------------------------------------------------------------------------
def _corpus_readers() -> list[Reader]:
    jsonl = "".join(json.dumps({"text": text, "id": n}, ensure_ascii=False) + "\n" for n, text in enumerate(TEXTS))
    array = json.dumps([{"text": text, "meta": {"n": [1, 2]}} for text in TEXTS], indent=1)
    plain = "\n\n".join(TEXTS)

    def clean(run: Path) -> None:
        with tempfile.TemporaryDirectory() as made:
            for name in ("train", "heldout"):
                Path(made, name).mkdir()
            options = CleaningOptions("domain", ReadOptions(), 0.1, 0)
            clean_corpus(run, options, Path(made, "train"), Path(made, "heldout"), io.StringIO())

    def compare(run: Path) -> None:
        for _ in read_chunks(sources_of([run])):
            pass

    files = {"a.txt": plain.encode(), "b/c.txt": TEXTS[1].encode()}
    streams = {"a.jsonl": jsonl.encode(), "b.json": array.encode()}
    packed = {"a.jsonl.gz": gzip.compress(jsonl.encode()), "b.txt.xz": lzma.compress(plain.encode())}
    packed["c.json.gz"] = gzip.compress(array.encode())
    return [
        Reader("corpus: text", files, clean, ("lines",), 3),
        Reader("corpus: JSON", streams, clean, ("json", "lines"), 4),
        Reader("corpus: compressed", packed, clean, (), 3),
        Reader("corpus: of verify", {**files, **streams, **packed}, compare, ("json", "lines"), 2),
    ]


def _model_readers(model: Path) -> list[Reader]:
    folder = _below(model, ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
    weights = _below(model, ["model.safetensors"])
    spec = json.loads(folder["tokenizer.json"])["model"]
    merges = "\n".join(
        ["#version: 0.2", *(pair if isinstance(pair, str) else " ".join(pair) for pair in spec["merges"])]
    )
    end = len(spec["vocab"])
    vocab = {**spec["vocab"], "<|endoftext|>": end} if "<|endoftext|>" not in spec["vocab"] else spec["vocab"]
    slow = {"vocab.json": json.dumps(vocab, ensure_ascii=False).encode(), "merges.txt": merges.encode()}
    config = {"config.json": folder["config.json"]}
    shards = _shards(weights["model.safetensors"])
    pickled = io.BytesIO()
    torch.save(load(weights["model.safetensors"]), pickled)

    def lay_in(run: Path) -> None:
        with tempfile.TemporaryDirectory() as made:
            lay_in_model(run, "the model", Path(made, "base"))

    def weights_of(run: Path) -> None:
        read_config(run)
        model_files(run, "the model")
        read_state(run)

    def base_of(run: Path) -> None:
        from ivr.encoding.bpe import read_bpe

        read_bpe(load_base(run / "tokenizer.json"))

    return [
        Reader("model: tokenizer.json", {**config, **weights, **_only(folder, "tokenizer")}, lay_in, ("json",), 3),
        Reader("model: vocab, merges", {**config, **weights, **slow}, lay_in, ("json", "lines"), 2),
        Reader("model: config.json", {**folder, **weights}, lay_in, ("json",), 1),
        Reader("model: safetensors", {**config, **weights}, weights_of, ("json",), 3),
        Reader("model: shards", {**config, **shards}, weights_of, ("json",), 2),
        Reader("model: .bin, pickled", {**config, "pytorch_model.bin": pickled.getvalue()}, weights_of, ("code",), 3),
        Reader("distill: tokenizer.json", _only(folder, "tokenizer.json"), base_of, ("json",), 3),
    ]


def _only(files: Mapping[str, bytes], start: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith(start)}


def _shards(weights: bytes) -> dict[str, bytes]:
    tensors = load(weights)
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    weight_map = {name: file for file, of in parts.items() for name in of}
    index = {"metadata": {"total_size": len(weights)}, "weight_map": weight_map}
    packed = {file: save({name: tensors[name] for name in of}) for file, of in parts.items()}
    return {"model.safetensors.index.json": json.dumps(index).encode(), **packed}


# what stages leave ------------------------------------------------------------------------------------------------
def _record_readers(paths: ArtifactPaths) -> list[Reader]:
    names = [f"manifests/{stage}.json" for stage in PIPELINE]
    sealed = _below(paths.root, names)
    # as an earlier version wrote them: nothing but their schema protects these
    bare = {name: json.dumps({**json.loads(data), "checksum": ""}).encode() for name, data in sealed.items()}
    figures = _below(paths.root, ["training/metrics.jsonl", "analysis/reports/replacement_candidates.csv"])
    job = Job("12_3", "train", "ivr train", "gpu", "jobs/train-1", "jobs/train-1/log", "2026-01-01T00:00:00Z", ("11",))
    rows = [dataclasses.asdict(dataclasses.replace(job, state=state)) for state in ("RUNNING", "FAILED")]
    jobs = json.dumps({"jobs": rows, "checksum": ""})

    def look(run: Path) -> None:
        at = ArtifactPaths(run)
        found = read_run(at)
        status_table(stage_statuses(run, read_manifests(at)))
        summary_text(found)

    def report(run: Path) -> None:
        at = ArtifactPaths(run)
        found = read_run(at)
        document = page(found, stage_statuses(run, found.manifests))
        render(document)
        figures_of(document)
        if "train" in found.manifests:
            model_card(run, CardFacts(found.manifests, training_rows(found.manifests["train"].results)))

    def submitted(run: Path) -> None:
        at = ArtifactPaths(run)
        found = {stage: read_jobs(at, stage) for stage in ("train",)}
        jobs_table(stage_statuses(run, read_manifests(at)), found)

    return [
        Reader("manifests", sealed, look, ("json",), 2),
        Reader("manifests, unsealed", bare, look, ("json",), 6),
        Reader("report", {**bare, **figures}, report, ("json", "lines"), 1),
        Reader("embedding rows", _below(paths.aligned_model, ["model.safetensors"]), _rows, (), 3),
        Reader("check", {**bare, **_notes(paths)}, lambda run: check(ArtifactPaths(run), 1, int), ("json",), 2),
        Reader("jobs", {"manifests/train.jobs.json": jobs.encode()}, submitted, ("json",), 2),
        Reader("metrics", _below(paths.training, ["metrics.jsonl"]), _metrics, ("json", "lines"), 3),
    ]


def _rows(folder: Path) -> None:
    matrix = read_matrix(folder, "wte.weight", "run `ivr align` again")
    nearest_rows(matrix, list(range(0, len(matrix), 50)), len(matrix))


def _metrics(run: Path) -> None:
    at = ArtifactPaths(run)
    if (run / "metrics.jsonl").exists():
        at.training.mkdir()
        (at.training / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    rows = read_metrics(at)
    loss_points(rows), heldout_points(rows), speed_points(rows)


def _notes(paths: ArtifactPaths) -> dict[str, bytes]:
    """The notes of a checkpoint and of tokenised text, below the run."""
    found = [*paths.training.glob("checkpoints/*/step-*/complete.json"), *paths.training.glob("data/*/*")]
    return {str(path.relative_to(paths.root)): path.read_bytes() for path in found}


def _training_readers(paths: ArtifactPaths, repository: Path) -> list[Reader]:
    step = sorted(paths.training.glob("checkpoints/*/step-*"))[-1]
    checkpoint = {f"of/{step.name}/{path.name}": path.read_bytes() for path in step.iterdir() if path.is_file()}
    note = {UNFINISHED: json.dumps({"identity": "of", "card": {"steps": 3}}).encode()}
    marker = json.loads((step / MARKER).read_bytes())
    checkpoint[f"of/{step.name}/{MARKER}"] = json.dumps({**marker, "checksum": ""}).encode()
    data = next(iter(paths.training.glob("data/*")))
    stream = {path.name: path.read_bytes() for path in data.iterdir()}
    deepspeed = _below(repository / "slurm" / "deepspeed", ["zero3.json"])

    def resume(run: Path) -> None:
        newest_whole(run / "of")
        for folder in (run / "of").glob("step-*"):
            read_marker(folder)
        if (run / UNFINISHED).exists():
            read_note(run)

    def tokens(run: Path) -> None:
        from ivr.corpus.packing import is_whole
        from ivr.encoding.text.tokenizer_file import load_for_text

        facts = read_facts(run) if (run / "tokens.json").exists() else None
        if facts is not None and is_whole(run):
            stream = open_stream(run, load_for_text(paths.remapped_tokenizer))
            assert len(stream) >= 0

    def settings(run: Path) -> None:
        file = run / "zero3.json"
        found = read_deepspeed_file(file)
        precision = asked_precision(file, found, "auto")
        check_zero(file, filled(file, found, Wanted(4, 1, 1.0, 1), precision))

    def judge(run: Path) -> None:
        code = judge_proof([str(run / name) for name in ("base.json", "distilled.json", "proof.json")])
        assert code in (0, 1, 2)
        if code == 2:
            raise CorruptInputError("said on standard error")

    judged = {
        "base.json": (paths.original_tokenizer / "tokenizer.json").read_bytes(),
        "distilled.json": (paths.distilled_tokenizer / "tokenizer.json").read_bytes(),
        "proof.json": (paths.distilled_tokenizer / "universal_proof.json").read_bytes(),
    }
    return [
        Reader("checker of proofs", judged, judge, ("json",), 2),
        Reader("checkpoint", {**checkpoint, **note}, resume, ("json",), 2),
        Reader("tokenised text", stream, tokens, ("json",), 1),
        Reader("DeepSpeed JSON", deepspeed, settings, ("json",), 2),
        Reader("profile", {"site.toml": PROFILE.encode()}, lambda run: read_profile(run / "site.toml"), ("lines",), 3),
        options_reader(),
    ]


def _table_readers(paths: ArtifactPaths) -> list[Reader]:
    from ivr.analysis.tables import read_pretoken_frequency

    counted = _below(paths.root, ["analysis/reports/token_frequency.parquet"])
    csv = _below(paths.root, ["analysis/reports/replacement_candidates.csv"])

    def counts(run: Path) -> None:
        swaps = read_swaps(ArtifactPaths(run))
        rank_counts(ArtifactPaths(run), swapped_ids(swaps))

    return [
        Reader("token table", {**counted, **csv}, counts, ("lines",), 2),
        Reader(
            "pretoken table",
            _below(paths.reports, ["pretoken_frequency.parquet"]),
            lambda run: read_pretoken_frequency(run / "pretoken_frequency.parquet"),
            (),
            2,
        ),
        Reader("fitted pretokens", _below(paths.distilled_tokenizer, ["fitted_pretokens.parquet"]), read_fitted, (), 2),
        Reader(
            "candidates",
            _below(paths.reports, ["replacement_candidates.csv"]),
            lambda run: read_candidates(run / "replacement_candidates.csv"),
            ("lines",),
            3,
        ),
        Reader(
            "remap rules",
            _below(paths.remapped_tokenizer, ["remap_rules.yaml"]),
            lambda run: read_rules(run / "remap_rules.yaml"),
            ("lines",),
            4,
        ),
        Reader(
            "Unigram tokenizer",
            _below(paths.remapped_tokenizer, ["tokenizer.json"]),
            lambda run: read_unigram(run / "tokenizer.json"),
            ("json",),
            2,
        ),
    ]
