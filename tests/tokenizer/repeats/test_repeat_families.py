"""Contexts that the families find before a text shows them: against BPE itself."""

import itertools
import random
import re
import string
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product

import pytest
from small_bpe import bpe_of
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.base.sample_model import train_bpe
from ivr.corpus.sample_text import docstrings_of_file, package_root
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.tokenizer.distill import pipeline
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.distill.repeat_splitter import RepeatSplitter, RepeatStrings
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.strings import other_forms, rows_with_periods, short_numbers
from ivr.tokenizer.repeats import families as families_of_repeats
from ivr.tokenizer.repeats import pattern as repeat_pattern
from ivr.tokenizer.repeats.character_classes import piece_classes
from ivr.tokenizer.repeats.characters import Characters
from ivr.tokenizer.repeats.contexts import Contexts, Side
from ivr.tokenizer.repeats.families import FAMILIES, Family, Sources, families_of, refine
from ivr.tokenizer.repeats.pattern import cutting_pattern
from ivr.tokenizer.repeats.shown import seen_marks, small_alphabets
from ivr.tokenizer.repeats.tables import RepeatEncoder, initial_contexts, tabulate, text_of


class Repeats:
    """The contexts of one tokenizer, some families of them, and where its pattern splits."""

    def __init__(self, base: Tokenizer, units: str | None = None, marks: Iterable[str] = ()) -> None:
        bpe = read_bpe(base)
        self.base, self.splitter, self.bpe = base, PretokenSplitter(base), RepeatEncoder.of(bpe)
        tokens = [token for token_id, token in enumerate(bpe.tokens) if token_id not in bpe.unmade_ids]
        inside = pipeline._inside_pretokens(tokens, self.splitter)
        characters = Characters(self.splitter, self.bpe.encoder)
        self.sources = Sources(self.bpe, characters, inside, {*marks} or seen_marks([]))
        known = initial_contexts(bpe, self.splitter)
        self.initial = [context for context in known if units is None or context.unit in units]
        self.fitter = TextFitter(bpe, 3.0, self.splitter)

    @cached_property
    def complete(self) -> list[Contexts]:
        return self.refined(TABLE)

    def refined(self, families: Iterable[Family]) -> list[Contexts]:
        families = [*families]
        return [refine(context, families, self.sources) for context in self.initial]

    def missplit(self, texts: Sequence[str], contexts: Iterable[Contexts]) -> list[str]:
        """The texts that the pattern of these contexts splits where BPE has no border."""
        tables = [tabulate(context, self.bpe) for context in contexts]
        split = Split(Regex(cutting_pattern(tables, piece_classes(self.splitter.all_classes))), "isolated")
        truth = self.bpe.encoder.encode(Batch.of([text.encode() for text in texts]))
        found = []
        for row, text in enumerate(texts):
            borders = {*itertools.accumulate(self.bpe.token_lengths[truth.row(row)].tolist())}
            points = itertools.accumulate(len(piece) for piece, _ in split.pre_tokenize_str(to_alphabet(text.encode())))
            if not borders.issuperset(points):
                found.append(text)
        return found


def named(*names: str) -> list[Family]:
    found = [family for family in FAMILIES if family.name.startswith(names)]
    assert found
    return found


# the table, on a BPE learnt from docstrings ---------------------------------------------------------------------------
# merges before those of the docstrings, for what these do not hold: DNA, hexadecimal capitals, a unit of three
# characters, and one beside which tokens hold parts of characters
DNA = [("A", "T"), ("A", "A"), ("G", "A"), ("G", "G"), ("GG", "GG"), ("C", "G"), ("T", "C")]
HEXADECIMAL = [("d", "e"), ("f", "d"), ("f", "f"), ("ff", "ff"), ("b", "ff")]  # `bffffd`, `bffffde`
HEXADECIMAL += [("E", "E"), ("E", "D"), ("B", "E"), ("D", "F"), ("E", "DF"), ("F", "F"), ("F", "D")]
OF_THREE = [("y", "z"), ("z", "x"), ("p", "x"), ("x", "yz"), ("xyz", "xyz")]
PARTS = [("Ã", "©"), ("Å", "´"), ("Ã©", "Å"), ("´", "Ã©"), ("Ã©", "Ã©"), ("Ã©", "´")]


def without_repeats(letters: str, count: int) -> list[str]:
    draw = random.Random(1)
    words = ("".join(draw.choices(letters, k=12)) for _ in range(20 * count))
    return [word for word in words if not any(3 * letter in word for letter in letters)][:count]


TABLE = families_of(without_repeats("ACGT", 60))


@pytest.fixture(scope="module")
def sample() -> Repeats:
    texts = [text for path in sorted(package_root("numpy").glob("*.py")) for text in docstrings_of_file(path)]
    _, learnt = train_bpe(texts, 1_500)
    return Repeats(bpe_of([*dict.fromkeys([*DNA, *HEXADECIMAL, *OF_THREE, *PARTS, *learnt])]))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(dict.fromkeys(family.name for family in TABLE)))
