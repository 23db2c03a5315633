"""Text and base model of the experiment: real corpora cut into documents, a small GPT-2 pre-trained on books."""

import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import atomic_directory, atomic_file
from ivr.console import Progress
from ivr.corpus.sample_model import SampleRecipe, train_sample_model

DOMAINS = {"biomedical": "biomedical", "korean": "korean_reviews"}
GENERAL = "english_books"
PIECE_BYTES = 2000  # of a book: a document of the general text
REVIEWS_AT_ONCE = 10  # reviews are 90 bytes: ten make one document, a context's worth
GENERAL_HELD_OUT = 50  # one document in so many


@dataclass(frozen=True)
class Size:
    """One scale of the experiment; bytes of text throughout.

    domain_bytes: what analysis and selection read; budgets: what is trained on, the same documents once for every arm,
    so that the steps follow from the tokens these documents take; snippets: what `distill` reads before, besides.
    """

    recipe: SampleRecipe | None  # None: GPT-2 small with its own tokenizer
    pretraining_bytes: int
    domain_bytes: int
    protected_bytes: int
    budgets: tuple[int, ...]
    swaps: tuple[int, ...]
    scored_bytes: int
    block_size: int
    batch_size: int
    lr: float
    warmup_steps: int
    snippets: int
    pretraining_steps: int = 0  # of GPT-2 small


SIZES = {
    "small": Size(
        recipe=SampleRecipe(
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
        budgets=(5_000, 15_000, 60_000),
        swaps=(500, 2000),
        scored_bytes=20_000,
        block_size=128,
        batch_size=2,
        lr=1e-3,
        warmup_steps=5,
        snippets=1000,
    ),
    "gpt2": Size(
        recipe=None,
        pretraining_bytes=25_000_000,
        domain_bytes=12_000_000,
        protected_bytes=4_000_000,
        budgets=(300_000, 1_000_000, 3_000_000),
        swaps=(1000, 5000),
        scored_bytes=300_000,
        block_size=1024,
        batch_size=8,
        lr=2e-4,
        warmup_steps=10,
        snippets=4000,
        pretraining_steps=3000,
    ),
}


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


def _write(path: Path, documents: list[str]) -> None:
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
            _write(staging / "raw" / domain / f"{domain}.jsonl", chosen)
        books = mixed(documents_of(corpora, GENERAL))
        held_out = books[::GENERAL_HELD_OUT]
        rest = [text for index, text in enumerate(books) if index % GENERAL_HELD_OUT]
        pretraining = first_bytes(rest, size.pretraining_bytes)
        (staging / "protected").mkdir()
        _write(staging / "protected" / "books.jsonl", first_bytes(pretraining, size.protected_bytes))
        _write(staging / "pretraining.jsonl", pretraining)
        _write(staging / "general_heldout.jsonl", held_out)


def pretrain(text: Path, folder: Path, size: Size, gpt2_dir: Path, device: str) -> None:
    """Train tokenizer and model on the books in `text`; write both to `folder`, whole or not at all."""
    with atomic_directory(folder) as staging:
        texts = read(text / "pretraining.jsonl")
        if size.recipe is not None:
            train_sample_model(texts, size.recipe, staging)
        else:
            _pretrain_gpt2(texts, staging, size, gpt2_dir, device)


def _pretrain_gpt2(texts: list[str], folder: Path, size: Size, gpt2_dir: Path, device: str) -> None:
    """GPT-2 small from scratch with GPT-2's own tokenizer, in bfloat16: meant for a GPU."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from ivr.corpus.base_tokenizer import build_tokenizer, read_vocab_and_merges, write_tokenizer
    from ivr.corpus.sample_model import schedule

    vocab, merges = read_vocab_and_merges(gpt2_dir, "gpt2")
    write_tokenizer(folder, vocab, merges, 1024)
    tokenizer = build_tokenizer(vocab, merges)
    tokenizer.encode_special_tokens = True
    ids = [i for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False) for i in [*one.ids, 50256]]
    ids_T = torch.tensor(ids)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
    with Progress("pre-train GPT-2 small", total=size.pretraining_steps, unit="steps") as bar:
        for step in range(size.pretraining_steps):
            for group in optimizer.param_groups:
                group["lr"] = 6e-4 * schedule(step, 100, size.pretraining_steps)
            starts_B = torch.randint(len(ids_T) - 1024, (16,))
            batch_BT = ids_T[starts_B[:, None] + torch.arange(1024)].to(device)
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                loss = model(input_ids=batch_BT, labels=batch_BT).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            bar.update(1, note=f"loss {loss.item():.3f}")
    model.cpu().save_pretrained(folder)
