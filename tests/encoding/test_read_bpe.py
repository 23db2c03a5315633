"""read_bpe refuses what cannot be distilled, and names the first offender."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from small_bpe import bpe_of
from tokenizers import AddedToken, Tokenizer, models, normalizers

from ivr.analysis.added_tokens import PieceEncoder
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import NO_ID, read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
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
        ("dropout", 0.1),
        ("continuing_subword_prefix", "##"),
        ("end_of_word_suffix", "</w>"),
    ],
)
def test_an_option_that_changes_bpe(key: str, value: object) -> None:
    assert f"{key} = {value!r}" in refusal(Edited(lambda model: model.update({key: value})))


def test_ignore_merges_where_merges_make_every_token() -> None:
    tokenizer = Edited(lambda model: model.update(ignore_merges=True))
    assert read_bpe(tokenizer).tokens == read_bpe(bpe_of(MERGES)).tokens


def test_ignore_merges_where_they_do_not() -> None:
    """`abc` alone is one token, and in `abcd` none."""
    tokenizer = Edited(lambda model: (model.update(ignore_merges=True), model["merges"].pop(1)))
    bpe = read_bpe(tokenizer)
    assert [bpe.tokens[token_id] for token_id in bpe.whole_ids] == ["abc"] and bpe.whole_ids <= bpe.unmade_ids
    library = Tokenizer.from_str(tokenizer.to_str())
    strings = ["abc", "abcd", "ab", "dabc"]
    found = PieceEncoder(bpe).encode(Batch.of([string.encode() for string in strings]))
    assert [found.row(row).tolist() for row in range(4)] == [library.encode(string).ids for string in strings]


def test_a_few_merges_before_their_parts_are_moved_and_applied_as_before() -> None:
    """Of a thousand merges one comes before its part; in `ab`,`c` it is made at once when `ab` is."""
    letters = [chr(code) for code in range(0x100, 0x120)]
    others = [(one, other) for one in letters for other in letters]
    base = bpe_of([*others, ("ab", "c"), ("a", "b"), ("b", "c")])
    bpe = read_bpe(base)
    assert bpe.applied_R is not None and bpe.applied_R.tolist()[-3:] == [1025, 1024, 1026]
    strings = ["abc", "abcab", "bcabc", "ababc"]
    found = BpeEncoder(bpe).encode(Batch.of([string.encode() for string in strings]))
    assert [found.row(row).tolist() for row in range(4)] == [base.encode(string).ids for string in strings]


@pytest.mark.parametrize(
    "options",
    [
        {"unk_token": "a", "fuse_unk": True, "byte_fallback": True},
        {"dropout": 0.0, "continuing_subword_prefix": "", "end_of_word_suffix": ""},
    ],
)
def test_an_option_that_changes_nothing_where_every_byte_has_an_id(options: dict[str, object]) -> None:
    tokenizer = Edited(lambda model: model.update(options))
    assert read_bpe(tokenizer).tokens == read_bpe(bpe_of(MERGES)).tokens
    assert Tokenizer.from_str(tokenizer.to_str()).encode("abcd!").ids == bpe_of(MERGES).encode("abcd!").ids


def test_a_normalizer_of_no_steps_changes_nothing() -> None:
    tokenizer = bpe_of(MERGES)
    tokenizer.normalizer = normalizers.Sequence([])
    assert read_bpe(tokenizer).num_ids == 260


def swap_merges(model: dict[str, Any]) -> None:
    model["merges"][0], model["merges"][1] = model["merges"][1], model["merges"][0]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (swap_merges, "merge 0 ('ab', 'c') is out of order: its part 'ab' is not made before it but by merge 1"),
        (lambda model: model["merges"].append(["d", "d"]), "merge 3 ('d', 'd'): its product 'dd' is not in the"),
        (lambda model: model["merges"].append(["d", "🙂"]), "merge 3 ('d', '🙂'): its part '🙂' is not in the"),
        (lambda model: model["merges"].append("d e f"), "merge 3 ('d e f') is not two tokens"),
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

    assert "the byte symbol 'q' (byte 0x71) has no id" in refusal(Edited(edit))


def test_bytes_that_no_text_has_may_be_missing() -> None:
    def edit(model: dict[str, Any]) -> None:
        model["vocab"]["zzz"] = model["vocab"].pop("À")  # 0xC0 begins nothing in UTF-8

    bpe = read_bpe(Edited(edit))
    assert bpe.byte_ids()[0xC0] == NO_ID and bpe.byte_ids().tolist().count(NO_ID) == 1
    assert bpe.tokens.index("zzz") in bpe.unmade_ids


def test_what_nothing_makes_is_never_given() -> None:
    """An entry without a merge, and a merge of a part without one, happen in no text; the library says the same."""

    def edit(model: dict[str, Any]) -> None:
        model["vocab"].update(xyz=260, xyzd=261)
        model["merges"].append(["xyz", "d"])

    tokenizer = Edited(edit)
    bpe = read_bpe(tokenizer)
    assert bpe.unmade_ids == {259, 260, 261} and bpe.token_bytes()[260] == b"" and len(bpe.merges_R3) == len(MERGES)
    assert not {260, 261} & set(Tokenizer.from_str(tokenizer.to_str()).encode("xyz xyzd xyzdabcd").ids)


def test_an_added_token_that_merges_make_is_one_that_the_model_gives() -> None:
    tokenizer = bpe_of(MERGES)
    tokenizer.add_tokens([AddedToken("abc", single_word=True), AddedToken("!", special=True), "<new>"])
    bpe = read_bpe(tokenizer)
    assert {bpe.tokens[token_id] for token_id in bpe.unmade_ids} == {"<|endoftext|>", "<new>"}


@pytest.mark.parametrize(
    ("content", "token_id", "said"),
    [
        ("<new>", 300, "the added token '<new>' says id 300, but the `tokenizers` library gives it 260"),
        ("abc", 260, "the added token 'abc' says id 260, but the `tokenizers` library gives it 257"),
        ("", 260, "an empty string"),
    ],
)
def test_an_added_token_at_an_id_that_the_library_does_not_give_it(content: str, token_id: int, said: str) -> None:
    tokenizer = Edited(lambda model: None)
    tokenizer.spec["added_tokens"].append({**tokenizer.spec["added_tokens"][0], "content": content, "id": token_id})
    assert said in refusal(tokenizer)
    assert not content or Tokenizer.from_str(tokenizer.to_str()).token_to_id(content) != token_id


@pytest.mark.parametrize(
    ("merges", "kept"),
    [
        # `a`,`bc` meet in no text, as `a`,`b` are joined before
        (["a b", "b c", "a bc", "ab c"], ["a b", "b c", "ab c"]),
        (["b c", "a b", "ab c", "a bc"], ["b c", "a b", "a bc"]),
        # of a pair that stands twice the library takes the last
        (["a b", "b c", "a b"], ["b c", "a b"]),
    ],
)
def test_of_merges_with_one_product_only_that_is_left_which_happens(merges: list[str], kept: list[str]) -> None:
    def edit(model: dict[str, Any]) -> None:
        model["merges"] = merges
        model["vocab"]["bc"] = 260

    tokenizer = Edited(edit)
    bpe = read_bpe(tokenizer)
    assert [" ".join(bpe.tokens[part] for part in merge[:2]) for merge in bpe.merges_R3.tolist()] == kept
    texts = ["abc", "aabc", "bcab", "abcabc", "abbcc"]
    encoded = Tokenizer.from_str(tokenizer.to_str()).encode_batch(texts)
    ours = BpeEncoder(bpe).encode(Batch.of([text.encode() for text in texts]))
    assert [one.ids for one in encoded] == [ours.row(row).tolist() for row in range(len(texts))]


def test_a_merge_that_takes_what_only_a_later_one_makes_is_refused() -> None:
    """`abc` is made by the last merge, never by the third: the library goes back to the fourth then."""

    def edit(model: dict[str, Any]) -> None:
        model["merges"] = ["a b", "b c", "a bc", "abc ab", "ab c"]
        model["vocab"].update(bc=260, abcab=261)

    assert "('abc', 'ab') is out of order: its part 'abc'" in refusal(Edited(edit))


def test_a_normalizer() -> None:
    tokenizer = bpe_of(MERGES)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    assert "normalizer (Lowercase)" in refusal(tokenizer) and "only NFC is supported" in refusal(tokenizer)


@pytest.mark.parametrize(
    "model", [models.WordLevel({"a": 0}, unk_token="a"), models.Unigram([("a", 0.0)]), models.WordPiece({"a": 0})]
)
def test_another_kind_of_model(model: Any) -> None:
    assert f"model is {type(model).__name__}, not BPE" in refusal(Tokenizer(model))
