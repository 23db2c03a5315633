"""Stage `verify`: are two tokenizers the same? Documents, every id, repeats and adversarial strings, from scratch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.disk.digest import sha256_file
from ivr.disk.writer import files_below, write_json
from ivr.errors import ConfigError, DifferenceError
from ivr.manifest import package_versions
from ivr.options.declared import SEEDS, WORKERS_OR_ALL, StageConfig, option
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from ivr.tokenizer.verify.pair import Pair

DESCRIPTION = """\
Compare two tokenizers from scratch: whole documents encoded and decoded, every id, repeats (one unit several times in a
row: `-----`, `hahaha`), generated strings. Both run in the `tokenizers` library; nothing of the fitting code is used.

Exit code 0: equal wherever they were compared. 1: they differ; the first differences are printed side by side. The
report lists what was compared and the first 1,000 differences of each kind.
"""
EPILOG = """\
examples:
  ivr verify
  ivr verify --corpus my/text.txt more/text --adversarial 100000 --runs 16
"""

FORMAT = 1
KEPT = 1_000  # differences listed in the report, of each kind
ADDED_DIFFERENCES = ("different_ids", "different_offsets", "different_decodings")


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr verify`."""

    tokenizer: Path | None = option(
        None,
        "tokenizer in question, a directory or tokenizer.json (default: ARTIFACTS/tokenizers/distilled_unigram)",
        group="input",
        metavar="PATH",
    )
    against: Path | None = option(
        None,
        "tokenizer it must equal, a directory or tokenizer.json (default: ARTIFACTS/tokenizers/original)",
        metavar="PATH",
    )
    corpus: Sequence[Path] | None = option(
        None,
        "text files or directories: cleaned or plain .txt, .jsonl, .json, each also .gz or .xz "
        "(default: cleaned, held-out and general text of ARTIFACTS)",
        metavar="PATH",
    )
    max_documents: int | None = option(
        None, "read the first N documents of every file only, for a quick look (default: all)", bounds="[1, 1e9]"
    )
    runs: int = option(
        64,
        "repeats of every unit, alone and beside every kind of neighbour, up to MAXLEN times the unit; 0 for none",
        group="strings beyond the corpus",
        metavar="MAXLEN",
        bounds="[0, 10000]",
    )
    every_pair: bool = option(
        False,
        "test every pair of neighbours at every length (four times the strings for GPT-2 to 256); otherwise pairs "
        "are rotated over the lengths once BPE's answer is periodic",
    )
    adversarial: int = option(0, "number of generated strings to compare", bounds="[0, 1e9]")
    seed: int = option(0, "of what is generated", bounds=SEEDS)
    output: Path | None = option(
        None,
        "the report, JSON (default: ARTIFACTS/verification/verification.json)",
        group="work",
        metavar="FILE",
    )
    processes: int = option(0, "worker processes, 0 for every core", bounds=WORKERS_OR_ALL, identity=False)


def run(config: Config) -> Manifest:
    """Run the stage; returns its manifest. Raises DifferenceError, the report written, when the two differ."""
    paths = ArtifactPaths(config.artifacts_dir)
    output = config.output or paths.root / "verification" / "verification.json"
    tokenizer = _tokenizer_input(config.tokenizer, paths.distilled_tokenizer, "distill-tokenizer")
    against = _tokenizer_input(config.against, paths.original_tokenizer, "init")
    corpora = _corpus_inputs(config, paths)
    with open_stage("verify", config, [tokenizer, against, *corpora]) as stage:
        if stage.current and "equal" in stage.manifest.results:
            manifest = stage.manifest
        else:
            stage.replaces(output)
            from ivr.tokenizer.verify.summary import print_report

            report = _verify(config, tokenizer.path, against.path, [item.path for item in corpora])
            write_json(output, report)
            print_report(report)
            stage.results.update(_figures(report))
            manifest = stage.finish([output])
    if not manifest.results["equal"]:
        raise DifferenceError(f"{tokenizer.path} and {against.path} differ; {output} lists where")
    return manifest


# inputs -----------------------------------------------------------------------------------------------------------
def _tokenizer_input(given: Path | None, default: Path, made_by: str) -> Input:
    if given is None:
        return Input(default / "tokenizer.json", made_by=made_by)
    if given.is_dir() and not (given / "tokenizer.json").is_file():
        raise ConfigError(f"{given} holds no tokenizer.json")
    return Input(given / "tokenizer.json" if given.is_dir() else given)


