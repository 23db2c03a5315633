"""The model card: huggingface_hub reads it back, the figures are the run's, and nothing in it can break its tables."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from ivr.card.facts import CardFacts, training_rows
from ivr.card.model_card import model_card
from ivr.manifest import FileRecord, Manifest

INIT = {"revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e", "corpora": {"domain": {"documents": 12, "bytes": 3456}}}
DIFFERENCE = {"difference": -0.25, "low": -0.3, "high": -0.2, "documents": 9}
EVALUATED = {
    "bits_per_byte": {"domain": {"base": 1.5, "aligned": 1.6, "trained": 1.25}},
    "differences": {"domain": {"trained - base": DIFFERENCE}},
    "heldout_tokens_before": 200,
    "heldout_tokens_after": 150,
}


def manifest(stage: str, results: dict, outputs: tuple[str, ...] = (), **config: object) -> Manifest:
    rows = [FileRecord(path, f"{number:064x}", 10) for number, path in enumerate(outputs)]
    return Manifest(stage, f"ivr {stage}", config, "0", [], rows, results)


def facts(name: str = "openai-community/gpt2", revision: str = INIT["revision"]) -> CardFacts:
    corpora = ("corpora/cleaned/a.txt", "corpora/heldout/a.txt")
    return CardFacts(
        {
            "init": manifest("init", {**INIT, "revision": revision}, corpora, model_name=name),
            "select": manifest("select", {"swaps": 500}),
            "evaluate": manifest("evaluate", EVALUATED),
        },
        {"loss | <b>": 5.25},
        ["a`b", "\n", " the"],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (tmp_path / "BASE_README.md").write_text("---\nlicense: mit\n---\n# The base\n")
    return tmp_path


def test_the_hub_reads_base_licence_and_figures(folder: Path) -> None:
    (folder / "README.md").write_text(model_card(folder, facts()))
    data = ModelCard.load(folder / "README.md").data
    assert (data.base_model, data.license, data.pipeline_tag) == ("openai-community/gpt2", "mit", "text-generation")
    assert data.tags == ["gpt2", "gpt2-ivr"] and data.library_name == "transformers"
    assert data.model_name == "gpt2-ivr-500"
    found = {(one.metric_type, one.metric_value) for one in data.eval_results}
    assert found == {("bits_per_byte", 1.25), ("tokens_saved", 25.0)}
    assert {one.dataset_type for one in data.eval_results} == {"heldout-domain-text"}
    assert metadata_load(folder / "README.md")["model-index"][0]["name"] == "gpt2-ivr-500"


def test_a_reader_finds_what_was_measured_and_where_it_ends(folder: Path) -> None:
    text = model_card(folder, facts())
    assert "Architecture: GPT-2." in text
    assert "revision 607a30d7" in text and "500 ids that it rarely used" in text
    assert "| base model | 1.5000 |" in text and "| this model | 1.2500 |" in text
    assert "-0.2500 (95 % interval of a paired bootstrap over documents: -0.3000 to -0.2000)" in text
    assert "25.0 % fewer tokens" in text and "## Limits" in text and "## Licence\n\nmit" in text
    assert "| domain | 1 | 12 | 3,456 | `" in text
    assert "Some of the new tokens: `a'b`, `\\x0a`, ` the`." in text
    assert r"| loss \| &lt;b&gt; | 5.2500 |" in text
    assert "`ivr export --for transformers-js`" in text, "what makes it load elsewhere"


def test_a_local_model_is_named_without_its_place(folder: Path) -> None:
    text = model_card(folder, facts("/home/someone/models/mine", ""))
    data = ModelCard(text).data
    assert data.base_model is None and "/home" not in text
    assert "# mine, 500 reassigned ids" in text and data.model_name == "mine-ivr-500"


def test_a_name_cannot_leave_its_place(folder: Path) -> None:
    (folder / "BASE_README.md").unlink()
    name = "x: y\n---\n<script>|{{ 7*7 }}"
    card = ModelCard(model_card(folder, facts(name, "")))
    assert "<script>" not in card.text and "49" not in card.text
    assert card.data.license is None and "names none" in card.text


def test_without_manifests_it_is_still_a_card(folder: Path) -> None:
    text = model_card(folder, CardFacts({}, training_rows({"steps": 3, "loss_first": 2.5, "heldout": None})))
    card = ModelCard(text)
    assert card.data.eval_results is None
    assert "| optimizer steps | 3 |" in text and "`ivr evaluate` and `ivr report` put the others here" in text


def test_where_prompts_end_is_told_with_what_it_costs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tokenizer.json").write_text("{}")
    monkeypatch.setattr("ivr.card.model_card.has_superwords", lambda text: True)
    inside = {"as_prompt": 2.5, "as_whole_text": 2.25, "difference": 0.25, "low": 0.1, "high": 0.4}
    for found, told in (({"cuts_inside_a_token": 31, "inside": inside}, True), ({"inside": None}, False)):
        measured = facts()
        results = {**EVALUATED, "prompt_ends": {"domain": {"trained": {"cuts": 200, **found}}}}
        made = CardFacts({**measured.manifests, "evaluate": manifest("evaluate", results)})
        text = " ".join(model_card(folder, made).split())
        assert "A prompt that ends inside one" in text
        sentence = "of 200 prompts cut behind a word of held-out domain text 31 end inside a token. What follows these "
        assert (sentence + "takes 2.5000 bits per byte, and 2.2500 where" in text) == told
