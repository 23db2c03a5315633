"""Writing a model directory that Hugging Face loads: config, weights, and the tokenizer that belongs to them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ivr.base.companions import chat_templates, copy_chat_templates, copy_licence
from ivr.base.model_files import SAFETENSORS
from ivr.disk.writer import atomic_directory
from ivr.errors import CorruptInputError

# never vocab.json and merges.txt: beside a gpt2 config they would bring the BPE tokenizer back
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
REQUIRED_TOKENIZER_FILES = TOKENIZER_FILES[:2]


def copy_tokenizer_files(source: Path, target: Path, model_dir: Path) -> None:
    """Copy what `AutoTokenizer` reads; chat templates that `source` lacks are those of `model_dir`.

    Raises CorruptInputError where `source` is not complete.
    """
    copy_chat_templates(source if chat_templates(source) else model_dir, target)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
        elif name in REQUIRED_TOKENIZER_FILES:
            raise CorruptInputError(f"{source} is no complete tokenizer directory: it holds no {name}")


def save_weights(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file."""
    tensors = {name: value.contiguous() for name, value in state.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)  # safetensors writes for the owner alone


def write_model_directory(
    target: Path, base_dir: Path, config: dict[str, Any], state: dict[str, torch.Tensor], tokenizer_dir: Path
) -> None:
    """Replace `target`, whole, by the base model with the tensors of `state` and the tokenizer of `tokenizer_dir`."""
    with atomic_directory(target) as staging:
        write_config(staging / "config.json", base_dir, config)
        save_weights(staging / SAFETENSORS, state)
        write_generation_config(staging / "generation_config.json", base_dir, config)
        copy_tokenizer_files(tokenizer_dir, staging, base_dir)
        copy_licence(base_dir, staging)


def write_config(target: Path, base_dir: Path, config: dict[str, Any]) -> None:
    """Copy the base model's, byte for byte, unless `config` says something else."""
    existing = base_dir / target.name
    if json.loads(existing.read_text(encoding="utf-8")) == config:
        shutil.copyfile(existing, target)
    else:
        target.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_generation_config(target: Path, base_dir: Path, config: dict[str, Any]) -> None:
    """Copy the base model's, or write one with the start and end ids its config names."""
    existing = base_dir / target.name
    if existing.is_file():
        shutil.copyfile(existing, target)
        return
    wanted = {key: config[key] for key in ("bos_token_id", "eos_token_id") if key in config}
    target.write_text(json.dumps({"_from_model_config": True, **wanted}, indent=2) + "\n", encoding="utf-8")
