"""Runs in text over four letters, where more than one neighbour decides: against BPE itself."""

import itertools
import random
import string

import numpy as np
import pytest
from small_bpe import bpe_of
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.tokenizer.distill import pipeline as cutting
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.strings import pretokens_with_runs
from ivr.tokenizer.repeats import pattern as run_pattern
from ivr.tokenizer.repeats.alphabet_contexts import small_alphabets, with_alphabets, with_letters, with_numerals
from ivr.tokenizer.repeats.character_classes import piece_classes
from ivr.tokenizer.repeats.pattern import cutting_pattern
from ivr.tokenizer.repeats.tables import Contexts, initial_contexts, tabulate

# `GGGGA` is `GG`,`G`,`GA`, but in `GGGGAA` the As go together, and in `GGGGAT` one goes with the T
MERGES = [("A", "T"), ("A", "A"), ("G", "A"), ("G", "G"), ("GG", "GG"), ("C", "G"), ("T", "C")]
WORDS = ["stress", "tester", "resets", "esters", "setter", "street", "CCNOCC", "NCCCCN", "CCOCCN", "banana", "abcdef"]


def without_runs(letters: str, count: int) -> list[str]:
    rng = random.Random(1)
    words = ("".join(rng.choices(letters, k=12)) for _ in range(20 * count))
    return [word for word in words if not any(3 * letter in word for letter in letters)][:count]


def test_letters_that_are_written_in_any_order_make_an_alphabet() -> None:
    dna = without_runs("ACGT", 40)
    assert small_alphabets([*WORDS, *dna]) == ["ACGT", "acgt"]
    assert small_alphabets([" " + word.lower() for word in dna]) == ["ACGT", "acgt"]
    assert small_alphabets(WORDS) == []
    assert small_alphabets([*(word[:5] for word in dna), *(word + "x" for word in dna), *map(str.title, dna)]) == []


def test_runs_over_an_alphabet_that_no_text_held_are_as_bpe(monkeypatch: pytest.MonkeyPatch) -> None:
    base = bpe_of(MERGES)
    words = without_runs("ACGT", 60)
    sides = ["".join(side) for size in range(4) for side in itertools.product("ACGT", repeat=size)]
    texts = [
        blank + left + letter * size + right
        for blank, letter, size, (left, right) in itertools.product(
            ["", " "], "AG", (3, 4, 5), ((left, right) for left in sides[:21] for right in sides)
        )
    ]

    def differing() -> list[str]:
        result = distill(base, read_bpe(base), words, 3.0).tokenizer
        return [text for text in texts if result.encode(text).ids != base.encode(text).ids]

    assert differing() == []
    monkeypatch.setattr(cutting, "small_alphabets", lambda text: [])
    assert {"GGGGAAT", " GGGGAAT"} <= {*differing()}  # two letters beside a run are always tried


@pytest.mark.slow
def test_dna_is_cut_where_gpt2_has_a_border(gpt2: Tokenizer) -> None:
    contexts, encoder, lengths = contexts_of(gpt2, "ACGT")
    rng = random.Random(2)
    texts = [rng.choice(["", " "]) + "".join(rng.choices("ACGT", k=20)) for _ in range(2_000)]

    def miscut(alphabets: list[str]) -> int:
        return cut_wrongly(gpt2, texts, [with_alphabets(some, alphabets, encoder, lengths) for some in contexts])

    assert miscut(["ACGT"]) <= 2 < 100 <= miscut([])


def contexts_of(gpt2: Tokenizer, units: str) -> tuple[list[Contexts], BpeEncoder, np.ndarray]:
    bpe = read_bpe(gpt2)
    found = [context for context in initial_contexts(bpe, PretokenSplitter(gpt2)) if context.unit in units]
    return found, BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()])


def cut_wrongly(gpt2: Tokenizer, texts: list[str], contexts: list[Contexts]) -> int:
    """In how many texts the rules of these contexts cut where GPT-2 has no border."""
    _, encoder, lengths = contexts_of(gpt2, "")
    tables = [tabulate(some, encoder, lengths) for some in contexts]
    cut = Split(Regex(cutting_pattern(tables, piece_classes(PretokenSplitter(gpt2).all_classes))), "isolated")
    truth = encoder.encode(Batch.of([text.encode() for text in texts]))
    count = 0
    for row, text in enumerate(texts):
        borders = {*itertools.accumulate(lengths[truth.row(row)].tolist())}
        cuts = itertools.accumulate(len(piece) for piece, _ in cut.pre_tokenize_str(to_alphabet(text.encode())))
        count += not borders.issuperset(cuts)
    return count


