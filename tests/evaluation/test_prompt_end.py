"""What follows a prompt that ends inside a token, against calculations by hand, one token at a time."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from builders import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER
from ivr.evaluation.prompt_end import (
    Beginnings,
    Cut,
    choose_cuts,
    encode_cut,
    log_chance_of,
    score_prompt_ends,
)

TEXT = "one of the cells of the two of cells and the end of the cells of two"
WORDS = ["Ġof", "Ġthe", "Ġcells", "Ġtwo", "Ġand", "Ġend", "one"]
SUPERWORDS = ["ĠofĠthe", "ĠofĠtheĠcells", "ĠandĠtheĠend"]
CONTEXT = 64


def tokenizer_with(tokens: Sequence[str]) -> Tokenizer:
    """Fewest tokens win: each costs one."""
    vocabulary = [(token, -1.0) for token in [*BYTE_TO_CHARACTER.values(), *tokens]]
    tokenizer = Tokenizer(models.Unigram(vocabulary, None, False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


INSIDE, SPANNING = tokenizer_with(WORDS), tokenizer_with([*WORDS, *SUPERWORDS])
END_ID = 300


def tokens_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    return [tokenizer.id_to_token(token_id) for token_id in ids]


def test_cuts_are_behind_words_and_the_same_for_the_same_seed() -> None:
    texts = [TEXT * 20, "  blanks  twice ", "", "x"]
    cuts = choose_cuts(texts, 30, seed=1)
    assert len(cuts) == 30 and cuts == choose_cuts(texts, 30, seed=1) != choose_cuts(texts, 30, seed=2)
    for cut in cuts:
        assert cut.text[cut.at] == " " != cut.text[cut.at + 1] and cut.text[cut.at - 1] != " "
        assert cut.text in texts[0] and len(cut.text) <= 512 and cut.at > 0
    assert len(choose_cuts(texts, 10_000, seed=1)) == 20 * TEXT.count(" ")
    assert choose_cuts(["oneword"], 3, 0) == []


def test_a_cut_inside_a_superword() -> None:
    found = encode_cut(Cut(TEXT, TEXT.index(" the cells")), SPANNING, CONTEXT)
    assert found is not None
    assert tokens_of(SPANNING, found.prompt) == ["one", "Ġof"]
    assert tokens_of(SPANNING, found.following)[:2] == ["Ġthe", "Ġcells"]
    assert tokens_of(SPANNING, found.whole_context) == ["one"]
    assert tokens_of(SPANNING, found.whole_scored)[:2] == ["ĠofĠtheĠcells", "ĠofĠthe"]
    assert (found.tail, tokens_of(SPANNING, found.tail_ids)) == ("Ġof", ["Ġof"])
    written = "".join(tokens_of(SPANNING, found.following))
    assert "".join(tokens_of(SPANNING, found.whole_scored)) == found.tail + written
    assert found.bytes == len(written)


def test_a_cut_between_tokens_changes_nothing() -> None:
    found = encode_cut(Cut(TEXT, TEXT.index(" of the")), SPANNING, CONTEXT)
    assert found is not None and not found.tail_ids
    assert (found.prompt, found.following) == (found.whole_context, found.whole_scored)
    assert encode_cut(Cut(TEXT, TEXT.index(" of the")), SPANNING, 0) is None, "nothing can be scored"


def test_what_writes_the_end_of_a_prompt_is_its_tokens_and_all_that_begin_so() -> None:
    beginnings = Beginnings(SPANNING)
    strings = [SPANNING.id_to_token(i) for i in range(SPANNING.get_vocab_size())]
    assert {strings[i] for i in beginnings.beginning_with("Ġof")} == {"Ġof", "ĠofĠthe", "ĠofĠtheĠcells"}
    logs_TV = torch.log_softmax(torch.randn(2, len(strings), generator=torch.Generator().manual_seed(0)), dim=-1)
    chances_TV = logs_TV.exp().double().numpy()
    of, the = SPANNING.token_to_id("Ġof"), SPANNING.token_to_id("Ġthe")
    at_once = sum(chances_TV[0, i] for i, token in enumerate(strings) if token.startswith("ĠofĠthe"))
    in_turn = chances_TV[0, of] * sum(chances_TV[1, i] for i, token in enumerate(strings) if token.startswith("Ġthe"))
    found = log_chance_of("ĠofĠthe", [of, the], logs_TV, SPANNING.id_to_token, beginnings)
    assert math.exp(found) == pytest.approx(at_once + in_turn)


def nats_by_hand(model: torch.nn.Module, context: Sequence[int], scored: Sequence[int]) -> float:
    total, ids = 0.0, [END_ID, *context]
    for token_id in scored:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].double()
        total -= float(torch.log_softmax(logits, dim=-1)[token_id])
        ids.append(token_id)
    return total


@pytest.mark.parametrize("batch", [1, 1 << 23])
def test_scores_are_those_of_a_calculation_by_hand(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.evaluation.prompt_end.LOGITS_AT_ONCE", {"cpu": batch})
    model = tiny_model(END_ID + 1, context=CONTEXT).eval()
    cuts = choose_cuts([TEXT], 100, seed=0)
    found = score_prompt_ends(model, SPANNING, cuts, END_ID, CONTEXT, "cpu")
    assert found is not None and 3 < found.inside_N.sum() < len(cuts)
    for place, cut in enumerate(cuts):
        encoded = encode_cut(cut, SPANNING, CONTEXT)
        assert encoded is not None
        bits = nats_by_hand(model, encoded.prompt, encoded.following) / math.log(2)
        assert found.encoded.bits_N[place] == pytest.approx(bits, rel=1e-5)
        nats = nats_by_hand(model, encoded.whole_context, encoded.whole_scored)
        if encoded.tail_ids:
            ids = torch.tensor([[END_ID, *encoded.prompt]])
            with torch.no_grad():
                logs_TV = torch.log_softmax(model(ids).logits[0, len(encoded.whole_context) :], dim=-1)
            nats += log_chance_of(
                encoded.tail, encoded.tail_ids, logs_TV[:-1], SPANNING.id_to_token, Beginnings(SPANNING)
            )
        assert found.whole.bits_N[place] == pytest.approx(nats / math.log(2), rel=1e-5)
    results = found.results(seed=0)
    assert results["cuts_inside_a_token"] == found.inside_N.sum()
    inside, num_bytes = found.inside_N, found.encoded.bytes_N
    lost = (found.encoded.bits_N - found.whole.bits_N)[inside].sum()
    assert results["inside"]["difference"] == pytest.approx(lost / num_bytes[inside].sum())
    assert results["all"]["difference"] == pytest.approx(lost / num_bytes.sum()), "elsewhere nothing is lost"


def test_without_superwords_nothing_is_lost() -> None:
    model = tiny_model(END_ID + 1, context=CONTEXT)
    found = score_prompt_ends(model, INSIDE, choose_cuts([TEXT], 100, seed=0), END_ID, CONTEXT, "cpu")
    assert found is not None and not found.inside_N.any()
    assert np.array_equal(found.encoded.bits_N, found.whole.bits_N)
    results = found.results(seed=0)
    assert results["inside"] is None and results["all"]["difference"] == 0


def test_a_context_that_is_too_short_scores_less_and_no_cut_is_no_figure() -> None:
    model = tiny_model(END_ID + 1, context=8)
    found = score_prompt_ends(model, SPANNING, choose_cuts([TEXT], 100, seed=0), END_ID, 8, "cpu")
    assert found is not None and np.isfinite(found.encoded.bits_N).all() and found.encoded.tokens_N.max() <= 8
    assert score_prompt_ends(model, SPANNING, [], END_ID, 8, "cpu") is None
