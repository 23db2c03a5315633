"""Pre-tokenizers of byte-level BPEs beyond GPT-2's, by the kind that people know them by."""

import json
from collections import abc
from collections.abc import Callable
from pathlib import Path

from tiny_run import END, domain_documents
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, trainers
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = r"\p{Lm}\p{Lo}\p{M}"


def by_patterns(*patterns: str) -> PreTokenizer:
    """Splits by each in turn; then bytes."""
    splits = [Split(Regex(pattern), "isolated") for pattern in patterns]
    return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])


OTHERS: dict[str, Callable[[], PreTokenizer]] = {
    "single digits": lambda: Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "digits": lambda: Sequence([Digits(individual_digits=False), ByteLevel(add_prefix_space=False)]),
    "three digits": lambda: by_patterns(
        CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS
    ),
    "one digit": lambda: by_patterns(
        CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS
    ),
    "possessive": lambda: by_patterns(
        CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|" + BLANKS
    ),
    "by case": lambda: by_patterns(
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{CASED}]*[\p{{Ll}}{CASED}]+{CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{CASED}]+[\p{{Ll}}{CASED}]*{CONTRACTIONS}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{BLANKS}"
    ),
    "three splits": lambda: by_patterns(
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        r"[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + BLANKS,
    ),
    "some only": lambda: by_patterns(r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"),
    "a string": lambda: Sequence([Split("ab", "isolated"), ByteLevel(add_prefix_space=False)]),
}
# what no program is made of: the library splits
BY_THE_LIBRARY: dict[str, Callable[[], PreTokenizer]] = {
    "a look behind": lambda: by_patterns("(?<=l)l|."),
    "a repeat of a repeat": lambda: by_patterns("l{1,3}+|."),
    "lazy": lambda: by_patterns("l+?|."),
    "nothing at all": lambda: by_patterns("l*"),
    "pieces removed": lambda: Sequence([Split(Regex("x"), "removed"), ByteLevel(add_prefix_space=False)]),
    "a blank before each part": lambda: Sequence([Digits(), ByteLevel(add_prefix_space=True)]),
    "behind the bytes": lambda: Sequence([ByteLevel(add_prefix_space=False), Split(Regex("(?<=l)(?=l)"), "isolated")]),
}


def trained(
    folder: Path,
    *,
    prefix_space: bool = False,
    added: abc.Sequence[AddedToken] = (),
    size: int = 600,
    splits: PreTokenizer | None = None,
    text: abc.Sequence[str] = (),
) -> Path:
    """A tokenizer directory whose BPE is trained on the domain's documents and `text`, behind this pre-tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splits or ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*domain_documents(seed=4), *text], trainer)
    tokenizer.add_special_tokens([END])
    tokenizer.add_tokens([*added])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    # transformers builds a GPT2Tokenizer anew, with a pre-tokenizer of its own
    kind = "PreTrainedTokenizerFast" if prefix_space or splits else "GPT2Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    return folder
