"""Stage `evaluate`: the base, the aligned and the trained model over the same held-out documents.

Bits per byte compare models with different tokenizers; tokens per byte and agreement compare the tokenizers alone.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths, write_json
from ivr.console import LOG
from ivr.errors import ConfigError
from ivr.stage import Input, Manifest, Stage, open_stage

DESCRIPTION = """\
Bits per byte and tokens per byte of the base, the aligned and the trained model on held-out text; tokens saved by
the remapped tokenizer; agreement of the distilled one with the original. A stage that was not run is left out."""
EPILOG = """\
examples:
  ivr evaluate
  ivr evaluate --max-bytes 1000000 --stride 256
"""


@dataclass(frozen=True)
class Config:
    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    max_documents: int = 1000
    max_bytes: int = 100_000
    stride: int = 0
    threads: int = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's options."""
    text = parser.add_argument_group("held-out text scored by the models")
    text.add_argument(
        "--max-documents",
        type=int,
        default=Config.max_documents,
        metavar="N",
        help="of each kind, domain and general; the same for every model (default: %(default)s)",
    )
    text.add_argument(
        "--max-bytes",
        type=int,
        default=Config.max_bytes,
        metavar="N",
        help="of each kind, together (default: %(default)s)",
    )
    text.add_argument(
        "--stride",
        type=int,
        default=Config.stride,
        metavar="N",
        help="new tokens a window in documents longer than the context; 0: half the context (default: %(default)s)",
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--threads",
        type=int,
        default=Config.threads,
        metavar="N",
        help="CPU threads; another number rounds differently (default: %(default)s)",
    )


@dataclass(frozen=True)
class Subject:
    """One model to measure, with the tokenizer it reads text by."""

    name: str
    model_dir: Path
    tokenizer_dir: Path
    made_by: str


def subjects(paths: ArtifactPaths) -> list[Subject]:
    """The models in the order they come to be."""
    return [
        Subject("base", paths.base_model, paths.original_tokenizer, "init"),
        Subject("aligned", paths.aligned_model, paths.aligned_model, "align"),
        Subject("trained", paths.final_model, paths.final_model, "train"),
    ]


def run(config: Config) -> Manifest:
    """Measure what there is and write evaluation.json."""
    paths = ArtifactPaths(config.artifacts_dir)
    for name, smallest in {"max_documents": 1, "max_bytes": 1, "stride": 0, "threads": 1}.items():
        if getattr(config, name) < smallest:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be at least {smallest}")
    measured = [subject for subject in subjects(paths) if _was_run(paths, subject)]
    inputs = [Input(subject.model_dir, made_by=subject.made_by) for subject in measured]
    inputs += [
        Input(paths.original_tokenizer, made_by="init"),
        Input(paths.distilled_tokenizer, made_by="distill-tokenizer"),
        Input(paths.remapped_tokenizer, made_by="remap"),
        Input(paths.heldout_corpora, made_by="init"),
        Input(paths.general_heldout, made_by="init", optional=True),
    ]
    with open_stage("evaluate", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        stage.results |= _tokenizer_figures(paths)
        stage.results |= _model_figures(config, paths, measured)
        write_json(paths.evaluation, stage.results)
        _say(stage)
        return stage.finish([paths.evaluation])


def _was_run(paths: ArtifactPaths, subject: Subject) -> bool:
    if subject.made_by == "init" or paths.manifest(subject.made_by).exists():
        return True
    LOG.info("evaluate: the %s model is left out, `ivr %s` was not run", subject.name, subject.made_by)
    return False


def _tokenizer_figures(paths: ArtifactPaths) -> dict[str, Any]:
    """Over all held-out domain text."""
    from ivr.console import track
    from ivr.corpus.documents import read_documents
    from ivr.training.heldout import compare_tokenizers
    from ivr.training.packing import load_tokenizer

    original, distilled, remapped = (
        load_tokenizer(path) for path in (paths.original_tokenizer, paths.distilled_tokenizer, paths.remapped_tokenizer)
    )
    documents = track(read_documents(paths.heldout_corpora), "compare tokenizers", unit="document")
    return compare_tokenizers(documents, original, distilled, remapped).results()


def _model_figures(config: Config, paths: ArtifactPaths, measured: list[Subject]) -> dict[str, Any]:
    """bits_per_byte, tokens_per_byte: {kind of text: {model: figure}}; scored: {kind: {documents, bytes}}."""
    import torch

    from ivr.training.heldout import choose_documents

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(config.threads)
    texts = {
        kind: choose_documents(path, config.max_documents, config.max_bytes)
        for kind, path in (("domain", paths.heldout_corpora), ("general", paths.general_heldout))
        if path.is_dir()
    }
    texts = {kind: chosen for kind, chosen in texts.items() if chosen}
    bits: dict[str, dict[str, float]] = {kind: {} for kind in texts}
    tokens: dict[str, dict[str, float]] = {kind: {} for kind in texts}
    for subject in measured:
        for kind, scores in _score(config, subject, texts, device).items():
            bits[kind][subject.name] = scores.bits_per_byte
            tokens[kind][subject.name] = scores.tokens_per_byte
    return {
        "bits_per_byte": bits,
        "tokens_per_byte": tokens,
        "scored": {
            kind: {"documents": len(chosen), "bytes": sum(len(text.encode()) for text in chosen)}
            for kind, chosen in texts.items()
        },
    }


def _score(config: Config, subject: Subject, texts: dict[str, list[str]], device: Any) -> dict[str, Any]:
    """{kind of text: Scores} of one model; it is freed again on return."""
    from ivr.training.bits_per_byte import score_documents
    from ivr.training.models import load_model
    from ivr.training.packing import encode_documents, end_of_text_id, load_tokenizer

    tokenizer = load_tokenizer(subject.tokenizer_dir)
    end_id = end_of_text_id(tokenizer, subject.tokenizer_dir)
    model = load_model(subject.model_dir).to(device)
    context = int(model.config.n_positions)
    stride = config.stride or context // 2
    if not 1 <= stride <= context:
        raise ConfigError(f"--stride {stride}: the context of the {subject.name} model is {context}")
    found = {}
    for kind, chosen in texts.items():
        LOG.info("evaluate: %s model on %d documents of %s text", subject.name, len(chosen), kind)
        documents = list(encode_documents(tokenizer, chosen))
        found[kind] = score_documents(model, documents, end_id, context, stride, device)
    return found


def _say(stage: Stage) -> None:
    results = stage.results
    for kind, figures in results["bits_per_byte"].items():
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        LOG.info("evaluate: bits per byte on %s text: %s", kind, shown)
    LOG.info(
        "evaluate: %s tokens before, %s after (%s %% saved); agreement %s %%",
        f"{results['heldout_tokens_before']:,}",
        f"{results['heldout_tokens_after']:,}",
        results["tokens_saved_percent"],
        results["agreement_percent"],
    )
