"""Models as people have them, through `init`, `align` and the writer of the final model, to a fresh process.

What arrives must load as the base did: the same weights but for the reassigned rows, chat template and generation
settings equal. The tokenizer of the run is that of `builders.make_world`.
"""

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import write_corpus
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from ivr.artifacts import ArtifactPaths
from ivr.base import model_directory
from ivr.base.model_files import WeightsChoice
from ivr.base.weights.checkpoint import read_checkpoint
from ivr.card.facts import CardFacts
from ivr.cli import main
from ivr.embedding.rows_of_model import _check_numbers
from ivr.embedding.weights import read_state
from ivr.errors import ConfigError, CorruptInputError
from ivr.evaluation.models import load_model
from ivr.training import train
from ivr.training.final import write_final

State = dict[str, torch.Tensor]
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
GENERATION = {"bos_token_id": 399, "eos_token_id": [399], "top_k": 7, "temperature": 0.5, "do_sample": True}
QUICK = ("--heldout-bytes", "0")
WTE, HEAD = "transformer.wte.weight", "lm_head.weight"


def safetensors(state: State, folder: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")


def shards(state: State, folder: Path, save: Callable[[State, Path], None], single: str) -> None:
    stem, _, ending = single.rpartition(".")
    names, weight_map = sorted(state), {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        shard = f"{stem}-{number:05d}-of-00002.{ending}"
        save({name: state[name] for name in part}, folder / shard)
        weight_map |= dict.fromkeys(part, shard)
    (folder / f"{single}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def old_pickle(state: State, folder: Path) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def view_of_larger_storage(state: State, folder: Path) -> None:
    wte = state[WTE]
    larger = torch.cat([wte, torch.ones(100, wte.shape[1])])
    turned = state["transformer.h.0.mlp.c_fc.weight"].t().contiguous().t()
    torch.save(
        {**state, WTE: larger[: len(wte)], "transformer.h.0.mlp.c_fc.weight": turned}, folder / "pytorch_model.bin"
    )


FORMS: dict[str, Callable[[State, Path], None]] = {
    "prefix taken off": lambda state, at: safetensors(
        {k.removeprefix("transformer."): v for k, v in state.items()}, at
    ),
    "torch.compile": lambda state, at: safetensors({f"_orig_mod.{k}": v for k, v in state.items()}, at),
    "safetensors shards": lambda state, at: shards(state, at, save_file, "model.safetensors"),
    "pickle": lambda state, at: torch.save({**state, HEAD: state[WTE]}, at / "pytorch_model.bin"),
    "pickle of old": old_pickle,
    "pickle of views": view_of_larger_storage,
    "pickle shards": lambda state, at: shards(state, at, torch.save, "pytorch_model.bin"),
    "parallel pickle": lambda state, at: torch.save(
        {f"module.{k}": v for k, v in state.items()}, at / "pytorch_model.bin"
    ),
    "variant": lambda state, at: save_file({k: v.half() for k, v in state.items()}, at / "model.fp16.safetensors"),
    "bfloat16 and float32": lambda state, at: safetensors(
        {k: v.bfloat16() if "mlp" in k else v for k, v in state.items()}, at
    ),
    "masks": lambda state, at: safetensors({**state, "transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32).bool()}, at),
    "untied": lambda state, at: safetensors({**state, HEAD: state[WTE] + 1}, at),
}


# the others are the same file by then
TO_THE_END = ("torch.compile", "pickle", "bfloat16 and float32", "masks", "untied")


class Model:
    """A model directory in one of the forms, beside a world whose remapped tokenizer belongs to it."""

    def __init__(self, world: ArtifactPaths, folder: Path) -> None:
        self.paths, self.folder = world, folder
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            shutil.copyfile(world.base_model / name, folder / name)
        self.state = load_file(world.base_model / "model.safetensors")
        self.write("generation_config.json", GENERATION)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "README.md").write_text("---\nlicense: mit\ntags: [x]\n---\n# A base model\n")
        (folder / "LICENSE").write_text("Do as you like.\n")

    def write(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value))

    def init(self) -> int:
        raw = self.folder.parent / "raw"
        write_corpus(raw / "text.txt", ["some text of a domain"] * 3)
        options = ["--model-name", str(self.folder), "--raw-corpora-dir", str(raw), "--heldout-fraction", "0"]
        return main(["init", "--artifacts-dir", str(self.paths.root), *options])


@pytest.fixture
def model(world: ArtifactPaths, tmp_path: Path) -> Model:
    return Model(world, tmp_path / "model")


FRESH = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
facts = []
for folder in sys.argv[1:]:
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = {k: v for k, v in model.generation_config.to_dict().items() if k != "transformers_version"}
    facts.append({
        "missing": list(info["missing_keys"]), "template": tokenizer.chat_template, "generation": settings,
        "shown": tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False),
        "vocabulary": len(tokenizer), "tied": bool((model.lm_head.weight == model.transformer.wte.weight).all()),
    })
print(json.dumps(facts))
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_form_arrives(model: Model, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if form != "untied":  # its own processes see that AutoTokenizer agrees
        monkeypatch.setattr(model_directory, "check_auto_tokenizer", lambda folder, origin: None)
    else:
        config = json.loads((model.folder / "config.json").read_text())
        model.write("config.json", {**config, "tie_word_embeddings": False})
    FORMS[form](model.state, model.folder)
    assert model.init() == 0
    base = load_file(model.paths.base_model / "model.safetensors")
    wanted = {key.removeprefix("transformer."): value for key, value in model.state.items()}
    for name, tensor in base.items():
        bare = name.removeprefix("transformer.")
        if bare in wanted:
            assert torch.equal(tensor, wanted[bare].to(tensor.dtype)), name
    assert wanted.keys() <= {name.removeprefix("transformer.") for name in base}

    if form not in TO_THE_END:
        return
    assert main(["align", "--artifacts-dir", str(model.paths.root), "--init-strategy", "pieces", *QUICK]) == 0
    aligned = load_file(model.paths.aligned_model / "model.safetensors")
    rows = [new != old for new, old in zip(aligned_rows(aligned), aligned_rows(base), strict=True)]
    assert sum(rows) == 3
    trained = {name: tensor.float() for name, tensor in aligned.items() if ".attn.bias" not in name}
    facts = CardFacts({}, {"loss | <b>": "a\nb\x1b[2J"})
    write_final(model.paths.final_model, model.paths.aligned_model, trained, facts)
    for folder in (model.paths.aligned_model, model.paths.final_model):
        assert (folder / "LICENSE").read_text() == "Do as you like.\n"
        assert "# A base model" in (folder / "BASE_README.md").read_text()
    card = (model.paths.final_model / "README.md").read_text()
    assert ModelCard.load(model.paths.final_model / "README.md").data.license == "mit"
    assert r"| loss \| &lt;b&gt; | a b\x1b[2J |" in card
    if form in ("untied", "pickle"):
        base_facts, *others = fresh(model.paths.base_model, model.paths.aligned_model, model.paths.final_model)
        for facts in others:
            assert facts == base_facts
        assert base_facts["missing"] == [] and base_facts["template"] == TEMPLATE
        assert base_facts["generation"]["top_k"] == 7 and base_facts["shown"] == "<user>hi"
        assert base_facts["tied"] == (form == "pickle")
    else:
        load_model(model.paths.final_model)


def aligned_rows(state: State) -> list[list[float]]:
    return next(value for name, value in state.items() if name.endswith("wte.weight")).float().tolist()


def fresh(*folders: Path) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-c", FRESH, *map(str, folders)], capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(run.stdout.splitlines()[-1])


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


REFUSED: dict[str, tuple[Callable[[State, Path], object], str]] = {
    "code": (
        lambda state, at: torch.save({**state, "x": _Runs()}, at / "pytorch_model.bin"),
        "loading it would run code",
    ),
    "a bare pickle": (
        lambda state, at: (at / "pytorch_model.bin").write_bytes(pickle.dumps({"x": _Runs()})),
        "cannot be loaded",
    ),
    "code in a shard": (
        lambda state, at: shards({**state, "x": _Runs()}, at, torch.save, "pytorch_model.bin"),
        "would run code",  # type: ignore[dict-item]
    ),
    "cut short": (lambda state, at: cut(state, at), "pytorch_model.bin cannot be loaded as plain weights"),
    "nested": (
        lambda state, at: torch.save({"state_dict": state}, at / "pytorch_model.bin"),
        "under its key 'state_dict'",
    ),
    "a list": (lambda state, at: torch.save(list(state.values()), at / "pytorch_model.bin"), "not a mapping"),
    "complex": (
        lambda state, at: torch.save({**state, "x": torch.zeros(2, dtype=torch.complex64)}, at / "pytorch_model.bin"),
        "x is stored as complex64",
    ),
    "sparse": (
        lambda state, at: torch.save({**state, WTE: state[WTE].to_sparse()}, at / "pytorch_model.bin"),
        "sparse",
    ),
    "a byte order mark": (
        lambda state, at: (safetensors(state, at), mark(at / "config.json")),
        "config.json begins with a byte order mark",
    ),
    "head differs": (
        lambda state, at: safetensors({**state, HEAD: state[WTE] + 1}, at),
        "set tie_word_embeddings to false",
    ),
}


def mark(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def cut(state: State, folder: Path) -> None:
    torch.save(state, folder / "pytorch_model.bin")
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_rows_that_are_no_numbers_are_named(model: Model, odd: float) -> None:
    """`init` looks at headers; a row that is made of such rows would be one more."""
    rows_VD = torch.ones(5, 2)
    _check_numbers(rows_VD, "embeddings", model.folder)
    rows_VD[3, 1] = odd
    with pytest.raises(CorruptInputError, match=r"1 of 5 rows of its embeddings .* id 3; the weights are damaged"):
        _check_numbers(rows_VD, "embeddings", model.folder)


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_arrive_is_refused_before_the_corpus_is_read(
    model: Model, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ivr.base.init.clean_corpus", lambda *_: pytest.fail("the corpus was cleaned"))
    monkeypatch.setattr("ivr.base.init.open_stage", lambda *_: pytest.fail("the corpus was hashed"))
    write, message = REFUSED[form]
    write(model.state, model.folder)
    assert model.init() in (2, 4)
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "pwned").exists()


def test_names_of_a_wrapper_are_no_model_to_measure_or_train(model: Model) -> None:
    FORMS["torch.compile"](model.state, model.folder)
    with pytest.raises(CorruptInputError, match=r"lacks .* take it in with `ivr init --model-name`"):
        load_model(model.folder)
    with pytest.raises(ConfigError, match=r"names like _orig_mod\..*; `ivr init --model-name` takes"):
        train.run(train.Config(model.paths.root, model_name=model.folder))
    assert set(read_state(model.folder)) == set(model.state)


def test_a_rewritten_file_is_what_the_library_writes(model: Model, tmp_path: Path) -> None:
    FORMS["safetensors shards"](model.state, model.folder)
    config = json.loads((model.folder / "config.json").read_text())
    choice = WeightsChoice("model.safetensors.index.json")
    checkpoint = read_checkpoint(model.folder, choice, config, "here")
    from ivr.base.weights.checkpoint import write_weights

    write_weights(checkpoint, tmp_path)
    save_file(model.state, tmp_path / "library.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "library.safetensors").read_bytes()