def test_without_any_family_a_string_is_split_where_bpe_has_no_border(sample: Repeats, name: str) -> None:
    without = sample.refined(family for family in TABLE if family.name != name)
    changed = [pair for pair in zip(sample.complete, without, strict=True) if pair[0] != pair[1]][:8]
    texts = [
        text
        for context, less in changed
        for side in Side
        for far in (False, True)
        for one in sorted(context.of(side, far=far) - less.of(side, far=far))[:40]
        for other in ["", *sorted(context.of(side.other))[:20]]
        for left, right in [side.pair(one, other)]
        for count in (3, 4, 5)
        if (text := text_of(left + count * context.unit + right)) and len(sample.splitter(text)) == 1
    ]
    few, many = (
        RepeatSplitter(sample.splitter, sample.fitter, contexts, RepeatStrings(texts)).missplit()
        for contexts in zip(*changed, strict=True)
    )
    assert len(few) < len(many)


@pytest.mark.slow
def test_a_distillation_takes_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Sequence[Family]] = []

    def recorded(context: Contexts, families: Sequence[Family], sources: Sources) -> Contexts:
        taken.append(families)
        return refine(context, families, sources)

    monkeypatch.setattr(pipeline, "refine", recorded)
    base = bpe_of(DNA)
    distill(base, read_bpe(base), without_repeats("ACGT", 60), 3.0)
    assert {tuple(family.name for family in families) for families in taken} == {tuple(row.name for row in TABLE)}


# `rs` draws an s in, but not where `or` was merged first; `s` before `h` too, but not where `he` was
WORDS = [("o", "r"), ("h", "e"), ("r", "s"), ("s", "s"), ("t", "or"), ("tor", "s"), ("s", "h"), ("s", "he")]


def test_a_word_beside_a_run_tells_more_than_its_last_letter() -> None:
    repeats = Repeats(bpe_of(WORDS))
    (context,), (words,) = repeats.initial, repeats.refined(named("words"))
    assert words.lefts == context.lefts and words.rights == context.rights
    assert any(left.endswith("or") for left in words.far_lefts)
    table = tabulate(words, repeats.bpe)
    assert set(table.lefts) == words.lefts | words.far_lefts
    assert set(table.paired_lefts) == words.lefts


@pytest.mark.slow
def test_words_drawn_out_that_no_text_held_are_as_bpe() -> None:
    base = bpe_of(WORDS)
    result = distill(base, read_bpe(base), ["tors", "she"], 3.0).tokenizer
    texts = [
        blank + left + "s" * length + right
        for blank, left, length, right in product(["", " "], ["", "tor", "x"], range(1, 30), ["", "hen", "x"])
        if not (left and right and length < 6)  # what draws from both ends is for the text to show
    ]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]


@pytest.mark.slow
def test_a_run_that_a_cut_has_begun_within_a_unit_goes_on_as_bpe_does() -> None:
    # `z` draws an x, but not where `yz` was merged first; and so begins what is left of a run that `p` draws an x of
    base = bpe_of([("y", "z"), ("z", "x"), ("p", "x"), ("x", "yz"), ("xyz", "xyz")])
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    lefts, rights = ["", "p", "z", "yz", " ", "pyz", " z", " yz"], ["", "x", "xy", "p", "xp", "xyx", "xypx"]
    texts = [left + "xyz" * length + right for left, length, right in product(lefts, range(1, 20), rights)]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert base.encode("p" + 4 * "xyz").tokens == ["px", "yz", "xyzxyz", "xyz"]


def test_other_forms_are_words_without_runs() -> None:
    assert [*other_forms([" Abc", "x1", "aaa", "Éa"], [b" zy", b"\xff", b"!"])] == [
        " ABC", " Abc", " ZY", " Zy", " abc", " zy", "ABC", "Abc", "ZY", "Zy", "abc", "zy"
    ]  # fmt: skip


# `...]` is one token, `...]]` is `..`,`.`,`]]`: there the marks go first
MARKS = [(".", "."), ("]", "]"), (".", "]"), ("..", ".]")]


def test_two_marks_beside_a_run_tell_more_than_one() -> None:
    seen = seen_marks(["(!", " (!", "a(!", "]!"], often=2)
    assert seen == {"(!", "))", "]]", "}}", ">>"}
    repeats = Repeats(bpe_of(MARKS), ".", seen)
    (context,), (marks,) = repeats.initial, repeats.refined(named("marks"))
    assert marks.rights - context.rights == {"]]"}


def test_rows_with_periods_are_those_that_a_pattern_finds() -> None:
    strings = ["", "a", "aa", "aaa", "abab", "xababab", "ababa", "éé", "ééé", "b" * 9, "aab", "abcabcab", "abcabcabc"]
    batch = Batch.of([string.encode() for string in strings])
    for period in range(1, 5):
        run = re.compile(rb"(.{%d})\1\1" % period, re.DOTALL)
        expected = [row for row, string in enumerate(strings) if run.search(string.encode())]
        assert rows_with_periods(batch, [period]).tolist() == expected


