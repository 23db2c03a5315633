"""Text and base model of the experiment: real corpora cut into documents, a GPT-2 pre-trained on books."""

import dataclasses
import hashlib
import json
import lzma
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.base.sample_model import SampleRecipe, model_config, schedule, train_sample_model
from ivr.console import Progress
from ivr.disk.writer import atomic_directory, atomic_file, write_json

DOMAINS = {"biomedical": "biomedical", "korean": "korean_reviews"}
GENERAL = "english_books"
PIECE_BYTES = 2000  # of a book: a document of the general text
REVIEWS_AT_ONCE = 10  # reviews are 90 bytes: ten make one document, a context's worth
GENERAL_HELD_OUT = 50  # one document in so many


@dataclass(frozen=True)
class Size:
    """One scale of the experiment; bytes of text throughout.

    base: how the model is made; num_merges 0: with GPT-2's own vocabulary of 50,257 tokens, by `_pretrain` here.
    negatives: with so many tokens drawn each step, `_pretrain` takes the loss over them and the batch's own (sampled
    softmax, Jean et al. 2015), a fifth of the time where the vocabulary is most of the model; 0: over all.
    domain_bytes: what analysis and selection read; budgets: what is trained on, the same documents once for every arm,
    so that the steps follow from the tokens these documents take; snippets: what `distill` reads at most; lrs: the
    learning rates that are tried for each budget, with and without reassignment alike, on `tuning_bytes` of other
    held-out text than is scored.
    """

    base: SampleRecipe
    pretraining_bytes: int
    domain_bytes: int
    protected_bytes: int
    budgets: tuple[int, ...]
    swaps: tuple[int, ...]
    scored_bytes: int
    tuning_bytes: int
    block_size: int
    batch_size: int
    lrs: tuple[tuple[float, ...], ...]
    warmup_steps: int
    snippets: int
    negatives: int = 0


SMALL = Size(
    base=SampleRecipe(
        num_merges=7936,  # with 256 bytes 8,192 tokens, then <|endoftext|>
        num_steps=900,
        batch_size=12,
        context=128,
        learning_rate=3e-3,
        warmup_steps=40,
        num_threads=1,
    ),
    pretraining_bytes=8_000_000,
    domain_bytes=4_000_000,
    protected_bytes=1_000_000,
    budgets=(15_000, 60_000),
    swaps=(500, 2000),
    scored_bytes=20_000,
    tuning_bytes=10_000,
    block_size=128,
    batch_size=2,
    lrs=((5e-4, 1e-3, 2e-3, 4e-3, 8e-3), (1e-3, 2e-3, 4e-3)),
    warmup_steps=5,
    snippets=1000,
)
SIZES = {
    "small": SMALL,
    # the same with GPT-2's own vocabulary, most of whose rows so little text never reaches: some five times the time
    "small-gpt2": dataclasses.replace(
        SMALL,
        base=dataclasses.replace(SMALL.base, num_merges=0, num_layers=3, num_heads=3, width=96, num_steps=1200),
        negatives=4096,
    ),
    "gpt2": Size(
        base=SampleRecipe(
            num_merges=0,
            num_layers=12,
            num_heads=12,
            width=768,
            context=1024,
            num_steps=3000,
            batch_size=16,
            learning_rate=6e-4,
            warmup_steps=100,
        ),
        pretraining_bytes=25_000_000,
        domain_bytes=12_000_000,
        protected_bytes=4_000_000,
        budgets=(300_000, 3_000_000),
        swaps=(500, 2000),
        scored_bytes=300_000,
        tuning_bytes=100_000,
        block_size=1024,
        batch_size=8,
        lrs=((1e-4, 2e-4, 4e-4, 8e-4), (1e-4, 2e-4, 4e-4, 8e-4)),
        warmup_steps=10,
        snippets=4000,
    ),
}
# every path of the experiment in few minutes; the figures mean nothing
SIZES["tiny"] = dataclasses.replace(
    SMALL,
    base=SampleRecipe(num_merges=744, num_layers=1, num_heads=1, width=16, context=64, num_steps=20, num_threads=1),
    pretraining_bytes=300_000,
    domain_bytes=400_000,
    protected_bytes=200_000,
    budgets=(2_000, 4_000),
    swaps=(20, 50),
    scored_bytes=2_000,
    tuning_bytes=1_000,
    block_size=64,
    lrs=((1e-3, 4e-3), (1e-3, 4e-3)),
    snippets=20,
)
SIZES["tiny-gpt2"] = dataclasses.replace(
    SIZES["tiny"], base=dataclasses.replace(SIZES["tiny"].base, num_merges=0), negatives=512
)


def documents_of(corpora: Path, name: str) -> Iterator[str]:
    """The documents of one corpus file: articles, groups of reviews, or pieces of books at line ends."""
    with lzma.open(corpora / f"{name}.txt.xz", "rt", encoding="utf-8", newline="\n") as source:
        text = source.read()
    if name == "korean_reviews":
        lines = [line for line in text.split("\n") if line.strip()]
        for start in range(0, len(lines), REVIEWS_AT_ONCE):
            yield "\n".join(lines[start : start + REVIEWS_AT_ONCE])
    elif name == GENERAL:
        yield from _pieces(text)
    else:
        yield from (document for document in text.split("\n\n") if document.strip())


def _pieces(text: str) -> Iterator[str]:
    lines: list[str] = []
    size = 0
    for line in text.split("\n"):
        lines.append(line)
        size += len(line.encode()) + 1
        if size >= PIECE_BYTES:
            yield "\n".join(lines)
            lines, size = [], 0
    if lines:
        yield "\n".join(lines)


