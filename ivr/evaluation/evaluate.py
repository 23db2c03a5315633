"""Stage `evaluate`: the base, the aligned, the trained model, controls, and any others, over the same documents.

Bits per byte compare models with different tokenizers; tokens per byte and agreement compare the tokenizers alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.base.model_files import CARD
from ivr.console import LOG
from ivr.corpus.documents import cleaned_input
from ivr.disk.digest import sha256_file
from ivr.disk.writer import atomic_file, write_json
from ivr.errors import ConfigError, CorruptInputError
from ivr.evaluation.subjects import Subject, choose_subjects, named_paths
from ivr.machine.devices import DEVICE_HELP, DEVICES, choose_device
from ivr.options.declared import SEEDS, WORKERS, StageConfig, option
from ivr.stage import Input, Manifest, Stage, open_stage

if TYPE_CHECKING:
    from ivr.evaluation.bits_per_byte import Scores

DESCRIPTION = """\
Measure the base, the aligned and the trained model, and the controls of `ivr control`, on held-out text: bits per byte
with 95 % intervals for their differences, tokens per byte, and what they write by themselves. Also how many tokens the
remapped tokenizer saves, and how often the distilled one agrees with the original. A model that was not made yet is
left out."""
EPILOG = """\
examples:
  ivr evaluate --model gpt2-finetuned=/path/to/model
  ivr evaluate --max-bytes 1000000 --stride 256
"""
KINDS = ("domain", "general")


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr evaluate`."""

    model: Sequence[str] = option(
        (),
        "measure this model, too, with its own tokenizer (default: none)",
        group="models and texts beside the run's own; each option may be given several times",
        metavar="NAME=DIR",
        repeat=True,
    )
    text: Sequence[str] = option(
        (),
        "on this text, too: a folder in the form of corpora/heldout (default: none)",
        metavar="NAME=DIR",
        repeat=True,
    )
    leave_out: Sequence[str] = option(
        (),
        "do not measure base, aligned, trained, control-bytes or control-flops (default: none)",
        metavar="NAME",
        repeat=True,
    )
    max_documents: int = option(
        1000,
        "of each kind, domain and general; the same for every model",
        group="held-out text scored by the models",
        bounds="[1, 1e9]",
    )
    max_bytes: int = option(100_000, "of each kind, together", bounds="[1, 1e12]")
    stride: int = option(
        0, "new tokens a window in documents longer than the context (here at most 2,048); 0: half", bounds="[0, 1e6]"
    )
    prompt_cuts: int = option(
        200,
        "places in each kind, behind a word, where a prompt is to end: what follows is scored as the prompt is encoded "
        "and as the whole text is; 0: none",
        bounds="[0, 1e6]",
    )
    samples: int = option(
        16, "texts drawn from each model; 0: none", group="what the models write by themselves", bounds="[0, 1e5]"
    )
    sample_tokens: int = option(64, "tokens of each, at most the model's context", bounds="[1, 1e5]")
    seed: int = option(0, "of what is drawn, and of the intervals", bounds=SEEDS)
    threads: int = option(2, "CPU threads; another number rounds differently", group="machine", bounds=WORKERS)
    device: str = option("auto", DEVICE_HELP, choices=DEVICES)


def run(config: Config) -> Manifest:
    """Measure what there is and write evaluation.json and documents.parquet."""
    paths = ArtifactPaths(config.artifacts_dir)
    subjects = choose_subjects(paths, config.model, config.leave_out)
    texts = dict(named_paths("--text", config.text, taken=KINDS))
    # a card changes when it is edited, and when the report puts figures into it
    inputs = [Input(subject.model_dir, made_by=subject.made_by, without=(CARD,)) for subject in subjects]
    inputs += [cleaned_input(path, made_by="") for path in texts.values()]
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
        stage.replaces(paths.evaluation, paths.evaluated_documents)
        stage.results |= _tokenizer_figures(paths)
        texts = {"domain": paths.heldout_corpora, "general": paths.general_heldout, **texts}
        measured = _measure(config, paths, subjects, texts)
        stage.results |= measured.results(config.seed)
        measured.write_documents(paths.evaluated_documents)
        write_json(paths.evaluation, stage.results)
        _say(stage)
        return stage.finish([paths.evaluation, paths.evaluated_documents])


