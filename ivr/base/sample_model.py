"""The built-in sample's model: a byte-level BPE and a small GPT-2, both trained here from general text only.

The domain's text is left out of both, so that moving the vocabulary there has something to gain. The same text and
versions give the same bytes: seeded, deterministic kernels, a fixed number of threads.
"""

import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.base.tokenizer import END_OF_TEXT, byte_alphabet, write_tokenizer
from ivr.console import LOG, Progress

if TYPE_CHECKING:
    import numpy as np
    from transformers import GPT2Config


@dataclass(frozen=True)
class SampleRecipe:
    """All numbers of the sample model."""

    num_merges: int = 3840  # with 256 bytes: 4,096 tokens, then <|endoftext|>
    num_layers: int = 4
    num_heads: int = 4
    width: int = 128
    context: int = 256
    num_steps: int = 500
    batch_size: int = 4
    learning_rate: float = 3e-3
    warmup_steps: int = 40
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    seed: int = 0
    num_threads: int = 2


def train_bpe(texts: Iterable[str], num_merges: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary laid out as GPT-2's (bytes, merges in order, `<|endoftext|>` last) and its merges."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = byte_alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + num_merges, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges = [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
    vocab: dict[str, int] = {}
    for token in (*alphabet, *(left + right for left, right in merges), END_OF_TEXT):
        assert token not in vocab, f"two merges make {token!r}"
        vocab[token] = len(vocab)
    return vocab, merges


def train_sample_model(texts: list[str], recipe: SampleRecipe, folder: Path) -> dict[str, Any]:
    """Train tokenizer and model on `texts`, write both into `folder` (an empty directory); returns the figures."""
    from ivr.encoding.text.tokenizer_file import load_tokenizer

    vocab, merges = train_bpe(texts, recipe.num_merges)
    write_tokenizer(folder, vocab, merges, recipe.context)
    LOG.info("sample: a tokenizer of %s tokens", f"{len(vocab):,}")
    tokenizer = load_tokenizer(folder)
    ids = _encode(tokenizer, texts, vocab[END_OF_TEXT])
    figures = _train(ids, len(vocab), recipe, folder)
    num_bytes = sum(len(text.encode()) for text in texts)
    # per byte of the text itself: the ends of documents are predicted too, but are no bytes
    figures["bits_per_byte"] = round(figures["final_loss"] / math.log(2) * len(ids) / num_bytes, 4)
    figures |= {"num_tokens": len(ids), "vocab_size": len(vocab)}
    LOG.info(
        "sample: a model of %(num_parameters)d parameters, final loss %(final_loss).3f nats per token, "
        "%(bits_per_byte).3f bits per byte on its own text",
        figures,
    )
    return figures


def _encode(tokenizer: Any, texts: list[str], end_of_text: int) -> "np.ndarray":
    """The ids of all texts, one after another, each followed by `end_of_text`; int64."""
    import numpy as np

    # a text may spell <|endoftext|>: it is text here
    tokenizer.encode_special_tokens = True
    ids: list[int] = []
    for start in range(0, len(texts), 1000):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + 1000], add_special_tokens=False):
            ids += encoding.ids
            ids.append(end_of_text)
    return np.array(ids, dtype=np.int64)


def model_config(recipe: SampleRecipe, vocab_size: int) -> "GPT2Config":
    """GPT-2's architecture in the recipe's size, without dropout; the last id is the end of a text."""
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=vocab_size,
        n_positions=recipe.context,
        n_embd=recipe.width,
        n_layer=recipe.num_layers,
        n_head=recipe.num_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
    )


def _train(ids: "np.ndarray", vocab_size: int, recipe: SampleRecipe, folder: Path) -> dict[str, Any]:
    # threads that wait asleep: spinning, two of them on a busy machine were several times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    previous = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(recipe.num_threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    try:
        config = model_config(recipe, vocab_size)
        model = GPT2LMHeadModel(config)
        model.loss_type = "ForCausalLM"  # the default, which transformers warns of: no class name here says it
        losses = list(_steps(model, torch.from_numpy(ids), recipe))
        model.eval()
        model.save_pretrained(folder)
        for path in folder.glob("*.safetensors"):
            shutil.copymode(folder / "config.json", path)  # else only its owner may read it
    finally:
        torch.set_num_threads(previous[0])
        torch.use_deterministic_algorithms(previous[1])
    tail = losses[-max(1, len(losses) // 20) :]
    return {
        "final_loss": round(sum(tail) / len(tail), 4),
        "first_loss": round(losses[0], 4),
        "num_steps": len(losses),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _steps(model: Any, ids_T: Any, recipe: SampleRecipe) -> Iterator[float]:
    """Plain AdamW with warm-up and cosine over random windows; yields the loss of every step, in nats per token."""
    import torch

    decayed = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    window = min(recipe.context, len(ids_T))
    offsets_C = torch.arange(window)
    model.train()
    with Progress("train the sample model", total=recipe.num_steps, unit="steps") as bar:
        for step in range(recipe.num_steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * schedule(step, recipe.warmup_steps, recipe.num_steps)
            starts_B = torch.randint(len(ids_T) - window + 1, (recipe.batch_size,), generator=generator)
            batch_BC = ids_T[starts_B[:, None] + offsets_C]
            loss = model(input_ids=batch_BC, labels=batch_BC).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimizer.step()
            nats = float(loss.detach())
            yield nats
            bar.update(1, note=f"loss {nats:.3f}")


def schedule(step: int, warmup_steps: int, num_steps: int) -> float:
    """Linear warm-up to 1, then a cosine to 0.05: the factor on the learning rate."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))
