"""What no rows can be moved in is refused in one sentence that says why, by config and file names alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from family_models import SIZES, write_family

from ivr.base.model_directory import check_model
from ivr.base.model_files import check_names
from ivr.base.tokenizer import check_tokenizer_json
from ivr.base.weights.layout import layout_of
from ivr.errors import ConfigError, IvrError

BASE = {**SIZES, "vocab_size": 300}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5"}, "'t5', which transformers does not know as a causal language model"),
        ({"model_type": "no-such-model"}, "'no-such-model', which transformers does not know"),
        ({}, "model_type is None"),
        ({"model_type": "bert"}, "an encoder that sees the text on both sides"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "an encoder and a decoder"),
        ({"model_type": "mamba"}, "takes no past_key_values"),
        ({"model_type": "mixtral"}, "experts apart"),
        ({"model_type": "gemma3_text"}, "scales the rows it looks up"),
        ({"model_type": "gemma3"}, "not a matrix of one row for each of the 300 ids"),
        ({"model_type": "phi", "tie_word_embeddings": True}, "has a bias of its own"),
        ({"model_type": "llama", "hidden_size": "32"}, "no config of a llama (Validation error"),
        ({"model_type": "llama", "vocab_size": -1}, "vocab_size is -1, not a size"),
    ],
    ids=lambda value: str(value.get("model_type")) if isinstance(value, dict) else "",
)
def test_a_config_of_which_no_rows_can_be_moved(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        layout_of({**BASE, **config}, "here/config.json")
    message = str(caught.value)
    assert said in message and message.startswith("here/config.json") and "\n" not in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quantization_config": {"bits": 4}}, "is quantised"),
        ({"auto_map": {"AutoModelForCausalLM": "x.Y"}}, "no code of a model is run here"),
        ({"num_hidden_layers": 1}, "2 layers, config.json says num_hidden_layers 1"),
        ({"vocab_size": 100}, "set vocab_size to"),
        ({"intermediate_size": 64}, "by config.json; bring the config.json of these weights"),
        ({"tie_word_embeddings": False}, "has no lm_head.weight"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_llama_whose_files_do_not_fit(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = write_family(tmp_path / "model", "SmolLM2")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(IvrError) as caught:
        check_model(folder, "here")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_tokenizers_of_sentencepiece(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SentencePiece's tokenizer\.model alone"):
        check_names(["config.json", "model.safetensors", "tokenizer.model"], "here")
    spec = {"model": {"type": "BPE", "byte_fallback": True, "vocab": {"<0x0A>": 0}, "merges": []}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ConfigError, match="SentencePiece's BPE with byte fallback"):
        check_tokenizer_json(tmp_path / "tokenizer.json", "here")


def test_two_tokens_in_front_of_every_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    folder = write_family(tmp_path / "model", "SmolLM2")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = "<|endoftext|>"
    ids = [(end, tokenizer.token_to_id(end))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{end} {end} $A", special_tokens=ids)
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ConfigError, match="puts 2 tokens in front of every text"):
        check_model(folder, "here")
