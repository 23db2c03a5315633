"""Stage `remap`: carry the chosen swaps out in the distilled tokenizer, and write down the rules."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths, atomic_directory, sha256_file
from ivr.console import LOG, Progress
from ivr.errors import IvrError, StaleInputError
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from ivr.tokenizer.reassignment import DistilledTokenizer
    from ivr.tokenizer.rules import RemapRules

DESCRIPTION = """\
Give every chosen id its new string in the distilled tokenizer, and write remap_rules.yaml, from which `ivr align` gives
the same ids new embedding rows. All other ids keep their strings; text that is not concerned is encoded as before.
"""
EPILOG = """\
examples:
  ivr remap
  ivr remap --rules my_rules.yaml
"""


@dataclass(frozen=True)
class Config:
    """Options of `ivr remap`."""

    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    candidates: Path | None = None
    rules: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    inputs = parser.add_argument_group("input")
    inputs.add_argument(
        "--candidates",
        type=Path,
        metavar="FILE",
        help="the swaps as a table (default: ARTIFACTS/analysis/reports/replacement_candidates.csv)",
    )
    inputs.add_argument(
        "--rules", type=Path, metavar="FILE", help="the swaps as rules, e.g. an edited remap_rules.yaml (default: none)"
    )


def run(config: Config) -> Manifest:
    """Run the stage; returns its manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    if config.rules:
        swaps_input = Input(config.rules)
    elif config.candidates:
        swaps_input = Input(config.candidates)
    else:
        swaps_input = Input(paths.replacement_candidates, made_by="select", editable=True)
    distilled_file = paths.distilled_tokenizer / "tokenizer.json"
    original_file = paths.original_tokenizer / "tokenizer.json"
    inputs = [
        Input(distilled_file, made_by="distill-tokenizer"),
        swaps_input,
        Input(original_file, made_by="init"),
        Input(paths.pretoken_frequency, made_by="analyze"),
    ]
    with open_stage("remap", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        from tokenizers import Tokenizer

        from ivr.analysis.tables import read_pretoken_frequency
        from ivr.tokenizer.reassignment import DistilledTokenizer, apply_swaps, check_remapped
        from ivr.tokenizer.rules import write_rules
        from ivr.tokenizer.unigram_file import read_unigram, write_tokenizer

        distilled = DistilledTokenizer(*read_unigram(distilled_file))
        hashes = (sha256_file(original_file), sha256_file(distilled_file))
        rules = _rules(config, swaps_input.path, distilled, original_file, hashes)
        table = read_pretoken_frequency(paths.pretoken_frequency)
        with atomic_directory(paths.remapped_tokenizer) as directory:
            write_tokenizer(directory, apply_swaps(distilled, rules.swaps), paths.distilled_tokenizer)
            write_rules(directory / "remap_rules.yaml", rules)
            remapped = Tokenizer.from_file(str(directory / "tokenizer.json"))
            with Progress("check", len(table), "pretokens") as bar:
                check = check_remapped(distilled, remapped, rules.swaps, table, bar.update)
            if check.not_to_themselves or check.changed_unaffected:
                raise IvrError(
                    f"the remapped tokenizer is not what the rules say: ids {check.not_to_themselves[:5]} are not "
                    f"produced for their own strings, {check.changed_unaffected[:5]} changed without cause"
                )
        LOG.info(
            "%s ids have new strings, each is produced for its own; %s of %s distinct pretokens are encoded anew, "
            "all others as before", f"{len(rules.swaps):,}", f"{check.changed:,}", f"{check.pretokens:,}",
        )  # fmt: skip
        stage.results.update(swaps=len(rules.swaps), pretokens=check.pretokens, changed_pretokens=check.changed)
        return stage.finish([paths.remapped_tokenizer])


def _rules(
    config: Config, source: Path, distilled: "DistilledTokenizer", original_file: Path, hashes: tuple[str, str]
) -> "RemapRules":
    """Rules from the table, or from a rules file: then pieces and scores are made again from its swaps."""
    from tokenizers import Tokenizer

    from ivr.encoding.bpe import read_bpe
    from ivr.tokenizer.candidates_file import Candidate, read_candidates
    from ivr.tokenizer.reassignment import check_candidates, make_swaps
    from ivr.tokenizer.rules import RemapRules, read_rules

    if config.rules:
        given = read_rules(source)
        for name, wanted, found in zip(
            ("original", "distilled"),
            (given.original_tokenizer_sha256, given.distilled_tokenizer_sha256),
            hashes,
            strict=True,
        ):
            if wanted != found:
                raise StaleInputError(
                    f"{source} is for an {name} tokenizer with sha256 {wanted[:16]}, this one has {found[:16]}; "
                    f"run `ivr select` and `ivr remap` for this one"
                )
        candidates = [Candidate(0, swap.id, swap.old, swap.new) for swap in given.swaps]
    else:
        candidates = read_candidates(source)
    check_candidates(source, candidates, distilled)
    swaps = make_swaps(candidates, distilled, read_bpe(Tokenizer.from_file(str(original_file))))
    return RemapRules(*hashes, swaps)
