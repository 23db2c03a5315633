"""Stage `remap`: carry the chosen swaps out in the distilled tokenizer, and write down the rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, Progress
from ivr.disk.digest import sha256_file
from ivr.disk.writer import atomic_directory
from ivr.errors import ConfigError, IvrError, StaleInputError
from ivr.options.declared import StageConfig, option
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.tokenizer.remap.apply import DistilledTokenizer
    from ivr.tokenizer.remap.check import RemapCheck
    from ivr.tokenizer.remap.rules import RemapRules

DESCRIPTION = """\
Give every chosen id its new string in the distilled tokenizer. All other ids keep their strings, and text that holds
neither an old nor a new string of a swap is encoded as before.

Writes the remapped tokenizer and remap_rules.yaml, by which `ivr align` gives the same ids new embedding rows.
"""
EPILOG = """\
examples:
  ivr remap
  ivr remap --rules my_rules.yaml
  ivr remap --undo
"""


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr remap`."""

    candidates: Path | None = option(
        None,
        "the swaps as a table (default: ARTIFACTS/analysis/reports/replacement_candidates.csv)",
        group="input",
        metavar="FILE",
    )
    rules: Path | None = option(
        None, "the swaps as rules, e.g. an edited remap_rules.yaml (default: none)", metavar="FILE"
    )
    undo: bool = option(
        False,
        "take the swaps of tokenizers/remapped back: it becomes the distilled tokenizer again, byte for byte",
        group="the way back",
    )


def run(config: Config) -> Manifest:
    """Run the stage; returns its manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    if config.undo:
        return _undo(config, paths)
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
        stage.replaces(paths.remapped_tokenizer)
        from ivr.analysis.pretokens import PretokenSplitter
        from ivr.analysis.tables import read_pretoken_frequency
        from ivr.encoding.text.tokenizer_file import load_tokenizer
        from ivr.tokenizer.remap.apply import DistilledTokenizer, apply_swaps
        from ivr.tokenizer.remap.check import check_remapped
        from ivr.tokenizer.remap.rules import write_rules
        from ivr.tokenizer.unigram_file import read_unigram, write_tokenizer

        distilled = DistilledTokenizer(*read_unigram(distilled_file))
        hashes = (sha256_file(original_file), sha256_file(distilled_file))
        original = load_tokenizer(original_file)
        split = PretokenSplitter(original)
        rules = _rules(config, swaps_input.path, distilled, original, split, hashes)
        table = read_pretoken_frequency(paths.pretoken_frequency)
        with atomic_directory(paths.remapped_tokenizer) as directory:
            write_tokenizer(directory, apply_swaps(distilled, rules.swaps, split), paths.distilled_tokenizer)
            write_rules(directory / "remap_rules.yaml", rules)
            remapped = load_tokenizer(directory)
            with Progress("check", len(table), "pretokens") as bar:
                check = check_remapped(distilled, remapped, rules.swaps, table, bar.update)
            _tell(check, len(rules.swaps), distilled.strings)
        stage.results.update(
            swaps=len(rules.swaps),
            unreachable_ids=check.lost,
            pretokens=check.pretokens,
            changed_pretokens=check.changed,
        )
        return stage.finish([paths.remapped_tokenizer])


def _tell(check: "RemapCheck", swaps: int, strings: Sequence[str]) -> None:
    """Raises IvrError where the remapped tokenizer is not what the rules say."""
    if check.not_to_themselves or check.changed_unaffected:
        raise IvrError(
            f"the remapped tokenizer is not what the rules say: ids {check.not_to_themselves[:5]} are not "
            f"produced for their own strings, {check.changed_unaffected[:5]} changed without cause"
        )
    LOG.info(
        "%s ids have new strings, each is produced for its own; %s of %s distinct pretokens are encoded anew, "
        "all others as before", f"{swaps:,}", f"{check.changed:,}", f"{check.pretokens:,}",
    )  # fmt: skip
    if check.lost:
        LOG.warning(
            "%d ids keep their strings but lose them to new tokens inside, and are produced no more: %s",
            len(check.lost), ", ".join(f"{i} {strings[i]!r}" for i in check.lost[:20]),
        )  # fmt: skip


def _rules(
    config: Config,
    source: Path,
    distilled: "DistilledTokenizer",
    original: "Tokenizer",
    split: "PretokenSplitter",
    hashes: tuple[str, str],
) -> "RemapRules":
    """Rules from a rules file, as they stand, or made from the table: then with pieces and the scores it lacks."""
    from ivr.encoding.bpe import read_bpe
    from ivr.tokenizer.remap.apply import check_candidates, check_rules, make_swaps
    from ivr.tokenizer.remap.rules import RemapRules, read_rules
    from ivr.tokenizer.select.output.table import read_candidates

    bpe = read_bpe(original)
    if not config.rules:
        candidates = read_candidates(source)
        check_candidates(source, candidates, distilled, split)
        return RemapRules(*hashes, make_swaps(candidates, distilled, bpe, split))
    rules = read_rules(source)
    _check_hashes(source, rules, hashes)
    check_rules(source, rules, distilled, bpe, split)
    return rules


def _check_hashes(source: Path, rules: "RemapRules", hashes: tuple[str, str]) -> None:
    given = (rules.original_tokenizer_sha256, rules.distilled_tokenizer_sha256)
    for name, wanted, found in zip(("original", "distilled"), given, hashes, strict=True):
        if wanted != found:
            raise StaleInputError(
                f"{source} is for an {name} tokenizer with sha256 {wanted[:16]}, this one has {found[:16]}; "
                f"run `ivr select` and `ivr remap` for this one"
            )


def _undo(config: Config, paths: ArtifactPaths) -> Manifest:
    """Turn tokenizers/remapped back into the distilled tokenizer, from its rules alone; rules without swaps stay."""
    if config.candidates or config.rules:
        raise ConfigError("--undo takes no swaps: it undoes those of tokenizers/remapped")
    original_file = paths.original_tokenizer / "tokenizer.json"
    inputs = [Input(original_file, made_by="init"), Input(paths.remap_rules, made_by="remap", editable=True)]
    with open_stage("remap", config, inputs) as stage:
        stage.replaces(paths.remapped_tokenizer)
        from ivr.analysis.pretokens import PretokenSplitter
        from ivr.encoding.text.tokenizer_file import load_tokenizer
        from ivr.tokenizer.remap.apply import DistilledTokenizer, undo_swaps
        from ivr.tokenizer.remap.rules import RemapRules, read_rules, write_rules
        from ivr.tokenizer.unigram_file import read_unigram, write_tokenizer

        rules = read_rules(paths.remap_rules)
        split = PretokenSplitter(load_tokenizer(original_file))
        remapped = DistilledTokenizer(*read_unigram(paths.remapped_tokenizer / "tokenizer.json"))
        with atomic_directory(paths.remapped_tokenizer) as directory:
            write_tokenizer(directory, undo_swaps(remapped, rules.swaps, split), paths.remapped_tokenizer)
            found = sha256_file(directory / "tokenizer.json")
            _check_hashes(paths.remap_rules, rules, (sha256_file(original_file), found))
            hashes = (rules.original_tokenizer_sha256, rules.distilled_tokenizer_sha256)
            write_rules(directory / "remap_rules.yaml", RemapRules(*hashes, ()))
        LOG.info(
            "%s swaps undone: tokenizers/remapped is the distilled tokenizer again (sha256 %s)",
            f"{len(rules.swaps):,}", found[:16],
        )  # fmt: skip
        stage.results.update(swaps=0, undone=len(rules.swaps))
        return stage.finish([paths.remapped_tokenizer])
