"""Stage `select`: which ids leave and which strings enter, by exact token counts."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths, write_text
from ivr.console import LOG
from ivr.errors import ConfigError
from ivr.options import check_least, whole_number
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    import numpy as np

    from ivr.analysis.tables import PretokenTable
    from ivr.tokenizer.select.candidates import CandidateRules
    from ivr.tokenizer.select.selection import AtLeast
    from ivr.tokenizer.select.texts import Texts

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


# what a new string must have; and what is enough where the K that were asked for are not found
MIN_COUNT, MIN_GAIN = 3, 2.0
LEAST_COUNT, LEAST_GAIN = 2, 1.0
LARGEST_WEIGHT = 1_000_000  # times the tokens of a corpus, a float64 holds it to a fraction of a token
MANY_NUMBERS = 0.12  # of all pretokens: prose has a third of it, formulas and SMILES twice as many
MOST_WORDS = 16


@dataclass(frozen=True)
class Config:
    """Options of `ivr select`."""

    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    swaps: int | str = 500
    min_gain: float | None = None
    min_count: int | None = None
    min_documents: int = 2
    max_bytes: int = 128
    partial_characters: bool = False
    max_words: int = 1
    superword_boundaries: str = "sentences,digits"
    exclude: str | None = None
    keep_tokens: Path | None = None
    protect_corpus: Path | None = None
    protect_weight: float = 1.0
    use_cost: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    amount = parser.add_argument_group("how much")
    amount.add_argument(
        "--swaps",
        type=_swaps,
        default=Config.swaps,
        metavar="K",
        help="ids to reassign; auto: as many as pay on a tenth of the documents to learn from, which is set aside to "
        "find out, at most 10,000 (default: %(default)s)",
    )
    amount.add_argument(
        "--min-gain",
        type=float,
        default=Config.min_gain,
        metavar="N",
        help="a new string must save N tokens of the corpus or more; with --swaps auto a hundred swaps must, on "
        "average, on the documents set aside, counted for as many as the corpus has (default: 2; with --swaps K, where "
        "fewer than K are found, 1, then strings that serve words like those of the corpus)",
    )
    strings = parser.add_argument_group("strings that may enter")
    strings.add_argument(
        "--min-count",
        type=int,
        default=Config.min_count,
        metavar="N",
        help="occurrences in the corpus, so that it can be learnt (default: 3; with --swaps K, where fewer than K are "
        "found, 2)",
    )
    strings.add_argument(
        "--min-documents",
        type=int,
        default=Config.min_documents,
        metavar="N",
        help="it is in N documents or more: one of its pretokens is (default: %(default)s)",
    )
    strings.add_argument(
        "--max-bytes", type=int, default=Config.max_bytes, metavar="N", help="longest string (default: %(default)s)"
    )
    strings.add_argument(
        "--partial-characters", action="store_true", help="allow parts of characters (default: whole characters only)"
    )
    strings.add_argument(
        "--max-words",
        type=int,
        default=Config.max_words,
        metavar="N",
        help="a new string may span up to N words, numbers or punctuation marks of a line, as the tokenizer splits "
        "them; 1: it stays inside one. 4 saves two to four times as many tokens of English text; 1 is the default "
        "until models have shown that their bits per byte are as good (default: %(default)s)",
    )
    strings.add_argument(
        "--superword-boundaries",
        default=Config.superword_boundaries,
        metavar="WHAT",
        help="what a string of several words never spans besides line ends: sentences (nothing behind .!?;:), digits "
        "(no numbers in it), sentences,digits or none; where digits are the language, as in SMILES, none saves most "
        "(default: %(default)s)",
    )
    strings.add_argument(
        "--exclude",
        metavar="REGEX",
        default=Config.exclude,
        help="refuse strings that match; '' refuses none (default: e-mail and web addresses, five or more digits)",
    )
    ids = parser.add_argument_group("ids that may leave")
    ids.add_argument(
        "--keep-tokens", type=Path, metavar="FILE", help="tokens that never leave, one a line, as text (default: none)"
    )
    ids.add_argument(
        "--protect-corpus",
        type=Path,
        metavar="PATH",
        help="text that must not get longer: cleaned .txt files (default: the general text that init cleaned, if any)",
    )
    ids.add_argument(
        "--protect-weight",
        type=float,
        default=Config.protect_weight,
        metavar="W",
        help="tokens of protected text count W times (default: %(default)s)",
    )
    ids.add_argument(
        "--use-cost",
        type=float,
        default=Config.use_cost,
        metavar="C",
        help="giving up an id costs C tokens for each of its uses, besides what its text then takes: the model has "
        "learnt a row for it; 0 counts tokens alone (default: %(default)s)",
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
    inputs += [Input(path) for path in (config.keep_tokens, config.protect_corpus) if path]
    with open_stage("select", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        stage.protect_edits(paths.replacement_candidates)
        stage.replaces(paths.selection_log)
        from ivr.analysis.pretokens import PretokenSplitter
        from ivr.analysis.tables import read_pretoken_frequency
        from ivr.tokenizer.select.candidates import DEFAULT_EXCLUDE, CandidateRules
        from ivr.tokenizer.select.output.log import selection_log
        from ivr.tokenizer.select.output.table import write_candidates
        from ivr.tokenizer.select.selection import Wishes, select_swaps, weighted_uses
        from ivr.tokenizer.select.texts import join_texts
        from ivr.tokenizer.select.undertrained import order_of_leaving
        from ivr.tokenizer.unigram_file import read_unigram, token_bytes

        tokenizer, strings, scores_V = read_unigram(paths.distilled_tokenizer / "tokenizer.json")
        added = frozenset(tokenizer.get_added_tokens_decoder())
        tokens = token_bytes(strings, scores_V)
        rules = CandidateRules(
            MIN_COUNT if config.min_count is None else config.min_count, config.min_documents, config.max_bytes,
            not config.partial_characters,
            DEFAULT_EXCLUDE if config.exclude is None else config.exclude,
            _never_given(strings, tokens),
        )  # fmt: skip
        kept = _untouchable(tokens, added, config.keep_tokens)
        distances = _distances(paths, tokens)
        splitter, protected = PretokenSplitter(tokenizer), _protected(paths, config)
        texts = join_texts(read_pretoken_frequency(paths.pretoken_frequency), protected, splitter)
        produced_V = weighted_uses(tokens, scores_V, texts, config.protect_weight)
        droppable = order_of_leaving(
            [token_id for token_id in range(len(tokens)) if token_id not in kept], produced_V, distances
        )
        min_gain = MIN_GAIN if config.min_gain is None else config.min_gain
        wishes = Wishes(0, min_gain, config.protect_weight, config.use_cost, rules, max_words=config.max_words)
        if config.swaps == "auto":
            from tokenizers import Tokenizer

            from ivr.tokenizer.select.stopping import swaps_that_pay, tables_for_stopping

            base = Tokenizer.from_file(str(paths.original_tokenizer / "tokenizer.json"))
            aside, others = (
                _with_sequences(join_texts(table, protected, splitter), paths, config, is_aside)
                for table, is_aside in zip(tables_for_stopping(paths.cleaned_corpora, base), (True, False), strict=True)
            )
            wanted = swaps_that_pay(tokens, scores_V, droppable, others, aside, wishes)
        else:
            wanted = int(config.swaps)
        texts = _with_sequences(texts, paths, config)
        wishes = replace(wishes, swaps=wanted, at_least=_at_least(config))
        selection = select_swaps(tokens, scores_V, droppable, texts, wishes)
        write_candidates(paths.replacement_candidates, selection.swaps, superwords=config.max_words > 1)
        write_text(paths.selection_log, selection_log(selection, wanted, config.protect_weight, _told(rules, config)))
        saved = 100 * (1 - selection.tokens_after / max(selection.tokens_before, 1))
        LOG.info(
            "%s of %s swaps chosen; the corpus takes %.2f %% fewer tokens (%s -> %s)",
            f"{len(selection.swaps):,}", f"{wanted:,}", saved,
            f"{selection.tokens_before:,}", f"{selection.tokens_after:,}",
        )  # fmt: skip
        stage.results.update(
            swaps=len(selection.swaps),
            candidates=selection.candidates,
            tokens_before=selection.tokens_before,
            tokens_after=selection.tokens_after,
            tokens_saved_percent=round(saved, 4),
            protected_before=selection.protected_before,
            protected_after=selection.protected_after,
            dropped_cost=sum(swap.lost for swap in selection.swaps),
        )
        if config.max_words > 1:
            stage.results.update(superwords=sum(bool(swap.parts) for swap in selection.swaps))
        if len(selection.swaps) < wanted:
            LOG.warning(
                "%s of the %s ids asked for stay as they are: no other string keeps the conditions (selection_log.md)",
                f"{wanted - len(selection.swaps):,}", f"{wanted:,}",
            )  # fmt: skip
        return stage.finish([paths.selection_log], editable=[paths.replacement_candidates])


def _check(config: Config) -> None:
    """Raises ConfigError for a value that no selection could be made with."""
    import regex

    from ivr.tokenizer.superwords.boundaries import Boundaries

    if isinstance(config.swaps, int) and config.swaps < 1:
        raise ConfigError(f"--swaps {config.swaps}: at least 1 is needed")
    check_least(config, {"min_count": 0, "min_documents": 0, "max_bytes": 1})
    if not 1 <= config.max_words <= MOST_WORDS:
        raise ConfigError(f"--max-words {config.max_words}: a number from 1 to {MOST_WORDS} is needed")
    try:
        Boundaries.named(config.superword_boundaries)
    except ValueError:
        raise ConfigError(
            f"--superword-boundaries {config.superword_boundaries!r}: sentences, digits, sentences,digits or none "
            "is needed"
        ) from None
    for option, value in (
        ("--protect-weight", config.protect_weight), ("--use-cost", config.use_cost), ("--min-gain", config.min_gain),
    ):  # fmt: skip
        if value is not None and not 0 <= value <= LARGEST_WEIGHT:
            raise ConfigError(f"{option} {value}: a number from 0 to {LARGEST_WEIGHT:,} is needed")
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


def _swaps(text: str) -> int | str:
    return text if text == "auto" else whole_number(text)


def _distances(paths: ArtifactPaths, tokens: "list[bytes]") -> "np.ndarray | None":
    from ivr.tokenizer.select.undertrained import distances_from_unused, read_wte

    wte_VD = read_wte(paths.base_model / "model.safetensors", len(tokens))
    distances = None if wte_VD is None else distances_from_unused(wte_VD, tokens)
    if distances is None:
        LOG.info(
            "no embedding rows at hand to tell under-trained ids: among ids that cost the same, the last goes first"
        )
    return distances


def _untouchable(tokens: list[bytes], added: frozenset[int], keep_tokens: Path | None) -> frozenset[int]:
    """Ids that never leave: bytes, added tokens, what the model never gives, and those whose text is in the file."""
    kept = set(added) | {token_id for token_id, token in enumerate(tokens) if len(token) <= 1}
    if keep_tokens:
        places = {token: token_id for token_id, token in enumerate(tokens)}
        for number, line in enumerate(keep_tokens.read_text(encoding="utf-8").splitlines(), 1):
            if not line:
                continue
            if line.encode() not in places:
                raise ConfigError(f"{keep_tokens}, line {number}: {line!r} is not a token (a leading blank counts)")
            kept.add(places[line.encode()])
    return frozenset(kept)


def _never_given(strings: list[str], tokens: list[bytes]) -> frozenset[bytes]:
    """The bytes of the strings that are tokens and that the model never gives, of those in the byte alphabet."""
    from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, from_alphabet

    unmade = (string for string, token in zip(strings, tokens, strict=True) if not token)
    return frozenset(from_alphabet(string) for string in unmade if CHARACTER_TO_BYTE.keys() >= set(string))


def _told(rules: "CandidateRules", config: Config) -> dict[str, object]:
    """What the log says of them."""
    told: dict[str, object] = {name: value for name, value in vars(rules).items() if name != "taken"}
    if config.max_words > 1:
        told |= {"max_words": config.max_words, "superword_boundaries": config.superword_boundaries}
    return told


def _with_sequences(texts: "Texts", paths: ArtifactPaths, config: Config, is_aside: bool | None = None) -> "Texts":
    """With the documents as sequences, where superwords are wanted. `is_aside`: of the domain only those, or others."""
    if config.max_words < 2:
        return texts
    from tokenizers import Tokenizer

    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.corpus.documents import read_documents_utf8
    from ivr.tokenizer.select.stopping import documents_where
    from ivr.tokenizer.select.texts import with_sequences
    from ivr.tokenizer.superwords.boundaries import Boundaries

    boundaries = Boundaries.named(config.superword_boundaries)
    base = PretokenSplitter(Tokenizer.from_file(str(paths.original_tokenizer / "tokenizer.json")))
    general = paths.general_cleaned if paths.general_pretoken_frequency.is_file() else None
    protected = config.protect_corpus or general
    domain = read_documents_utf8(paths.cleaned_corpora)
    if is_aside is not None:
        domain = (text.encode() for text in documents_where((text.decode() for text in domain), is_aside))
    texts = with_sequences(texts, domain, read_documents_utf8(protected) if protected else (), base, boundaries)
    assert texts.sequences is not None
    share = texts.sequences.numbers_share
    if is_aside is None and boundaries.digits and share > MANY_NUMBERS:
        LOG.warning(
            "%.0f %% of the pretokens are numbers: where digits are part of the language, as in SMILES, "
            "--superword-boundaries none lets new strings span them and saves more", 100 * share,
        )  # fmt: skip
    return texts


def _protected(paths: ArtifactPaths, config: Config) -> "PretokenTable | None":
    from tokenizers import Tokenizer

    from ivr.analysis.analyze import count_corpus
    from ivr.analysis.tables import as_table, read_pretoken_frequency

    if config.protect_corpus:
        base = Tokenizer.from_file(str(paths.original_tokenizer / "tokenizer.json"))
        return as_table(count_corpus(base, config.protect_corpus, 1, "count protected text"))
    file = paths.general_pretoken_frequency
    return read_pretoken_frequency(file) if file.is_file() else None
