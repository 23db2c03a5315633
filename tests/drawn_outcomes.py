"""Whether a drawn tokenizer directory is taken, and whether the distilled one is the same.

`outcome_of` takes it as `ivr init` does, distils it as `ivr distill-tokenizer` does, and compares the two through
`tokenizers` and through AutoTokenizer. What may differ is what the certificate names, in the ids that it names.
"""

import contextlib
import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from drawn_tokenizers import END, drawn, strings_for, write
from tokenizers import Tokenizer

from ivr.analysis import pattern_steps
from ivr.analysis.added_tokens import MARK, TextPieces
from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable
from ivr.base.auto_tokenizer import check_auto_tokenizer, names_its_class
from ivr.base.tokenizer import TOKENIZER_FILES
from ivr.base.tokenizer_directory import complete_tokenizer
from ivr.disk.writer import write_json
from ivr.encoding.bpe import read_bpe
from ivr.encoding.patterns.machine import Machine
from ivr.encoding.text.missing_bytes import missing_bytes
from ivr.encoding.tokenizer_steps import steps
from ivr.errors import IvrError
from ivr.tokenizer.distill.certificate import Compared, build_certificate
from ivr.tokenizer.distill.pipeline import Distillation, distill
from ivr.tokenizer.distill.stage import load_base
from ivr.tokenizer.proof.checker import NAME as PROOF
from ivr.tokenizer.repeats.character_classes import PieceClass, PieceClasses, piece_classes
from ivr.tokenizer.unigram_file import write_tokenizer
from ivr.tokenizer.verify.comparison import compare_pretokens, compare_vocabularies


def _pretokens(base: Tokenizer, texts: list[str], *, special_cut_out: bool = False) -> set[str]:
    """The pretokens of texts, as `ivr analyze` finds them, or between special tokens, too, as the library cuts them."""
    spec = json.loads(base.to_str())
    for entry in spec["added_tokens"] if special_cut_out else ():
        entry["special"] = False
    found = TextPieces.of(Tokenizer.from_str(json.dumps(spec))).split([text.encode() for text in texts]).lists()
    return {piece.decode() for pieces in found for piece in pieces if piece[:1] != MARK}


def _cut(string: str, contents: list[str]) -> list[str]:
    """What is left between added tokens, with and without the blanks beside them."""
    texts = re.split("|".join(re.escape(content) for content in sorted(contents, key=len, reverse=True)), string)
    return [part for text in texts for part in (text, text.strip(), text.lstrip(), text.rstrip()) if part]


UNSTATED = 10**20  # what transformers takes for a model_max_length that no file gives; `ivr` gives the model's context
CERTIFIED = 10  # one draw of so many gets a certificate in any case: it takes as long as all else


@dataclass
class Outcome:
    """refused: the reason, or ''. faults: what differs, in words."""

    refused: str = ""
    faults: list[str] = field(default_factory=list)
    strings: int = 0
    comparisons: int = 0
    named: int = 0  # pretokens that the certificate lists as different
    explained: int = 0  # comparisons that differ as it lists, and in nothing else


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Leave out of a distillation what these draws do not ask: half a million short numbers; ask for classes once."""
    own_classes, own_beyond = PretokenSplitter.all_classes.func, PieceClass.beyond  # type: ignore[attr-defined]
    asked: dict[str, np.ndarray] = {}

    def classes(splitter: PretokenSplitter) -> np.ndarray:
        if "" not in asked:
            asked[""] = own_classes(splitter)
        return asked[""]

    @cache
    def pieces(_: bytes) -> PieceClasses:
        return piece_classes(asked[""])

    @cache
    def beyond(kind: PieceClass, leads: tuple[str, ...], but: tuple[str, ...]) -> str:
        return own_beyond(kind, leads, but)

    own_machine = pattern_steps._machine

    @cache
    def machine_of(step: str) -> Machine | None:  # few patterns are drawn, and what one compiles to is always the same
        return own_machine(json.loads(step))

    room = "ivr.tokenizer.distill.pipeline"
    with (
        patch.object(pattern_steps, "_machine", lambda step: machine_of(json.dumps(step))),
        patch.object(PretokenSplitter, "all_classes", property(classes)),
        patch.object(PieceClass, "beyond", lambda kind, leads=(), but=(): beyond(kind, tuple(leads), tuple(but))),
        patch("ivr.tokenizer.distill.repeat_splitter.piece_classes", lambda found: pieces(b"")),
        patch(f"{room}.short_numbers", list),
        patch(f"{room}.sparse_numbers", list),
    ):
        yield


def outcome_of(seed: int, root: Path) -> Outcome:
    """Take, distil and compare the directory of a seed below `root`, which is emptied."""
    found = drawn(seed)
    shutil.rmtree(root, ignore_errors=True)
    source = write(root / "source", found.files)
    taken = root / "taken"
    taken.mkdir()
    for name in (*TOKENIZER_FILES, "config.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, taken / name)
    try:
        complete_tokenizer(taken, "DIR", found.files.get("config.json", {}))
        check_auto_tokenizer(taken, "DIR")
    except IvrError as error:
        return Outcome(refused=str(error))
    base = load_base(taken / "tokenizer.json")
    bpe = read_bpe(base)
    strings = strings_for(found, seed)
    # a special token that is cut out parts its text otherwise
    parts = [text for string in strings for text in (string, *_cut(string, found.contents))]
    try:
        pretokens = _pretokens(base, parts) | _pretokens(base, strings, special_cut_out=True)
        # AutoTokenizer makes special tokens of what tokenizer_config.json names besides, and cuts them out
        pretokens |= _pretokens(_loaded(source).backend_tokenizer, strings, special_cut_out=True)
        result = distill(base, bpe, sorted(pretokens), 6.8)
    except IvrError as error:
        return Outcome(refused=f"not by `init`, by distill-tokenizer: {error}")
    except BaseException as error:
        if "bad split" not in str(error):  # a panic of the library, which every stage ends with 4 for
            raise
        return Outcome(refused="`tokenizers` fails at a text in which added tokens that take blanks overlap")
    distilled = root / "distilled"
    distilled.mkdir()
    write_tokenizer(distilled, result.tokenizer, taken)
    listed = _listed(taken, distilled, sorted(pretokens), result, certify=seed % CERTIFIED == 0)
    plain = [step["type"] for step in steps(json.loads(base.to_str())["pre_tokenizer"], "pretokenizers")] == [
        "ByteLevel"
    ]
    if listed and plain and not bpe.whole_ids:
        return Outcome(faults=[f"pretokens differ: {[row.pretoken for row in listed]}"])
    outcome = Outcome(strings=len(strings), named=len(listed))
    for what in _differences(source, distilled, strings, outcome, Beyond(found.rows, listed)):
        outcome.faults.append(what)
        if len(outcome.faults) > 3:
            break
    return outcome


@dataclass(frozen=True)
class Named:
    """A row of the certificate's mismatches."""

    pretoken: str
    bpe: list[int]
    unigram: list[int]


