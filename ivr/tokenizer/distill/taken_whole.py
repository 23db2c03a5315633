r"""Tokens that the base gives for a pretoken that is the token, and nowhere else (`ignore_merges`, as Llama 3 sets it).

Merges do not make them of their own string: ` yöntem` alone is one token, in ` yöntemler` BPE knows nothing of it. A
Unigram model knows its entries everywhere. So such a token scores one more than the best split of its string, which is
enough to win where it is a pretoken; and where it is a part of a longer one, the pre-tokenizer splits inside it, at a
border that BPE has there. The border is the one that the fewest characters beside the token take away; before and
behind these, and before longer strings that vocabulary or text show, nothing is split.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.encoding.utf8_pattern import character_class, quote
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE
from ivr.tokenizer.unigram_file import SUPERWORD_STEP

BLANK = b" "
Lengths = np.ndarray  # bytes of every token, by id


@dataclass
class Inside:
    """Where one such token is split inside longer pretokens. All bytes."""

    token: bytes
    border: int  # bytes of it before the split
    not_behind: set[bytes] = field(default_factory=set)  # no split behind what ends so
    not_before: set[bytes] = field(default_factory=set)  # nor before what begins so


def strings_of(bpe: ByteLevelBpe) -> dict[int, bytes]:
    """id -> bytes of the tokens that are taken whole."""
    return {token_id: from_alphabet(bpe.tokens[token_id]) for token_id in sorted(bpe.whole_ids)}


def with_whole_scores(bpe: ByteLevelBpe, scores_V: np.ndarray) -> np.ndarray:
    """The scores with those of the tokens taken whole: one more than the best split, or what a file holds above it."""
    whole = strings_of(bpe)
    if not whole:
        return scores_V
    best_N = UnigramEncoder(bpe.token_bytes(), scores_V).best_totals(Batch.of([*whole.values()])) + 1
    rounded_N = -(-best_N // SUPERWORD_STEP) * SUPERWORD_STEP
    scores_V = scores_V.copy()
    scores_V[[*whole]] = np.where(best_N < EXACT_IN_FILE, best_N, rounded_N)
    return scores_V


def learn_splits(bpe: ByteLevelBpe, encoder: BpeEncoder, lengths_V: Lengths, pretokens: Sequence[str]) -> list[Inside]:
    """Where to split inside each token taken whole, learnt of characters, vocabulary and these pretokens."""
    whole = [*strings_of(bpe).values()]
    if not whole:
        return []
    tokens = [token for token in bpe.token_bytes() if token]
    characters = _characters(tokens)
    found = [_chosen(token, characters, encoder, lengths_V) for token in whole]
    strings = Batch.of([*tokens, *(text.encode() for text in pretokens)])
    data = strings.data.tobytes()
    for rule in found:
        _heed(rule, data, strings.starts, encoder, lengths_V)
    return found


def _characters(tokens: Sequence[bytes]) -> list[bytes]:
    """Every character that a token holds, but blanks."""
    texts = (token.decode("utf-8", "ignore") for token in tokens)
    return [character.encode() for character in sorted(set().union(*texts)) if not character.isspace()]


def _chosen(token: bytes, characters: Sequence[bytes], encoder: BpeEncoder, lengths_V: Lengths) -> Inside:
    """The rule of a token, from what BPE does beside each character."""
    (alone,) = _ends([token], encoder, lengths_V)
    own = [border for border in alone if border < len(token)]
    before_NB = _has_borders([token + c for c in characters], own, np.zeros(len(characters), int), encoder, lengths_V)
    behind_NB = np.ones_like(before_NB)
    if not token.startswith(BLANK):
        sizes = np.array([len(c) for c in characters], int)
        behind_NB = _has_borders([c + token for c in characters], own, sizes, encoder, lengths_V)
    best = int(np.argmax(before_NB.sum(axis=0) + behind_NB.sum(axis=0)))
    not_behind, not_before = (
        {characters[row] for row in np.flatnonzero(~kept_NB[:, best]).tolist()} for kept_NB in (behind_NB, before_NB)
    )
    return Inside(token, own[best], not_behind, not_before)


def _has_borders(
    strings: Sequence[bytes], borders: Sequence[int], begins_N: np.ndarray, encoder: BpeEncoder, lengths_V: Lengths
) -> np.ndarray:
    """Whether a token of BPE's ends so many bytes behind `begins_N` in each string: bool (N, B)."""
    batch = Batch.of(list(strings))
    found = encoder.encode(batch)
    rows = np.repeat(np.arange(len(strings)), found.lengths())
    ends = np.cumsum(lengths_V[found.ids]) - batch.starts[rows] - begins_N[rows]
    has_NB = np.zeros((len(strings), len(borders)), bool)
    for place, border in enumerate(borders):
        has_NB[rows[ends == border], place] = True
    return has_NB


def _ends(strings: Sequence[bytes], encoder: BpeEncoder, lengths_V: Lengths) -> list[list[int]]:
    """Where BPE's tokens end in each."""
    found = encoder.encode(Batch.of(list(strings)), threads=1)
    return [np.cumsum(lengths_V[found.row(row)]).tolist() for row in range(len(strings))]


