"""A whole small world below one artifacts directory: model, tokenizers, rules, corpora, manifests; built in a second.

The tokenizers are real (byte-level BPE; a Unigram with the same ids), but nothing here is distilled: scores grow with
length, so that the Unigram tokenizer is only near to the BPE one.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import write_document
from ivr.disk.digest import sha256_file
from ivr.disk.writer import write_json
from ivr.inputs import describe
from ivr.stage import Manifest
from ivr.tokenizer.remap import rules
from ivr.tokenizer.remap.rules import Swap

END = "<|endoftext|>"
WORDS = [
    "the",
    "of",
    "and",
    "cell",
    "protein",
    "binding",
    "in",
    "with",
    "gene",
    "carcinoma",
    "neuron",
    "Ärzte",
    "세포",
    "🙂",
]
NEW_TOKENS = ["Ġcarcinomaneuron", "Ġzebrafish", "geneneuron"]


def documents(count: int, seed: int, words: int = 60) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choice(WORDS) for _ in range(draw.randint(2, words))) for _ in range(count)]


def write_corpus(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for text in texts:
            write_document(stream, text)


def bpe_tokenizer(vocab_size: int = 400) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(documents(200, seed=1), trainer)
    tokenizer.add_special_tokens([END])
    return tokenizer


def unigram_tokenizer(tokens_by_id: list[str]) -> Tokenizer:
    """A Unigram tokenizer over `tokens_by_id`, whose last one is the special token."""
    vocab = [(token, float(len(token) ** 2 - 2)) for token in tokens_by_id]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END, "unk_token": END},
    )


def tiny_model(vocab_size: int, *, context: int = 32, tied: bool = True, dropout: float = 0.1) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=context,
        n_embd=32,
        n_layer=2,
        n_head=2,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
        tie_word_embeddings=tied,
    )
    return GPT2LMHeadModel(config)


def write_manifest(paths: ArtifactPaths, stage: str, outputs: list[Path]) -> None:
    """Record these as what the stage wrote; what it recorded elsewhere before stays recorded."""
    earlier = Manifest.read(paths.manifest(stage))
    kept = [
        row
        for row in (earlier.outputs if earlier else [])
        if not any((paths.root / row.path).is_relative_to(path) for path in outputs)
    ]
    written = describe([path for path in outputs if path.exists()], paths.root)
    Manifest(stage, "", {}, "", [], [*kept, *written]).write(paths.manifest(stage))


def make_world(root: Path, *, tied: bool = True, dropout: float = 0.1, num_documents: int = 120) -> ArtifactPaths:
    """Everything that stages init, distill-tokenizer and remap leave behind."""
    paths = ArtifactPaths(root)
    original = bpe_tokenizer()
    save_tokenizer(original, paths.original_tokenizer)
    size = original.get_vocab_size()
    tokens = [original.id_to_token(i) for i in range(size)]
    save_tokenizer(unigram_tokenizer(tokens), paths.distilled_tokenizer)

    tiny_model(size, tied=tied, dropout=dropout).save_pretrained(paths.base_model)
    save_tokenizer(original, paths.base_model)

    swapped_ids = [size - 2 - 3 * k for k in range(len(NEW_TOKENS))][::-1]
    swaps = []
    for token_id, new in zip(swapped_ids, NEW_TOKENS, strict=True):
        text = original.decoder.decode([new])
        pieces = original.encode(text, add_special_tokens=False).ids
        swaps.append(Swap(token_id, tokens[token_id], new, tuple(pieces), score=len(new) ** 2))
        tokens[token_id] = new
    save_tokenizer(unigram_tokenizer(tokens), paths.remapped_tokenizer)
    write_rules(paths, swaps)

    write_corpus(paths.cleaned_corpora / "domain.txt", [*documents(num_documents, seed=2), f"a {END} b"])
    write_corpus(paths.heldout_corpora / "domain.txt", documents(12, seed=3))
    write_corpus(paths.general_heldout / "general.txt", documents(6, seed=4, words=12))
    write_manifest(
        paths,
        "init",
        [
            paths.original_tokenizer,
            paths.base_model,
            paths.cleaned_corpora,
            paths.heldout_corpora,
            paths.general_heldout,
        ],
    )
    write_manifest(paths, "distill-tokenizer", [paths.distilled_tokenizer])
    write_manifest(paths, "remap", [paths.remapped_tokenizer])
    return paths


def write_rules(paths: ArtifactPaths, swaps: Sequence[Swap], original_sha256: str = "") -> None:
    rules.write_rules(
        paths.remap_rules,
        rules.RemapRules(
            original_sha256 or sha256_file(paths.original_tokenizer / "tokenizer.json"),
            sha256_file(paths.distilled_tokenizer / "tokenizer.json"),
            tuple(swaps),
        ),
    )
