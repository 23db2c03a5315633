"""Pre-tokenizers of byte-level BPEs beyond GPT-2's, by the kind that people know them by."""

from collections.abc import Callable

from tokenizers import Regex
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
