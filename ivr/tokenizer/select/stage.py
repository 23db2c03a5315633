"""Stage `select`: which ids leave and which strings enter, by exact token counts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG
from ivr.corpus.documents import cleaned_input
from ivr.disk.writer import write_text
from ivr.errors import ConfigError
from ivr.options.declared import StageConfig, option
from ivr.options.values import read_value
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from ivr.tokenizer.select.candidates import CandidateRules
    from ivr.tokenizer.select.selection import AtLeast, Selection

DESCRIPTION = """\
Choose which ids are given to which new strings, so that the corpus takes the fewest tokens, counted exactly under the
distilled tokenizer. Bytes, added tokens and those of --keep-tokens never leave; tokens that protected text would need
in addition count against a choice.
With --max-words 2 or more a new string may span several words (a superword, ` of the`), which saves far more.

Writes replacement_candidates.csv, which you may edit before `ivr remap`, and selection_log.md, which says why.
"""
EPILOG = """\
examples:
  ivr select --swaps 1000
  ivr select --swaps auto --min-gain 5
  ivr select --swaps 2000 --max-words 4
  ivr select --swaps 5000 --protect-corpus my/general/text --protect-weight 2
"""


# what is enough of a new string where the K that were asked for are not found
LEAST_COUNT, LEAST_GAIN = 2, 1.0
WEIGHTS = "[0, 1e6]"  # times the tokens of a corpus, a float64 holds the largest to a fraction of a token


def read_swaps(text: str) -> int | str:
    """A number of swaps, or `auto`."""
    try:
        return text if text == "auto" else int(read_value(int, text))
    except ValueError:
        raise ValueError(f"{text!r}: a whole number or auto is needed") from None


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr select`."""

    swaps: int | str = option(
        500,
        "ids to reassign; auto: as many as pay on a tenth of the documents to learn from, which is set aside to "
        "find out, at most 10,000",
        group="how much",
        metavar="K",
        parse=read_swaps,
        bounds="[1, 1e7]",
    )
    min_gain: float | None = option(
        None,
        "smallest number of corpus tokens a new string must save (default: 2; if --swaps K finds fewer than K strings "
        "it drops to 1, then strings for similar unseen words are added). With --swaps auto: stop when 100 swaps save "
        "less than N each on average on the documents set aside, scaled to the corpus",
        metavar="N",
        bounds=WEIGHTS,
    )
    min_count: int | None = option(
        None,
        "occurrences in the corpus, so that it can be learnt (default: 3; with --swaps K, where fewer than K are "
        "found, 2)",
        group="strings that may enter",
        bounds="[0, 1e9]",
    )
    min_documents: int = option(2, "it is in N documents or more: one of its pretokens is", bounds="[0, 1e9]")
    max_bytes: int = option(128, "longest string", bounds="[1, 10000]")
    partial_characters: bool = option(False, "allow parts of characters (default: whole characters only)")
    max_words: int = option(
        1,
        "a new string may span up to N words, numbers or punctuation marks of a line, as the tokenizer splits "
        "them; 1: it stays inside one. 4 saves two to four times as many tokens of English text; 1 is the default "
        "until models have shown that their bits per byte are as good",
        bounds="[1, 16]",
    )
    superword_boundaries: str = option(
        "sentences,digits",
        "what a string of several words never spans besides line ends: sentences (nothing behind .!?;: and a "
        "blank), digits (no numbers in it), sentences,digits or none; where digits are the language, as in SMILES, "
        "none saves most",
        metavar="WHAT",
    )
    exclude: str | None = option(
        None,
        "refuse strings that match; '' refuses none (default: e-mail and web addresses, five or more digits)",
        metavar="REGEX",
    )
    keep_tokens: Path | None = option(
        None, "tokens that never leave, one a line, as text (default: none)", group="ids that may leave", metavar="FILE"
    )
    protect_corpus: Path | None = option(
        None,
        "text that must not get longer: cleaned .txt files (default: the general text that init cleaned, if any)",
        metavar="PATH",
    )
    protect_weight: float = option(1.0, "tokens of protected text count W times", metavar="W", bounds=WEIGHTS)
    use_cost: float = option(
        0.0,
        "giving up an id costs C tokens for each of its uses, besides what its text then takes: the model has "
        "learnt a row for it; 0 counts tokens alone",
        metavar="C",
        bounds=WEIGHTS,
    )