def _corpus_inputs(config: Config, paths: ArtifactPaths) -> list[Input]:
    if config.corpus is not None:
        return [Input(path) for path in config.corpus]
    optional = (paths.heldout_corpora, paths.general_cleaned, paths.general_heldout)
    return [
        Input(paths.cleaned_corpora, made_by="init"),
        *(Input(path, made_by="init", optional=True) for path in optional if path.is_dir() and files_below(path)),
    ]


# the comparison ---------------------------------------------------------------------------------------------------
def _verify(config: Config, tokenizer_file: Path, against_file: Path, corpora: Sequence[Path]) -> dict[str, Any]:
    from ivr.encoding.batch import default_processes
    from ivr.tokenizer.verify.added_tokens import compare_added
    from ivr.tokenizer.verify.adversarial import compare_adversarial
    from ivr.tokenizer.verify.causes import MEANING
    from ivr.tokenizer.verify.documents import compare_documents
    from ivr.tokenizer.verify.pair import Workers, read_tokenizer_text
    from ivr.tokenizer.verify.repeats import compare_runs
    from ivr.tokenizer.verify.sources import sources_of
    from ivr.tokenizer.verify.summary import summary

    sources = sources_of([path for path in corpora if path.exists()])
    ours, theirs = read_tokenizer_text(tokenizer_file), read_tokenizer_text(against_file)
    with Workers(ours, theirs, config.processes or default_processes()) as workers:
        pair = workers.pair
        sizes = [tokenizer.get_vocab_size(with_added_tokens=True) for tokenizer in (pair.ours, pair.theirs)]
        if sizes[0] != sizes[1]:
            raise ConfigError(
                f"{tokenizer_file} has {sizes[0]:,} ids, {against_file} has {sizes[1]:,}: they cannot be the same"
            )
        report = {
            "ids": _compare_ids(pair),
            "documents": compare_documents(workers, sources, KEPT, config.max_documents),
            "added_tokens": compare_added(ours, theirs),
            "runs": compare_runs(workers, theirs, config.runs, every_pair=config.every_pair),
            "adversarial": compare_adversarial(workers, config.seed, config.adversarial, KEPT),
        }
    return {
        "format": FORMAT,
        "equal": _equal(report),
        "summary": summary(report),
        "tokenizer": {"path": str(tokenizer_file), "sha256": sha256_file(tokenizer_file), "model": _model(ours)},
        "against": {"path": str(against_file), "sha256": sha256_file(against_file), "model": _model(theirs)},
        "causes": MEANING,
        "versions": package_versions(),
        "seed": config.seed,
        **report,
    }


def _compare_ids(pair: "Pair") -> dict[str, Any]:
    """String, encoding of the own string and decoding of every id; the numbers and the first of each."""
    from ivr.tokenizer.verify.comparison import compare_vocabularies

    found = asdict(compare_vocabularies(pair.theirs, pair.ours))
    names = ("different_strings", "different_encodings", "different_decodings", "not_to_themselves")
    return {
        "ids": found["num_ids"],
        **{name: len(found[name]) for name in names},
        "first": {name: [_own_string(pair, token_id) for token_id in found[name][:KEPT]] for name in names},
    }


def _own_string(pair: "Pair", token_id: int) -> dict[str, Any]:
    token = pair.theirs.id_to_token(token_id) or ""
    ours, theirs = pair.encode_symbols([token])
    return {"id": token_id, "text": token, **pair.mismatch(token, ours[0], theirs[0], symbols=True)}


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    """What the manifest keeps, for `ivr report`."""
    documents, runs, adversarial = report["documents"], report["runs"], report["adversarial"]
    names = ("documents", "pretokens", "distinct_pretokens", "different_documents", "mismatched_pretokens")
    return {
        "equal": report["equal"],
        **{name: documents[name] for name in names},
        "mismatches_per_million": documents["mismatches_per_million"],
        "longest_run": runs["max_length"],
        "runs": runs["strings"],
        "different_runs": runs["mismatched"],
        "adversarial_strings": adversarial["strings"],
        "adversarial_equal_percent": adversarial["equal_percent"],
        "adversarial_scores_cannot": adversarial["scores_cannot"],
        "adversarial_not_fixed": adversarial["not_fixed"],
    }


def _equal(report: dict[str, Any]) -> bool:
    """True when every comparison that was made found no difference."""
    ids, documents, adversarial = report["ids"], report["documents"], report["adversarial"]
    return (
        not any(ids[name] for name in ids["first"])
        and not documents["different_documents"]
        and not documents["different_decodings"]
        and not any(report["added_tokens"][name] for name in ADDED_DIFFERENCES)
        and not report["runs"]["mismatched"]
        and adversarial["equal"] == adversarial["strings"]
        and not adversarial["decoded_otherwise"]
    )


def _model(text: str) -> str:
    import json

    return str(json.loads(text)["model"]["type"])