def mixed(documents: Iterator[str]) -> list[str]:
    """In the order of their hashes: the first few of them are a sample of all."""
    return sorted(set(documents), key=lambda text: hashlib.sha256(text.encode()).digest())


def first_bytes(documents: list[str], num_bytes: int) -> list[str]:
    """Whole documents from the start, until they reach `num_bytes`."""
    taken, size = [], 0
    for text in documents:
        if size >= num_bytes:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def write_documents(path: Path, documents: list[str]) -> None:
    """One JSON line a document."""
    with atomic_file(path) as stream:
        for text in documents:
            stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def read(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line)["text"] for line in stream]


def prepare_text(corpora: Path, folder: Path, size: Size) -> None:
    """Write raw/<domain>/, protected/, pretraining.jsonl and general_heldout.jsonl below `folder`."""
    with atomic_directory(folder) as staging:
        for domain, name in DOMAINS.items():
            (staging / "raw" / domain).mkdir(parents=True)
            chosen = first_bytes(mixed(documents_of(corpora, name)), size.domain_bytes)
            write_documents(staging / "raw" / domain / f"{domain}.jsonl", chosen)
        books = mixed(documents_of(corpora, GENERAL))
        held_out = books[::GENERAL_HELD_OUT]
        rest = [text for index, text in enumerate(books) if index % GENERAL_HELD_OUT]
        pretraining = first_bytes(rest, size.pretraining_bytes)
        (staging / "protected").mkdir()
        write_documents(staging / "protected" / "books.jsonl", first_bytes(pretraining, size.protected_bytes))
        write_documents(staging / "pretraining.jsonl", pretraining)
        write_documents(staging / "general_heldout.jsonl", held_out)


def pretrain(text: Path, folder: Path, size: Size, gpt2_dir: Path, device: str, threads: int) -> None:
    """Train a GPT-2 on the books in `text`; write it and its tokenizer to `folder`, whole or not at all."""
    from ivr.base.tokenizer import read_vocab_and_merges, write_tokenizer

    started, cpu = time.monotonic(), time.process_time()
    texts = read(text / "pretraining.jsonl")
    with atomic_directory(folder) as staging:
        if size.base.num_merges:
            figures = train_sample_model(texts, size.base, staging)
        else:
            write_tokenizer(staging, *read_vocab_and_merges(gpt2_dir, "gpt2"), size.base.context)
            figures = _pretrain(texts, staging, size.base, size.negatives, device, threads)
    figures |= {"seconds": round(time.monotonic() - started, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    write_json(folder.parent / "pretraining.json", figures)


def _pretrain(
    texts: list[str], folder: Path, recipe: SampleRecipe, negatives: int, device: str, threads: int
) -> dict[str, Any]:
    """AdamW with warm-up and cosine over random windows; products in bfloat16 on a GPU."""
    import torch
    from tokenizers import Tokenizer
    from transformers import GPT2LMHeadModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # a text may spell the end of a text
    end = tokenizer.token_to_id("<|endoftext|>")
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    ids_T = torch.tensor([token_id for one in encodings for token_id in [*one.ids, end]])
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    config = model_config(recipe, tokenizer.get_vocab_size())
    assert end == config.eos_token_id
    model = GPT2LMHeadModel(config).to(device).train()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))
    on_gpu = torch.device(device).type == "cuda"
    losses = []
    with Progress("pre-train", total=recipe.num_steps, unit="steps") as bar:
        for step in range(recipe.num_steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * schedule(step, recipe.warmup_steps, recipe.num_steps)
            starts_B = torch.randint(len(ids_T) - recipe.context, (recipe.batch_size,))
            batch_BT = ids_T[starts_B[:, None] + torch.arange(recipe.context + 1)].to(device)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=on_gpu):
                states_BTD = model.transformer(batch_BT[:, :-1], use_cache=False).last_hidden_state
                loss = _loss(states_BTD.flatten(0, 1), model.lm_head.weight, batch_BT[:, 1:].flatten(), negatives)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimizer.step()
            losses.append(loss.item())
            bar.update(1, note=f"loss {losses[-1]:.3f}")
    model.cpu().save_pretrained(folder)
    tail = losses[-max(1, len(losses) // 20) :]
    return {
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_tokens": len(ids_T),
        "num_steps": recipe.num_steps,
        "final_loss": round(sum(tail) / len(tail), 4),
    }


def _loss(states_ND: Any, head_VD: Any, targets_N: Any, negatives: int) -> Any:
    """Cross-entropy in nats; over a sample of the vocabulary where `negatives` is not 0.

    The candidates are the targets' own tokens and draws from all others; the draws stand for every token that is not a
    candidate, so log(others / draws) is added to their logits.
    """
    import torch

    if not negatives:
        return torch.nn.functional.cross_entropy((states_ND @ head_VD.T).float(), targets_N)
    present, places_N = torch.unique(targets_N, return_inverse=True)
    free_V = torch.ones(len(head_VD), dtype=torch.bool, device=targets_N.device)
    free_V[present] = False
    others = torch.nonzero(free_V)[:, 0]
    drawn = others[torch.randperm(len(others), device=others.device)[:negatives]]
    candidates = torch.cat([present, drawn])
    logits_NC = (states_ND @ head_VD[candidates].T).float()
    correction_C = torch.zeros(len(candidates), device=others.device)
    correction_C[len(present) :] = float(torch.tensor(len(others) / max(1, len(drawn))).log())
    return torch.nn.functional.cross_entropy(logits_NC + correction_C, places_N)