def _tokenizer_figures(paths: ArtifactPaths) -> dict[str, Any]:
    """Over all held-out domain text."""
    from ivr.console import track
    from ivr.corpus.documents import read_documents
    from ivr.encoding.text.tokenizer_file import load_for_text
    from ivr.evaluation.heldout import compare_tokenizers

    original, distilled, remapped = (
        load_for_text(path) for path in (paths.original_tokenizer, paths.distilled_tokenizer, paths.remapped_tokenizer)
    )
    documents = track(read_documents(paths.heldout_corpora), "compare tokenizers", unit="document")
    return compare_tokenizers(documents, original, distilled, remapped).results()


@dataclass
class Measured:
    """scores: {kind of text: {model: Scores}}, the documents of a kind the same and in the same order for each."""

    texts: Mapping[str, list[str]]
    scores: dict[str, dict[str, "Scores"]]
    samples: dict[str, Any] = field(default_factory=dict)
    prompt_ends: dict[str, dict[str, Any]] = field(default_factory=dict)  # {kind: {model: PromptEnd.results}}
    flops: dict[str, float] = field(default_factory=dict)  # {model: of a token, forward}

    def results(self, seed: int) -> dict[str, Any]:
        """bits_per_byte, tokens_per_byte, flops_per_byte: {kind: {model: figure}}; differences: {kind: {"B - A": ...}};
        sampling."""
        from ivr.evaluation.intervals import paired_difference

        def of_each(figure: Callable[["Scores"], float]) -> dict[str, dict[str, float]]:
            return {kind: {name: figure(found) for name, found in of.items()} for kind, of in self.scores.items()}

        return {
            "bits_per_byte": of_each(lambda scores: scores.bits_per_byte),
            "tokens_per_byte": of_each(lambda scores: scores.tokens_per_byte),
            "flops_per_byte": {
                kind: {name: found.tokens_per_byte * self.flops[name] for name, found in of.items()}
                for kind, of in self.scores.items()
            },
            "differences": {
                kind: {
                    f"{later} - {earlier}": paired_difference(of[later], of[earlier], seed).results()
                    for earlier, later in combinations(of, 2)
                }
                for kind, of in self.scores.items()
            },
            "scored": {
                kind: {"documents": len(chosen), "bytes": sum(len(text.encode()) for text in chosen)}
                for kind, chosen in self.texts.items()
            },
            "prompt_ends": self.prompt_ends,
            "sampling": self.samples,
        }

    def write_documents(self, path: Path) -> None:
        """One row a document and model: text (kind), document (number), model, bytes, tokens, bits, beginning."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, list[Any]] = {
            name: [] for name in ("text", "document", "model", "bytes", "tokens", "bits", "beginning")
        }
        for kind, of in self.scores.items():
            for name, scores in of.items():
                rows = zip(scores.bytes_N.tolist(), scores.tokens_N.tolist(), scores.bits_N.tolist(), strict=True)
                for number, (row, text) in enumerate(zip(rows, self.texts[kind], strict=True)):
                    for column, value in zip(columns, (kind, number, name, *row, text[:40]), strict=True):
                        columns[column].append(value)
        with atomic_file(path, "wb") as stream:
            pq.write_table(pa.table(columns), stream)


def _measure(
    config: Config, paths: ArtifactPaths, subjects: Sequence[Subject], folders: Mapping[str, Path]
) -> Measured:
    import torch

    from ivr.evaluation.heldout import choose_documents
    from ivr.tokenizer.remap.rules import read_rules

    device = torch.device(choose_device(config.device).kind)
    torch.set_num_threads(config.threads)
    texts = {
        kind: choose_documents(path, config.max_documents, config.max_bytes)
        for kind, path in folders.items()
        if path.is_dir()
    }
    texts = {kind: chosen for kind, chosen in texts.items() if chosen}
    measured = Measured(texts, {kind: {} for kind in texts})
    remapped = sha256_file(paths.remapped_tokenizer / "tokenizer.json")
    swapped = [swap.id for swap in read_rules(paths.remap_rules).swaps]
    for subject in subjects:
        path = subject.tokenizer_dir / "tokenizer.json"
        new_ids = swapped if path.is_file() and sha256_file(path) == remapped else None
        _measure_one(config, subject, measured, new_ids, device)
    return measured


def _measure_one(
    config: Config, subject: Subject, measured: Measured, new_ids: Sequence[int] | None, device: Any
) -> None:
    """Add the figures of one model; it is freed again on return."""
    import numpy as np

    from ivr.corpus.document_end import start_of_text_id
    from ivr.corpus.packing import bytes_per_token, encode_documents
    from ivr.encoding.text.tokenizer_file import load_for_text
    from ivr.evaluation.bits_per_byte import score_documents
    from ivr.evaluation.compute import flops_of_reading, num_multiplied
    from ivr.evaluation.models import context_of, load_model
    from ivr.evaluation.prompt_end import choose_cuts, score_prompt_ends
    from ivr.evaluation.sampling import new_token_figures, sample

    tokenizer = load_for_text(subject.tokenizer_dir)
    start_id = start_of_text_id(tokenizer, subject.tokenizer_dir)
    model = load_model(subject.model_dir).to(device)
    context = context_of(model)
    measured.flops[subject.name] = flops_of_reading(num_multiplied(model))
    stride = config.stride or context // 2
    if not 1 <= stride <= context:
        raise ConfigError(f"--stride {stride}: the context of the {subject.name} model is {context}")
    encoded = {}
    for kind, chosen in measured.texts.items():
        LOG.info("evaluate: %s model on %d documents of %s text", subject.name, len(chosen), kind)
        encoded[kind] = list(encode_documents(tokenizer, chosen))
        scores = score_documents(model, encoded[kind], start_id, context, stride, device)
        if not np.isfinite(scores.bits_N).all():
            raise CorruptInputError(
                f"{subject.model_dir}: the {subject.name} model gives {kind} text no finite probability: its weights "
                "hold NaN or infinity; "
                + (f"run `ivr {subject.made_by} --force`" if subject.made_by else "bring another model")
            )
        measured.scores[kind][subject.name] = scores
        cuts = choose_cuts(chosen, config.prompt_cuts, config.seed)
        if found := score_prompt_ends(model, tokenizer, cuts, start_id, context, device):
            measured.prompt_ends.setdefault(kind, {})[subject.name] = found.results(config.seed)
    if config.samples:
        drawn = sample(model, start_id, config.samples, min(config.sample_tokens, context), config.seed, device)
        sizes_V = bytes_per_token(tokenizer)
        sizes_V = np.pad(sizes_V, (0, max(0, model.config.vocab_size - len(sizes_V))))  # rows that are no token's
        measured.samples[subject.name] = drawn.results(sizes_V)
        if new_ids is not None:
            measured.samples[subject.name] |= new_token_figures(drawn.ids_BT, encoded.get("domain", []), new_ids)


def _say(stage: Stage) -> None:
    results = stage.results
    for kind, figures in results["bits_per_byte"].items():
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        LOG.info("evaluate: bits per byte on %s text: %s", kind, shown)
        for pair, found in results["differences"][kind].items():
            if found["low"] is not None:
                LOG.info(
                    "evaluate:   %s: %+.4f, 95 %% of resamples %+.4f to %+.4f (%d documents)", pair, *found.values()
                )
    for kind, of in results["prompt_ends"].items():
        for name, found in of.items():
            if found["inside"]:
                LOG.info(
                    "evaluate: %s model, %s text: %d of %d prompts end inside a token; what follows them takes %.4f "
                    "bits per byte, %.4f where prompt and text are encoded as one",
                    name, kind, found["cuts_inside_a_token"], found["cuts"],
                    found["inside"]["as_prompt"], found["inside"]["as_whole_text"],
                )  # fmt: skip
    for name, written in results["sampling"].items():
        share = written.get("new_token_share_sampled")
        new = "" if share is None else f", {100 * share:.1f} % of the tokens are new ones"
        LOG.info("evaluate: %s model writes %.2f bytes a token%s", name, written["bytes_per_token"], new)
    LOG.info(
        "evaluate: %s tokens before, %s after (%s %% saved); agreement %s %%",
        f"{results['heldout_tokens_before']:,}",
        f"{results['heldout_tokens_after']:,}",
        results["tokens_saved_percent"],
        results["agreement_percent"],
    )