@pytest.mark.slow
@pytest.mark.parametrize(("digits", "size"), [("0123456789", 6), ("abcdef", 5), ("ABCDEF", 5)])
def test_numbers_with_runs_are_cut_where_gpt2_has_a_border(gpt2: Tokenizer, digits: str, size: int) -> None:
    contexts, encoder, lengths = contexts_of(gpt2, digits)
    rng = random.Random(4)
    texts = set()
    while len(texts) < 600:
        around, unit, at = rng.choices(digits, k=size - 3), rng.choice(digits), rng.randint(0, size - 3)
        texts.add(rng.choice(["", " "]) + "".join([*around[:at], *(3 * unit), *around[at:]]))
    known = [with_numerals(some, encoder, lengths) for some in contexts]
    few, many = (cut_wrongly(gpt2, sorted(texts), some) for some in (known, contexts))
    assert few <= 20 < 60 <= many


@pytest.mark.slow
@pytest.mark.parametrize("letters", [string.ascii_lowercase, string.ascii_uppercase])
def test_two_letters_beside_a_run_are_known_before_a_text_shows_them(gpt2: Tokenizer, letters: str) -> None:
    contexts, encoder, lengths = contexts_of(gpt2, letters[12] + letters[0])
    units = [context.unit for context in contexts]
    pairs = [first + second for first in letters for second in letters]
    after = [3 * unit + pair for unit in units for pair in pairs if pair[0] != unit]  # `mmmlu`
    before = [pair + 3 * unit for unit in units for pair in pairs if pair[1] != unit]
    before += [first.upper() + text[1:] for text in before[:: len(letters)] for first in letters]
    texts = [blank + text for blank in ("", " ") for text in (*after, *before)]
    known = [with_letters(some, encoder, lengths) for some in contexts]
    few, many = (cut_wrongly(gpt2, texts, some) for some in (known, contexts))
    assert few == 0 < 50 <= many


@pytest.mark.slow
def test_a_neighbour_ends_where_a_cut_has_parted_it(gpt2: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`00001000` is `0000`,`1000`: what follows a cut stands alone, whatever stands before it."""
    contexts, encoder, lengths = contexts_of(gpt2, "018")
    known = [with_numerals(some, encoder, lengths) for some in contexts]
    numbers = [
        f"{0:0{before}}{digit}{0:0{after}}" for before in range(3, 12) for digit in "18" for after in range(3, 12)
    ]
    letters, encoder, lengths = contexts_of(gpt2, "ABx")
    known += [with_letters(some, encoder, lengths) for some in letters]
    words = [
        one * a + two * b for one, two in itertools.permutations("ABx", 2) for a in range(3, 12) for b in range(3, 12)
    ]
    few = cut_wrongly(gpt2, [*numbers, *words], known)
    monkeypatch.setattr(run_pattern, "_rests", lambda left, units: [])
    assert few <= 10 < 40 <= cut_wrongly(gpt2, [*numbers, *words], known)


def test_what_learning_leaves_alone_is_cut_as_the_last_pattern_cuts_it() -> None:
    base = bpe_of(MERGES)
    bpe, splitter = read_bpe(base), PretokenSplitter(base)
    rng = random.Random(3)
    texts = ["".join(rng.choices("AGT", k=9)) for _ in range(400)]
    fitter, contexts = TextFitter(bpe, 3.0), initial_contexts(bpe, splitter)
    characters = cutting.Characters(splitter, fitter.encoder)
    with_runs = pretokens_with_runs(texts, contexts)
    cutter = cutting._Cutter(splitter, fitter, characters, contexts, texts[:1], with_runs, [])
    first = cutter.pattern
    cutter.learn_cuts()
    assert cutter.pattern != first
    cut = Split(Regex(cutter.pattern), "isolated")
    assert [*cutter.pieces] == [
        piece.encode() for text in dict.fromkeys(with_runs) for piece, _ in cut.pre_tokenize_str(text)
    ]