@dataclass(frozen=True)
class Beyond:
    """What may differ: <|endoftext|> where the model has no row for it, and what the certificate names."""

    rows: int | None
    listed: Sequence[Named]

    def explains(self, one: Sequence[int], other: Sequence[int]) -> bool:
        """Whether these ids differ by pretokens of the certificate alone, each as it says: the very ids, in place."""
        ids = list(one), list(other)
        ahead, seen = [(0, 0)], {(0, 0)}
        while ahead:  # every way to read them: one row of the certificate can begin as another does
            first, second = ahead.pop()
            if first == len(one) and second == len(other):
                return True
            ways = [(row.bpe, row.unigram) for row in self.listed]
            ways.append((ids[0][first : first + 1], ids[0][first : first + 1]))
            for expected, found in ways:
                ends = first + len(expected), second + len(found)
                right = expected and ids[0][first : ends[0]] == expected and ids[1][second : ends[1]] == found
                if right and ends not in seen:
                    seen.add(ends)
                    ahead.append(ends)
        return False


def _listed(taken: Path, distilled: Path, pretokens: list[str], result: Distillation, certify: bool) -> list[Named]:
    """The mismatches of the certificate, which is made where a pretoken differs or `certify` asks for it."""
    files = taken / "tokenizer.json", distilled / "tokenizer.json"
    base, unigram = (Tokenizer.from_file(str(file)) for file in files)
    vocabulary = compare_vocabularies(base, unigram)
    counts = np.zeros(len(pretokens), np.int64)
    found = list(compare_pretokens(base, unigram, pretokens, counts))
    assert vocabulary.different_strings == vocabulary.different_decodings == [], vocabulary
    if not certify and not found:
        return []
    if result.proofs:
        write_json(distilled / PROOF, {"proofs": [proof.entry() for proof in result.proofs]})
    table = PretokenTable(pretokens, counts, counts)
    certificate = build_certificate(Compared(*files, table), result, lambda done: None)
    number = base.get_vocab()
    listed = [
        Named(row["pretoken"], *([number[token] for token in row[side]] for side in ("bpe", "unigram")))
        for row in certificate["mismatches"]
    ]
    assert [(row.pretoken, row.bpe, row.unigram) for row in listed] == [(m.pretoken, m.first, m.second) for m in found]
    told = certificate["vocabulary"]
    assert told["different_strings"] == told["different_decodings"] == [], told
    assert [row["id"] for row in told["different_encodings"]] == vocabulary.different_encodings
    return listed


def _loaded(source: Path) -> Any:
    """The tokenizer of a directory as transformers loads it."""
    from transformers import AutoTokenizer, GPT2Tokenizer

    return (AutoTokenizer if names_its_class(source) else GPT2Tokenizer).from_pretrained(source, local_files_only=True)