def test_short_and_round_numbers_are_all_of_them_once() -> None:
    numbers = short_numbers()
    assert len(set(numbers)) == len(numbers) == 2 * (10 + 100 + 1_000 + 10_000 + 100_000 + 900)
    assert {"0", " 00", "09999", " 12345", " 102000"} <= set(numbers)


# letters of small alphabets, digits and letters, on GPT-2 itself ----------------------------------------------------
# `GGGGA` is `GG`,`G`,`GA`, but in `GGGGAA` the As go together, and in `GGGGAT` one goes with the T: see DNA
ENGLISH = ["stress", "tester", "resets", "esters", "setter", "street", "CCNOCC", "NCCCCN", "CCOCCN", "banana", "abcdef"]


def test_letters_that_are_written_in_any_order_make_an_alphabet() -> None:
    dna = without_repeats("ACGT", 40)
    assert small_alphabets([*ENGLISH, *dna]) == ["ACGT", "acgt"]
    assert small_alphabets([" " + word.lower() for word in dna]) == ["ACGT", "acgt"]
    assert small_alphabets(ENGLISH) == []
    assert small_alphabets([*(word[:5] for word in dna), *(word + "x" for word in dna), *map(str.title, dna)]) == []


@pytest.mark.slow
def test_runs_over_an_alphabet_that_no_text_held_are_as_bpe(monkeypatch: pytest.MonkeyPatch) -> None:
    base = bpe_of(DNA)
    words = without_repeats("ACGT", 60)
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
    monkeypatch.setattr(families_of_repeats, "small_alphabets", lambda text: [])
    assert {"GGGGAAT", " GGGGAAT"} <= {*differing()}  # two letters beside a run are always tried


@pytest.mark.slow
def test_dna_is_split_where_gpt2_has_a_border(gpt2: Tokenizer) -> None:
    repeats, draw = Repeats(gpt2, "ACGT"), random.Random(2)
    texts = [draw.choice(["", " "]) + "".join(draw.choices("ACGT", k=20)) for _ in range(2_000)]
    few, many = (repeats.missplit(texts, repeats.refined(some)) for some in (TABLE[len(FAMILIES) :], []))
    assert len(few) <= 2 < 100 <= len(many)


@pytest.mark.slow
@pytest.mark.parametrize(("digits", "size"), [("0123456789", 6), ("abcdef", 5), ("ABCDEF", 5)])
def test_numbers_with_runs_are_cut_where_gpt2_has_a_border(gpt2: Tokenizer, digits: str, size: int) -> None:
    repeats = Repeats(gpt2, digits)
    rng = random.Random(4)
    texts = set()
    while len(texts) < 600:
        around, unit, at = rng.choices(digits, k=size - 3), rng.choice(digits), rng.randint(0, size - 3)
        texts.add(rng.choice(["", " "]) + "".join([*around[:at], *(3 * unit), *around[at:]]))
    known = repeats.refined(named("two digits", "three digits", "two hexa", "three hexa"))
    few, many = (len(repeats.missplit(sorted(texts), some)) for some in (known, repeats.initial))
    assert few <= 20 < 60 <= many


@pytest.mark.slow
@pytest.mark.parametrize("letters", [string.ascii_lowercase, string.ascii_uppercase])
def test_two_letters_beside_a_run_are_known_before_a_text_shows_them(gpt2: Tokenizer, letters: str) -> None:
    repeats = Repeats(gpt2, letters[12] + letters[0])
    units = [context.unit for context in repeats.initial]
    pairs = [first + second for first in letters for second in letters]
    after = [3 * unit + pair for unit in units for pair in pairs if pair[0] != unit]  # `mmmlu`
    before = [pair + 3 * unit for unit in units for pair in pairs if pair[1] != unit]
    before += [first.upper() + text[1:] for text in before[:: len(letters)] for first in letters]
    texts = [blank + text for blank in ("", " ") for text in (*after, *before)]
    known = repeats.refined(named("two letters"))
    few, many = (len(repeats.missplit(texts, some)) for some in (known, repeats.initial))
    assert few == 0 < 50 <= many


@pytest.mark.slow
def test_a_neighbour_ends_where_a_cut_has_parted_it(gpt2: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`00001000` is `0000`,`1000`: what follows a cut stands alone, whatever stands before it."""
    repeats = Repeats(gpt2, "018ABx")
    known = repeats.refined(named("two ", "three "))
    numbers = [
        f"{0:0{before}}{digit}{0:0{after}}" for before in range(3, 12) for digit in "18" for after in range(3, 12)
    ]
    words = [
        one * a + two * b for one, two in itertools.permutations("ABx", 2) for a in range(3, 12) for b in range(3, 12)
    ]
    few = repeats.missplit([*numbers, *words], known)
    monkeypatch.setattr(repeat_pattern, "_parted", lambda left, units: ())
    for cached in (repeat_pattern._starts, repeat_pattern._later):
        cached.cache_clear()
    assert len(few) <= 10 < 40 <= len(repeats.missplit([*numbers, *words], known))
