"""read_bpe refuses what cannot be distilled, and names the first offender."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from small_bpe import bpe_of
from tokenizers import Tokenizer, models, normalizers

from ivr.encoding.bpe import read_bpe
from ivr.errors import ConfigError

MERGES = [("a", "b"), ("ab", "c"), ("c", "d")]
Edit = Callable[[dict[str, Any]], object]


class Edited:
    """A tokenizer whose file was edited: the library loads some of these without a word, and panics at others."""

    def __init__(self, edit: Edit) -> None:
        self.spec = json.loads(bpe_of(MERGES).to_str())
        edit(self.spec["model"])

    def to_str(self) -> str:
        return json.dumps(self.spec)


def refusal(tokenizer: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        read_bpe(tokenizer)
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_a_good_one_is_read() -> None:
    bpe = read_bpe(bpe_of(MERGES))
    assert [[bpe.tokens[part] for part in merge] for merge in bpe.merges_R3.tolist()] == [
        ["a", "b", "ab"],
        ["ab", "c", "abc"],
        ["c", "d", "cd"],
    ]
    starts, ranks = bpe.derivations()
    trees = {bpe.tokens[i]: ranks[starts[i] : starts[i + 1]].tolist() for i in range(bpe.num_ids)}
    assert {token: tree for token, tree in trees.items() if tree} == {"ab": [0], "abc": [0, 1], "cd": [2]}
    assert bpe.token_bytes()[-1] == b""  # an added token is produced by no text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("byte_fallback", True),
        ("ignore_merges", True),
        ("dropout", 0.1),
        ("unk_token", "a"),
        ("continuing_subword_prefix", "##"),
        ("end_of_word_suffix", "</w>"),
    ],
)
def test_an_option_that_changes_bpe(key: str, value: object) -> None:
    assert f"{key} = {value!r}" in refusal(Edited(lambda model: model.update({key: value})))


def swap_merges(model: dict[str, Any]) -> None:
    model["merges"][0], model["merges"][1] = model["merges"][1], model["merges"][0]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (swap_merges, "merge 0 ('ab', 'c') is out of order: its part 'ab' is not made before it but by merge 1"),
        (lambda model: model["merges"].append(["d", "d"]), "merge 3 ('d', 'd'): its product 'dd' is not in the"),
        (lambda model: model["merges"].append(["d", "🙂"]), "merge 3 ('d', '🙂'): its part '🙂' is neither a byte nor"),
        (lambda model: model["merges"].pop(0), "merge 0 ('ab', 'c'): its part 'ab' is neither a byte nor the product"),
        (lambda model: model["merges"].pop(), "token 'cd' (id 258) is neither a byte nor the product of a merge"),
        (lambda model: model["vocab"].update(xyz=260), "token 'xyz' (id 260) is neither a byte nor the product"),
        (lambda model: model["vocab"].update(cd=257), "id 257 belongs to two tokens, 'abc' and 'cd'"),
        (lambda model: model["vocab"].update(cd=300), "id 258 belongs to no token"),
        (lambda model: model["vocab"].pop("q"), "belongs to no token"),
    ],
)  # fmt: skip
def test_an_offender_is_named(edit: Edit, said: str) -> None:
    assert said in refusal(Edited(edit))


def test_a_part_that_is_made_by_a_later_merge_because_an_earlier_one_never_happens() -> None:
    # a, bc never happens: ab comes first. So abc is made by the last merge, and abc, ab before that
    merges = [("a", "b"), ("b", "c"), ("a", "bc"), ("abc", "ab"), ("ab", "c")]
    said = "merge 3 ('abc', 'ab') is out of order: its part 'abc' is not made before it but by merge 4 ('ab', 'c')"
    assert said in refusal(bpe_of(merges))
    assert len(read_bpe(bpe_of(merges), in_order=False).merges_R3) == 4


def test_merges_before_their_parts_that_never_happen_are_no_reason() -> None:
    # abc, ab is nothing that ever stands side by side: of ab, c, ab the last two are joined first
    bpe = read_bpe(bpe_of([("a", "b"), ("b", "c"), ("c", "ab"), ("a", "bc"), ("abc", "ab"), ("ab", "c")]))
    assert bpe.tokens.index("abcab") in bpe.merges_R3[:, 2]


def test_a_product_of_two_merges_has_the_derivation_that_happens() -> None:
    bpe = read_bpe(bpe_of([("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]))
    starts, ranks = bpe.derivations()
    abc = bpe.tokens.index("abc")
    assert len(bpe.merges_R3) == 3 and ranks[starts[abc] : starts[abc + 1]].tolist() == [0, 2]


def test_a_missing_byte_is_named() -> None:
    def edit(model: dict[str, Any]) -> None:
        model["vocab"]["qq"] = model["vocab"].pop("q")

    assert "the byte symbol 'q' has no id" in refusal(Edited(edit))


def test_a_normalizer() -> None:
    tokenizer = bpe_of(MERGES)
    tokenizer.normalizer = normalizers.NFC()
    assert "normalizer (NFC)" in refusal(tokenizer)


@pytest.mark.parametrize(
    "model", [models.WordLevel({"a": 0}, unk_token="a"), models.Unigram([("a", 0.0)]), models.WordPiece({"a": 0})]
)
def test_another_kind_of_model(model: Any) -> None:
    assert f"model is {type(model).__name__}, not BPE" in refusal(Tokenizer(model))