def _differences(source: Path, distilled: Path, strings: list[str], outcome: Outcome, beyond: Beyond) -> Iterator[str]:
    if (source / "tokenizer.json").is_file():
        first, second = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (source, distilled))
        first.no_truncation()
        first.no_padding()
        if second.truncation or second.padding:
            yield "truncation or padding travels on"
        yield from _between(("tokenizers", first, second), strings, outcome, beyond)
    yield from _auto(source, distilled, strings, outcome, beyond)


def _between(
    pair: tuple[str, Tokenizer, Tokenizer], strings: list[str], outcome: Outcome, beyond: Beyond
) -> Iterator[str]:
    what, first, second = pair
    lacking = missing_bytes(first.get_vocab(with_added_tokens=False))
    for as_text in (False, True):
        first.encode_special_tokens = second.encode_special_tokens = as_text
        for add in (False, True):
            encoded = [_encodings(tokenizer, strings, add) for tokenizer in (first, second)]
            for string, one, other in zip(strings, *encoded, strict=True):
                outcome.comparisons += 1
                mode = f"{what}, {string!r}, special tokens {'as text' if as_text else 'cut out'}, added {add}"
                if one is None or other is None:
                    if one is not other:
                        yield f"{mode}: only one of the two takes it"
                    continue
                if one.ids != other.ids and beyond.explains(one.ids, other.ids):
                    outcome.explained += 1
                elif one.ids != other.ids:
                    yield f"{mode}: ids {one.ids} -> {other.ids}, {one.tokens} -> {other.tokens}"
                # theirs are too small behind a byte without an id
                elif one.offsets != other.offsets and lacking.isdisjoint(unicodedata.normalize("NFC", string).encode()):
                    yield f"{mode}: offsets {one.offsets} -> {other.offsets} of {one.tokens}"
                elif one.special_tokens_mask != other.special_tokens_mask or one.type_ids != other.type_ids:
                    yield f"{mode}: masks differ"
                else:
                    for skip in (False, True):
                        texts = [t.decode(one.ids, skip_special_tokens=skip) for t in (first, second)]
                        if texts[0] != texts[1]:
                            yield f"{mode}: decoded to {texts[0]!r} -> {texts[1]!r}"


def _encodings(tokenizer: Tokenizer, strings: list[str], add: bool) -> list[Any]:
    """An Encoding for each string; None where the library panics."""
    return _each(lambda texts: tokenizer.encode_batch(texts, add_special_tokens=add), strings)


def _each(encode: Callable[[list[str]], Sequence[Any]], strings: list[str]) -> list[Any]:
    """What `encode` gives for each; None where the library itself panics, as for added tokens whose blanks overlap."""
    try:
        return list(encode(strings))
    except BaseException as error:
        if "bad split" not in str(error):
            raise
        if len(strings) == 1:
            return [None]
        return [one for string in strings for one in _each(encode, [string])]


def _auto(source: Path, distilled: Path, strings: list[str], outcome: Outcome, beyond: Beyond) -> Iterator[str]:
    from transformers import AutoTokenizer

    first = _loaded(source)
    second = AutoTokenizer.from_pretrained(distilled, local_files_only=True)
    # at a row that the model has not: left out
    invented = END not in second.get_vocab() and first.get_vocab().get(END, -1) >= (beyond.rows or 0)
    strings = [string for string in strings if not (invented and END in string)]
    names = {name: token for name, token in first.special_tokens_map.items() if not (invented and token == END)}
    if names != second.special_tokens_map:
        yield f"AutoTokenizer: special tokens {names} -> {second.special_tokens_map}"
    stated = ("model_max_length",) if first.model_max_length < UNSTATED else ()
    for name in ("padding_side", "truncation_side", "split_special_tokens", "chat_template", *stated):
        if getattr(first, name) != getattr(second, name):
            yield f"AutoTokenizer: {name} {getattr(first, name)} -> {getattr(second, name)}"
    for add in (False, True):
        found = (
            _each(lambda texts, one=one, add=add: one(texts, add_special_tokens=add)["input_ids"], strings)
            for one in (first, second)
        )
        for string, one, other in zip(strings, *found, strict=True):
            outcome.comparisons += 1
            if one != other and beyond.explains(one, other):
                outcome.explained += 1
            elif one != other:
                yield f"AutoTokenizer, {string!r}, added {add}: ids {one} -> {other}"
            for skip in (False, True) if one is not None else ():
                texts = [t.decode(one, skip_special_tokens=skip) for t in (first, second)]
                if texts[0] != texts[1]:
                    yield f"AutoTokenizer, {string!r}: decoded to {texts[0]!r} -> {texts[1]!r}"
    for tokenizer in (first, second):
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    pair = "AutoTokenizer's backend", first.backend_tokenizer, second.backend_tokenizer
    yield from _between(pair, strings, outcome, beyond)
