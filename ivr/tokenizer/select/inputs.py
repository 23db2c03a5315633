"""What a selection is made from, read from the artifacts of earlier stages: tokens, ids that may leave, texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ivr.analysis.analyze import count_corpus
from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable, as_table, read_pretoken_frequency
from ivr.artifacts import ArtifactPaths
from ivr.console import LOG
from ivr.corpus.documents import read_documents_utf8
from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, from_alphabet
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.errors import ConfigError, CorruptInputError
from ivr.tokenizer.select.candidates import DEFAULT_EXCLUDE, CandidateRules
from ivr.tokenizer.select.selection import Request, weighted_uses
from ivr.tokenizer.select.stopping import documents_where, swaps_that_pay, tables_for_stopping
from ivr.tokenizer.select.texts import Texts, join_texts, with_sequences
from ivr.tokenizer.select.undertrained import distances_from_unused, eviction_order, read_input_rows
from ivr.tokenizer.superwords.boundaries import Boundaries
from ivr.tokenizer.superwords.placing import NOT_ONE_PATTERN, can_be_placed
from ivr.tokenizer.unigram_file import read_unigram, token_bytes

if TYPE_CHECKING:
    from ivr.tokenizer.select.stage import Config

MIN_COUNT, MIN_GAIN = 3, 2.0  # what a new string must have, unless the user says it
MANY_NUMBERS = 0.12  # of all pretokens: prose has a third of it, formulas and SMILES twice as many


@dataclass(frozen=True)
class Material:
    """What `select_swaps` takes; the texts are still without their documents as sequences."""

    tokens: list[bytes]  # V, of the distilled tokenizer; empty where the model never gives the id
    scores_V: np.ndarray
    droppable: Sequence[int]  # ids that may leave, those first that the model misses least
    texts: Texts
    protected: PretokenTable | None
    splitter: PretokenSplitter
    request: Request  # for 0 swaps: how many is asked last


def read_material(config: "Config", paths: ArtifactPaths) -> Material:
    """Read what earlier stages made. Raises ConfigError where --keep-tokens names what is no token."""
    tokenizer, strings, scores_V = read_unigram(paths.distilled_tokenizer / "tokenizer.json")
    tokens = token_bytes(strings, scores_V)
    kept = _untouchable(tokens, frozenset(tokenizer.get_added_tokens_decoder()), config.keep_tokens)
    splitter, protected = PretokenSplitter(tokenizer), _protected(paths, config)
    texts = join_texts(read_pretoken_frequency(paths.pretoken_frequency), protected, splitter)
    produced_V = weighted_uses(tokens, scores_V, texts, config.protect_weight)
    may_leave = [token_id for token_id in range(len(tokens)) if token_id not in kept]
    droppable = eviction_order(may_leave, produced_V, _distances(paths, tokens))
    rules = CandidateRules(
        min_count=MIN_COUNT if config.min_count is None else config.min_count,
        min_documents=config.min_documents,
        max_bytes=config.max_bytes,
        whole_characters=not config.partial_characters,
        exclude=DEFAULT_EXCLUDE if config.exclude is None else config.exclude,
        taken=_never_given(strings, tokens),
    )
    min_gain = MIN_GAIN if config.min_gain is None else config.min_gain
    request = Request(0, min_gain, config.protect_weight, config.use_cost, rules, max_words=config.max_words)
    return Material(tokens, scores_V, droppable, texts, protected, splitter, request)


def swaps_wanted(config: "Config", paths: ArtifactPaths, material: Material) -> int:
    """K as it was given; for `auto` as many as pay on documents set aside."""
    if config.swaps != "auto":
        return int(config.swaps)
    base = load_tokenizer(paths.original_tokenizer)
    aside, others = (
        with_documents(join_texts(table, material.protected, material.splitter), paths, config, is_aside)
        for table, is_aside in zip(tables_for_stopping(paths.cleaned_corpora, base), (True, False), strict=True)
    )
    return swaps_that_pay(material.tokens, material.scores_V, material.droppable, others, aside, material.request)


def with_documents(texts: Texts, paths: ArtifactPaths, config: "Config", is_aside: bool | None = None) -> Texts:
    """With the documents as sequences, where superwords are wanted. `is_aside`: of the domain only those, or others."""
    if config.max_words < 2:
        return texts
    boundaries = Boundaries.named(config.superword_boundaries)
    base = PretokenSplitter(load_tokenizer(paths.original_tokenizer))
    if not can_be_placed(base):
        raise ConfigError(f"--max-words {config.max_words}: {NOT_ONE_PATTERN}; give --max-words 1")
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


def _protected(paths: ArtifactPaths, config: "Config") -> PretokenTable | None:
    if config.protect_corpus:
        base = load_tokenizer(paths.original_tokenizer)
        return as_table(count_corpus(base, config.protect_corpus, 1, "count protected text"))
    file = paths.general_pretoken_frequency
    return read_pretoken_frequency(file) if file.is_file() else None


def _distances(paths: ArtifactPaths, tokens: list[bytes]) -> np.ndarray | None:
    input_VD = read_input_rows(paths.base_model, len(tokens))
    distances = None if input_VD is None else distances_from_unused(input_VD, tokens)
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
        for number, line in enumerate(_lines(keep_tokens), 1):
            if not line:
                continue
            if line.encode() not in places:
                raise ConfigError(f"{keep_tokens}, line {number}: {line!r} is not a token (a leading blank counts)")
            kept.add(places[line.encode()])
    return frozenset(kept)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorruptInputError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None


def _never_given(strings: list[str], tokens: list[bytes]) -> frozenset[bytes]:
    """The bytes of the strings that are tokens and that the model never gives, of those in the byte alphabet."""
    unmade = (string for string, token in zip(strings, tokens, strict=True) if not token)
    return frozenset(from_alphabet(string) for string in unmade if CHARACTER_TO_BYTE.keys() >= set(string))
