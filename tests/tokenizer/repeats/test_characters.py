"""Runs beside characters of which a token holds a part, and after a prefix blank: against BPE itself."""

from itertools import product

import pytest
from small_bpe import bpe_of
from tokenizers import pre_tokenizers

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.fit import closed_subsets as closed_parts
from ivr.tokenizer.proof import closure as universal
from ivr.tokenizer.repeats.characters import Characters
from ivr.tokenizer.repeats.contexts import Side
from ivr.tokenizer.repeats.tables import initial_contexts, self_merging_units

# `´` ends `ô` and `Ŵ`, and draws an `é`; but in `Ŵ` it is merged before. `Å` begins `Ŵ` and `Ő`, and goes with an `é`
PARTS = [("Ã", "©"), ("Å", "´"), ("Ã©", "Å"), ("´", "Ã©"), ("Ã©", "Ã©"), ("Ã©", "´")]


@pytest.mark.slow
def test_a_part_of_a_character_beside_a_run_is_told_by_the_whole_one() -> None:
    base = bpe_of(PARTS)
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    sides = ["", "ô", "Ŵ", "Ő", "ä", "x"]
    texts = [left + "é" * length + right for left, length, right in product(sides, range(1, 20), sides)]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert base.encode("ôééé").tokens == ["Ã", "´Ã©", "Ã©Ã©"] and base.encode("Ŵééé").tokens[0] == "Å´"


@pytest.mark.slow
@pytest.mark.parametrize("prefix_space", [False, True])
def test_parts_of_characters_on_both_sides_are_as_bpe(monkeypatch: pytest.MonkeyPatch, prefix_space: bool) -> None:
    # `´é` and `éÅ` quarrel, and `Ŵ` has a token: `Å´`,`éÅ` is worth more than `´é`, until such strings are fitted
    monkeypatch.setattr(closed_parts, "MOST_MERGES", 0)  # large vocabularies are not right on every string
    monkeypatch.setattr(universal, "MOST_IDS", 0)
    early, late = ([("q", char) for char in chars] for chars in ("abcdefghijklmno", "ABCDEFGHIJKL"))
    parts = [("Ã", "©"), ("´", "Ã©"), ("Å", "´"), ("Ã©", "Å")]
    base = bpe_of([*early, *parts, *late, ("Å", "Ĳ"), ("Ã©", "Ã©")])
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    sides = ["", "ô", "Ŵ", "Ő", "ä", "x"]
    texts = [left + "é" * length + right for left, length, right in product(sides, range(1, 20), sides)]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert base.encode("xŴéŐ").tokens[-3:] == ["Å", "´Ã©", "ÅĲ"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("merges", "parted"),
    [
        # `éÅ` comes before `Ġé`, but in `Ŵ` `Å´` before both: what that leaves of a run shows behind a blank only
        ([("Ã", "©"), ("Å", "´"), ("Ã©", "Å"), ("Ġ", "Ã©"), ("Ã©", "Ã©"), ("ĠÃ©", "Ã©")], ["ĠÃ©", "Ã©Ã©", "Å´"]),
        # `´` draws an `é`, in `Ŵ` too, but not in ` Ŵ`
        ([("Ã", "©"), ("Ġ", "Å"), ("ĠÅ", "´"), ("´", "Ã©"), ("Ã©", "Ã©")], ["ĠÅ´", "Ã©Ã©", "Ã©"]),
    ],
)
@pytest.mark.parametrize("prefix_space", [False, True])
def test_a_blank_tells_apart_what_is_alike_without(
    merges: list[tuple[str, str]], parted: list[str], prefix_space: bool
) -> None:
    base = bpe_of(merges)
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    sides = ["", "ô", "Ŵ", "Ő", "x"]
    texts = [left + "é" * length + right for left, length, right in product(sides, range(1, 20), sides)]
    texts += [" " + text for text in texts if prefix_space or text[0] == "é"]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert parted in (base.encode(" éééŴ").tokens, base.encode(" Ŵééé").tokens)


def test_a_part_that_no_character_has_there_is_no_neighbour() -> None:
    base = bpe_of(PARTS)
    bpe = read_bpe(base)
    (context,) = initial_contexts(bpe, PretokenSplitter(base))
    assert context.lefts == {"´", "Ã©"} and context.rights == {"Å", "Ã©"}  # no character begins with `´`
    characters = Characters(PretokenSplitter(base), BpeEncoder(bpe))
    lefts, rights = (characters.around(context, side) for side in Side)
    assert lefts["Ã´"] == lefts["Ä´"] != lefts["Å´"] == "Å´"
    assert rights["ÅĲ"] == rights["Åĳ"] != rights["Å´"] == "Å´"


# `éô` is `Ã`,`©`,`Ã`,`´`; what merges with itself is `©Ã´Ã`, which begins within `é`
SHIFTED = [("©", "Ã"), ("´", "Ã"), ("©Ã", "´Ã"), ("©Ã´Ã", "©Ã´Ã")]


def test_a_unit_that_begins_within_a_character_stands_for_one_of_whole_ones() -> None:
    assert self_merging_units(read_bpe(bpe_of(SHIFTED))) == [("Ã©Ã´", 2)]
    assert self_merging_units(read_bpe(bpe_of([("©", "´"), ("©´", "©´"), ("Ã", "Â"), ("ÃÂ", "ÃÂ")]))) == []


@pytest.mark.slow
def test_its_runs_in_the_text_are_cut_within_characters_where_nothing_else_helps() -> None:
    base = bpe_of(SHIFTED)
    texts = ["éô" * 4, " " + "éô" * 8]
    even = [left + "éô" * length + right for left, length, right in product(["", " ", "x"], range(1, 62, 2), ["", "x"])]
    result = distill(base, read_bpe(base), texts, 3.0).tokenizer
    for text in [*texts, *even, f"x {texts[0]} {texts[0]}! {texts[1]}"]:
        assert result.encode(text).ids == base.encode(text).ids, text
    assert base.encode(texts[0]).tokens == ["Ã", "©Ã´Ã©Ã´Ã", "©Ã´Ã", "©Ã", "´"]


@pytest.mark.slow
def test_a_run_after_a_character_with_the_prefix_blank_is_cut_as_bpe_does() -> None:
    # `C` draws an `l`, but `ĠC` does not, and the last `l` goes with the `c`
    base = bpe_of([("Ġ", "C"), ("C", "l"), ("l", "l"), ("l", "c")])
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    texts = [left + "l" * length + right for left, length, right in product(["", "C", "x"], range(1, 20), ["", "c"])]
    texts += ["a" + text for text in texts]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert base.encode("Clllc").tokens == ["ĠC", "ll", "lc"]
