"""Why two segmentations differ, on BPEs small enough to count by hand; and what stands beside a run."""

import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import Merges, bpe_of, merge_lists, naive_bpe

from ivr.tokenizer.verify.causes import CUT, INVERSION, SCORE, TIE, UNKNOWN, MergeTrees, differing_regions
from ivr.tokenizer.verify.contexts import TokenIndex, joined_neighbours, neighbours, one_of_each_kind
from ivr.tokenizer.verify.pair import Pair
from ivr.tokenizer.verify.repeats import RunTask, check_runs, period_bound

#         rank 0      1           2            3
MERGES = [(")", ")"), ("'", ")"), ("))", ")"), ("x", "y")]


@pytest.fixture(scope="module")
def trees() -> MergeTrees:
    return MergeTrees(bpe_of(MERGES).to_str())


def test_merges_are_counted_down_to_the_bytes(trees: MergeTrees) -> None:
    assert trees.counts([")))", "))", "'", "')"]) == Counter({0: 2, 1: 1, 2: 1})


@pytest.mark.parametrize(
    ("ours", "theirs", "pieces", "cause"),
    [
        # no sum over merges knows the order of the same tokens
        ([")", "))"], ["))", ")"], [")))"], TIE),
        # `')))`: BPE joins the leftmost pair first, though `')`,`))` uses merge 1 in place of merge 2
        (["')", "))"], ["'", ")))"], ["')))"], INVERSION),
        (["x", "y"], ["xy"], ["xy"], SCORE),
        (["x", "y"], ["xy"], ["x", "y"], CUT),
        # the worst of two places counts; a border that both have parts them
        (["x", "y", ")", "))"], ["xy", "))", ")"], ["xy)))"], SCORE),
        (["x", "z"], ["x", "y"], ["xz"], UNKNOWN),
    ],
)
def test_causes(trees: MergeTrees, ours: list[str], theirs: list[str], pieces: list[str], cause: str) -> None:
    assert trees.cause(ours, theirs, pieces) == cause


def test_without_merges_nothing_is_said() -> None:
    trees = MergeTrees(json.dumps({"model": {"type": "Unigram"}}))
    assert trees.cause(["x", "y"], ["xy"], ["xy"]) == UNKNOWN


def test_regions_end_at_common_borders() -> None:
    assert differing_regions(["a", "bc", "d", "ef"], ["ab", "c", "d", "e", "f"]) == [
        (["a", "bc"], ["ab", "c"]),
        (["ef"], ["e", "f"]),
    ]
    assert differing_regions(["a", "b"], ["a", "b"]) == []


@given(merge_lists("abc", 20, self_merges=False), st.text("abc", min_size=1, max_size=12), st.randoms())
@settings(max_examples=150, deadline=None)
def test_without_self_merges_every_other_segmentation_is_for_scores(merges: Merges, text: str, draw: object) -> None:
    """The theorem that the causes rest on: BPE's vector is the largest where no token merges with itself."""
    theirs = naive_bpe(text, merges)
    tokens = {*text, *("".join(pair) for pair in merges)}
    ours = []
    place = 0
    while place < len(text):  # some segmentation
        fitting = [token for token in sorted(tokens) if text.startswith(token, place)]
        ours.append(draw.choice(fitting))  # type: ignore[attr-defined]
        place += len(ours[-1])
    if ours != theirs:
        assert MergeTrees(bpe_of(merges).to_str()).cause(ours, theirs, [text]) == SCORE


# what stands beside a run -------------------------------------------------------------------------------------------
def test_neighbours_end_and_begin_in_every_byte_of_utf_8() -> None:
    lefts, rights = neighbours()
    assert {left.encode()[-1] for left in lefts} == {*range(0xC0)}
    assert {right.encode()[0] for right in rights} >= {*range(0x80), *range(0xC2, 0xF1), 0xF3, 0xF4}
    assert all(len(character) == 1 for character in [*lefts, *rights])


def test_joined_neighbours_share_a_token_with_the_unit() -> None:
    tokens = [b"xa", b"caab", b"a", b"aa", b"zz", "éa".encode(), "a가".encode(), b"ya?", b"ba "]
    lefts, rights = joined_neighbours("a", TokenIndex(tokens))
    assert (lefts, rights) == (sorted("xcéyab"), sorted("b가? a"))
    lefts, rights = joined_neighbours("ab", TokenIndex([b"xab", b"aba", b"yaq", b"abz", b"bc", b"qb!", b"zabq"]))
    assert "x" in lefts and "z" in lefts and "y" not in lefts, "`yaq` can stand beside no run of `ab`"
    assert "z" in rights and "q" in rights and "c" in rights and "!" not in rights


def test_a_piece_of_a_character_stands_for_all_that_end_in_it() -> None:
    lefts, rights = joined_neighbours("a", TokenIndex(["é".encode()[-1:] + b"a", b"a" + "가".encode()[:2]]))
    assert "é" in lefts and all(character.encode().endswith("é".encode()[-1:]) for character in lefts)
    assert "가" in rights and "각" in rights and all(c.encode().startswith("가".encode()[:2]) for c in rights)


def test_one_of_each_kind() -> None:
    assert sorted(one_of_each_kind(["a", "b", "1", "!", "é", " ", "\t"])) == [" ", "!", "1", "a"]


def test_a_run_repeats_beyond_twice_its_longest_token() -> None:
    assert period_bound("a", TokenIndex([b"aa", b"xaaaab", b"b"])) == 2 * 4 + 16
    assert period_bound("z", TokenIndex([b"aa"])) == 2 + 16


def test_every_length_stands_beside_every_left_and_every_right_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = "bcdefg"
    merges = [("a", "a"), *((letter, "a") for letter in letters), *(("a", letter) for letter in letters)]
    text = bpe_of(merges).to_str()
    pair = Pair(text, text)
    encode = pair.encode
    tried: set[str] = set()

    def noting(texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
        tried.update(texts)
        return encode(texts)

    monkeypatch.setattr(pair, "encode", noting)
    assert check_runs(pair, RunTask("a", 60, [], [])).mismatched == 0
    for letter in letters:
        assert {letter + "a" * length for length in range(1, 61)} <= tried
        for length in range(1, 61):
            assert any(letter + "a" * length + right in tried for right in letters)
            assert any(left + "a" * length + letter in tried for left in letters)
            if length <= period_bound("a", TokenIndex([b"aa"])):
                assert all(letter + "a" * length + right in tried for right in letters)
    tried.clear()
    assert check_runs(pair, RunTask("a", 60, [], [], turns=1)).mismatched == 0
    lengths = range(1, 61)
    assert {left + "a" * length + right for left in letters for right in letters for length in lengths} <= tried