def run(config: Config) -> Manifest:
    """Run the stage; returns its manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    _check(config)
    inputs = [
        Input(paths.pretoken_frequency, made_by="analyze"),
        Input(paths.distilled_tokenizer / "tokenizer.json", made_by="distill-tokenizer"),
        Input(paths.general_pretoken_frequency, made_by="analyze", optional=True),
        Input(paths.original_tokenizer / "tokenizer.json", made_by="init"),
        Input(paths.base_model / "model.safetensors", made_by="init", optional=True),
    ]
    if config.max_words > 1:
        inputs.append(Input(paths.general_cleaned, made_by="init", optional=True))
    if config.swaps == "auto" or config.max_words > 1:
        inputs.append(Input(paths.cleaned_corpora, made_by="init"))
    if config.protect_corpus:
        inputs.append(cleaned_input(config.protect_corpus, made_by=""))
    if config.keep_tokens:
        inputs.append(Input(config.keep_tokens))
    with open_stage("select", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        stage.protect_edits(paths.replacement_candidates)
        stage.replaces(paths.selection_log)
        from ivr.tokenizer.select.inputs import read_material, swaps_wanted, with_documents
        from ivr.tokenizer.select.output.log import selection_log
        from ivr.tokenizer.select.output.table import write_candidates
        from ivr.tokenizer.select.selection import select_swaps

        material = read_material(config, paths)
        wanted = swaps_wanted(config, paths, material)
        texts = with_documents(material.texts, paths, config)
        request = replace(material.request, swaps=wanted, at_least=_at_least(config))
        selection = select_swaps(material.tokens, material.scores_V, material.droppable, texts, request)
        write_candidates(paths.replacement_candidates, selection.swaps, superwords=config.max_words > 1)
        log = selection_log(
            selection, wanted, config.protect_weight, _conditions(request.rules, config), texts.num_in_parts
        )
        write_text(paths.selection_log, log)
        stage.results.update(_figures(selection, config))
        if len(selection.swaps) < wanted:
            LOG.warning(
                "%s of the %s ids asked for stay as they are: no other string keeps the conditions (selection_log.md)",
                f"{wanted - len(selection.swaps):,}", f"{wanted:,}",
            )  # fmt: skip
        return stage.finish([paths.selection_log], editable=[paths.replacement_candidates])


def _figures(selection: "Selection", config: Config) -> dict[str, object]:
    """What the manifest records; the saving is told."""
    saved = 100 * (1 - selection.tokens_after / max(selection.tokens_before, 1))
    LOG.info(
        "%s swaps chosen; the corpus takes %.2f %% fewer tokens (%s -> %s)",
        f"{len(selection.swaps):,}", saved, f"{selection.tokens_before:,}", f"{selection.tokens_after:,}",
    )  # fmt: skip
    figures: dict[str, object] = {
        "swaps": len(selection.swaps),
        "candidates": selection.candidates,
        "tokens_before": selection.tokens_before,
        "tokens_after": selection.tokens_after,
        "tokens_saved_percent": round(saved, 4),
        "protected_before": selection.protected_before,
        "protected_after": selection.protected_after,
        "dropped_cost": sum(swap.lost for swap in selection.swaps),
    }
    if config.max_words > 1:
        figures["superwords"] = sum(bool(swap.parts) for swap in selection.swaps)
    return figures


def _check(config: Config) -> None:
    """Raises ConfigError for a value that no selection could be made with."""
    import regex

    from ivr.tokenizer.superwords.boundaries import Boundaries

    try:
        Boundaries.named(config.superword_boundaries)
    except ValueError:
        raise ConfigError(
            f"--superword-boundaries {config.superword_boundaries!r}: sentences, digits, sentences,digits or none "
            "is needed"
        ) from None
    try:
        regex.compile(config.exclude or "")
    except regex.error as error:
        raise ConfigError(f"--exclude {config.exclude!r} is no pattern: {error}") from None


def _at_least(config: Config) -> "AtLeast | None":
    """What is enough where fewer than K strings keep the defaults; None where the user has said it, or wants no K."""
    from ivr.tokenizer.select.selection import AtLeast

    if config.swaps == "auto" or config.min_gain is not None:
        return None
    return AtLeast(LEAST_COUNT if config.min_count is None else config.min_count, LEAST_GAIN)


def _conditions(rules: "CandidateRules", config: Config) -> dict[str, object]:
    """What the log says of the conditions."""
    told: dict[str, object] = {name: value for name, value in vars(rules).items() if name != "taken"}
    if config.max_words > 1:
        told |= {"max_words": config.max_words, "superword_boundaries": config.superword_boundaries}
    return told