def _heed(rule: Inside, data: bytes, starts_N: np.ndarray, encoder: BpeEncoder, lengths_V: Lengths) -> None:
    """Add what stands around the token wherever the rule would split and BPE has no border."""
    held = [(string, at) for string, at in _holding(rule.token, data, starts_N) if _splits(rule, string, at)]
    found = _ends([string for string, _ in held], encoder, lengths_V)
    for (string, at), ends in zip(held, found, strict=True):
        if at + rule.border not in ends:
            before, behind = string[:at], string[at + len(rule.token) :]
            if behind:
                rule.not_before.add(behind)
            else:
                rule.not_behind.add(before)


def _holding(token: bytes, data: bytes, starts_N: np.ndarray) -> Iterator[tuple[bytes, int]]:
    """(string, where the token begins in it) of all that hold it and more; one after another in `data`."""
    at = data.find(token)
    while at >= 0:
        row = int(np.searchsorted(starts_N, at, side="right")) - 1
        begin, end = int(starts_N[row]), int(starts_N[row + 1])
        if at + len(token) <= end and end - begin > len(token):
            yield data[begin:end], at - begin
        at = data.find(token, at + 1)


def _splits(rule: Inside, string: bytes, at: int) -> bool:
    before, behind = string[:at], string[at + len(rule.token) :]
    return not (
        (before and before.endswith(tuple(rule.not_behind))) or (behind and behind.startswith(tuple(rule.not_before)))
    )


# the pattern ----------------------------------------------------------------------------------------------------------
Trie = dict[str, "Trie"]
LEAF = ""  # under this key a node keeps what is to follow, as an alternative


def splitting_pattern(rules: Sequence[Inside]) -> str:
    """Matches a pretoken (in the byte alphabet) from its beginning, or the last split, to the next; "" for no rules.

    A pretoken that is such a token, and holds another, is matched whole.
    """
    if not rules:
        return ""
    tokens = [rule.token for rule in rules]
    holders = [token for token in tokens if sum(token.count(other) for other in tokens) > 1]
    kept = [rf"\A(?:{_alternatives([(to_alphabet(token), '') for token in sorted(holders)])})\z"] if holders else []
    first = [(to_alphabet(rule.token[: rule.border]), _ahead(rule, at_end=False)) for rule in rules]
    later = [
        (to_alphabet(rule.token[: rule.border]), _not_behind(rule) + _ahead(rule, at_end=True))
        for rule in rules
        if not rule.token.startswith(BLANK)
    ]
    starts = character_class(sorted({text[0] for text, _ in later}))
    inner = [rf"\G.*?(?={starts})(?<=.)(?:{_alternatives(later)})"] if later else []
    return "|".join([*kept, rf"\A(?:{_alternatives(first)})", *inner])


def patterns(pattern: str, rules: Sequence[Inside]) -> list[str]:
    """What pretokens are split by, in order: inside such tokens, and at repeats, which is `pattern` ("" for none).

    Such a token that is a repeat is split as one where a longer pretoken holds it. By itself it is matched whole; so,
    wrongly, is what a split inside another such token leaves of a longer pretoken when it is this very string.
    """
    repeats: set[bytes] = set()
    if pattern:
        split = Split(Regex(pattern), "isolated").pre_tokenize_str
        repeats = {rule.token for rule in rules if len(split(to_alphabet(rule.token))) > 1}
    inside = splitting_pattern([rule for rule in rules if rule.token not in repeats])
    if repeats:
        pattern = rf"\A(?:{_alternatives([(to_alphabet(token), '') for token in sorted(repeats)])})\z|{pattern}"
    return [each for each in (inside, pattern) if each]


def _ahead(rule: Inside, *, at_end: bool) -> str:
    """Zero-width behind the split: the rest of the token, and nothing before which it is not split."""
    rest, others = quote(to_alphabet(rule.token[rule.border :])), _any(rule.not_before)
    return f"(?={rest}(?:{others}){'' if at_end else '.'})"


def _any(texts: set[bytes]) -> str:
    return f"(?!{'|'.join(quote(to_alphabet(text)) for text in sorted(texts))})" if texts else ""


def _not_behind(rule: Inside) -> str:
    """Zero-width behind what is before the split: nothing stands before the token behind which it is not split."""
    first = quote(to_alphabet(rule.token[: rule.border]))
    return "".join(f"(?<!{quote(to_alphabet(text))}{first})" for text in sorted(rule.not_behind))


def _alternatives(texts: Sequence[tuple[str, str]]) -> str:
    """A pattern for any of these texts, each with what is to follow it; decided character by character."""
    root: Trie = {}
    follow: dict[str, list[str]] = {}
    for text, behind in texts:
        follow.setdefault(text, []).append(behind)
        node = root
        for character in text:
            node = node.setdefault(character, {})
    return _written(root, "", follow)


def _written(node: Trie, text: str, follow: dict[str, list[str]]) -> str:
    branches = [quote(character) + _written(child, text + character, follow) for character, child in node.items()]
    branches += follow.get(text, [])
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def report(rules: Sequence[Inside]) -> dict[str, int]:
    """For the certificate: how many tokens are taken whole, and beside how many strings they are not split."""
    beside = sum(len(rule.not_before) + len(rule.not_behind) for rule in rules)
    return {"tokens": len(rules), "not_split_beside": beside}
