"""Swapping token strings in place: from candidates to rules, from rules to a tokenizer, and back."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.tokenizer_steps import steps as steps_of
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import CorruptInputError
from ivr.tokenizer.remap.rules import RemapRules, Swap
from ivr.tokenizer.remap.whole_pretokens import cut_again, uncut_pattern
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE
from ivr.tokenizer.select.new_token_scores import best_splits, new_token_score, raised_scores
from ivr.tokenizer.select.output.table import Candidate
from ivr.tokenizer.superwords.boundaries import cannot_be_placed
from ivr.tokenizer.superwords.placing import (
    NOT_ONE_PATTERN,
    Steps,
    can_be_placed,
    place_superwords,
    take_out_superwords,
    with_patterns,
)
from ivr.tokenizer.superwords.scores import keeps_whole, superword_scores
from ivr.tokenizer.unigram_file import NEVER, SUPERWORDS_BELOW, token_bytes, unigram_tokenizer


@dataclass(frozen=True)
class DistilledTokenizer:
    """A distilled tokenizer read back: strings and integer scores by id."""

    tokenizer: Tokenizer
    strings: list[str]
    scores_V: np.ndarray

    def added(self) -> frozenset[int]:
        return frozenset(self.tokenizer.get_added_tokens_decoder())

    def token_bytes(self) -> list[bytes]:
        """The bytes of every id; empty for one that the model never gives."""
        return token_bytes(self.strings, self.scores_V)


def check_candidates(
    path: Path, candidates: Sequence[Candidate], distilled: DistilledTokenizer, split: PretokenSplitter
) -> None:
    """Refuse the first row that cannot be carried out, naming line, value and reason. `split`: the original's."""
    added = distilled.added()
    cut_out = [
        token.content
        for token in distilled.tokenizer.get_added_tokens_decoder().values()
        if not (token.special or token.single_word)
    ]
    places = {token: token_id for token_id, token in enumerate(distilled.strings)}
    seen: dict[int | str, str] = {}  # id or string -> where
    unplaced = "" if can_be_placed(split) else NOT_ONE_PATTERN
    for row in candidates:
        where = f"{path}, " + _place(row)
        if not 0 <= row.old_id < len(distilled.strings):
            raise CorruptInputError(f"{where}: old_id {row.old_id} is not an id (0 to {len(distilled.strings) - 1})")
        kind = _kept_kind(row.old_id, distilled, added)
        if kind:
            raise CorruptInputError(f"{where}: old_id {row.old_id} is {kind} and cannot be given away")
        if distilled.strings[row.old_id] != row.old_token:
            raise CorruptInputError(
                f"{where}: old_token {row.old_token!r} is not id {row.old_id}, {distilled.strings[row.old_id]!r}; "
                f"run `ivr select` for this tokenizer"
            )
        if row.new_token in places:
            raise CorruptInputError(f"{where}: new_token {row.new_token!r} is id {places[row.new_token]} already")
        for value in (row.old_id, row.new_token):
            if value in seen:
                column = "old_id" if value == row.old_id else "new_token"
                raise CorruptInputError(f"{where}: {column} {value!r} stands in {seen[value]} already")
            seen[value] = _place(row)
        pretokens = pretokens_of(row.new_token, split)
        highest = SUPERWORDS_BELOW if len(pretokens) > 1 else EXACT_IN_FILE
        if row.score is not None and abs(row.score) >= highest:
            raise CorruptInputError(f"{where}: score {row.score} is not below {highest}, where sums stay exact")
        if held := next((content for content in cut_out if content in "".join(pretokens)), None):
            raise CorruptInputError(
                f"{where}: new_token {''.join(pretokens)!r} holds the added token {held!r}, which is cut out of text "
                "before: it would never be produced"
            )
        if len(pretokens) > 1 and (why := cannot_be_placed(pretokens, split) or unplaced):
            raise CorruptInputError(
                f"{where}: new_token {''.join(pretokens)!r} is split into {pretokens} before the model sees it: {why}"
            )


def _kept_kind(token_id: int, distilled: DistilledTokenizer, added: frozenset[int]) -> str:
    """What an id is that keeps its string whatever is asked; empty for one that may be given away."""
    if token_id in added:
        return "an added token"
    if len(distilled.strings[token_id]) == 1:
        return "a byte"
    return "no token of any text" if distilled.scores_V[token_id] == NEVER else ""


def _place(row: Candidate) -> str:
    return f"line {row.line}"


def pretokens_of(token: str, split: PretokenSplitter) -> list[str]:
    """The pretokens that a string in the byte alphabet spans; part of a character is never a pretoken of its own."""
    try:
        text = from_alphabet(token).decode("utf-8")
    except UnicodeDecodeError:
        return [token]
    first, *others = split(text)
    return [first if text.startswith(first) else first.removeprefix(" "), *others]  # it may put a blank in front


def make_swaps(
    candidates: Sequence[Candidate], distilled: DistilledTokenizer, bpe: ByteLevelBpe, split: PretokenSplitter
) -> tuple[Swap, ...]:
    """Pieces and scores for every row, sorted by id; a score too low, or none, becomes the least one needed."""
    parts = [pretokens_of(row.new_token, split) for row in candidates]
    words = [row for row, pretokens in zip(candidates, parts, strict=True) if len(pretokens) == 1]
    superwords = [row for row, pretokens in zip(candidates, parts, strict=True) if len(pretokens) > 1]
    new = Batch.of([from_alphabet(row.new_token) for row in words])
    splits = UnigramEncoder(distilled.token_bytes(), distilled.scores_V).best_totals(new)
    tokens, scores_V = distilled.token_bytes(), distilled.scores_V.copy()
    for place, row in enumerate(words):
        tokens[row.old_id] = new.string(place)
        alone = new_token_score(int(splits[place]), len(row.new_token))
        scores_V[row.old_id] = alone if row.score is None else row.score
    for row in superwords:
        tokens[row.old_id] = b""
    scores_V = raised_scores(tokens, scores_V, [row.old_id for row in words])
    for row in words:
        if scores_V[row.old_id] >= EXACT_IN_FILE:
            raise CorruptInputError(
                f"{_place(row)} of the candidates: new_token {row.new_token!r} needs the score {scores_V[row.old_id]} "
                f"for its own string, and a file holds none from {EXACT_IN_FILE} on exactly; take this row out"
            )
    scores_V[[row.old_id for row in superwords]] = superword_scores(
        tokens, scores_V, [from_alphabet(row.new_token) for row in superwords], [row.score or 0 for row in superwords]
    )
    for row in superwords:
        if scores_V[row.old_id] >= SUPERWORDS_BELOW:
            raise CorruptInputError(
                f"{_place(row)} of the candidates: new_token {row.new_token!r} is too long: its score would be "
                f"{scores_V[row.old_id]}, and sums are right below {SUPERWORDS_BELOW}; take this row out"
            )
    pieces = _pieces(candidates, parts, bpe)
    swaps = (
        Swap(
            row.old_id, row.old_token, row.new_token, pieces[place],
            int(scores_V[row.old_id]), int(distilled.scores_V[row.old_id]), len(parts[place]),
        )
        for place, row in enumerate(candidates)
    )  # fmt: skip
    return tuple(sorted(swaps, key=lambda swap: swap.id))


def _pieces(
    candidates: Sequence[Candidate], parts: Sequence[Sequence[str]], bpe: ByteLevelBpe
) -> list[tuple[int, ...]]:
    """The original tokenizer's ids of every new string: of a superword's pretokens, one behind another."""
    texts = [
        [from_alphabet(row.new_token)] if len(pretokens) == 1 else [text.encode() for text in pretokens]
        for row, pretokens in zip(candidates, parts, strict=True)
    ]
    encoded = BpeEncoder(bpe).encode(Batch.of([text for row in texts for text in row]))
    ends = np.cumsum([0, *map(len, texts)])
    return [
        tuple(token_id for place in range(begin, end) for token_id in encoded.row(place).tolist())
        for begin, end in pairwise(ends.tolist())
    ]


def check_rules(
    path: Path, rules: RemapRules, distilled: DistilledTokenizer, bpe: ByteLevelBpe, split: PretokenSplitter
) -> None:
    """Refuse the first swap of a rules file that cannot be carried out as it stands, naming line, value and reason."""
    rows = [Candidate(swap.line, swap.id, swap.old, swap.new, swap.score) for swap in rules.swaps]
    check_candidates(path, rows, distilled, split)
    original = bpe.token_bytes()
    tokens, scores_V = distilled.token_bytes(), distilled.scores_V.copy()
    for swap in rules.swaps:
        tokens[swap.id], scores_V[swap.id] = from_alphabet(swap.new), swap.score
    splits = best_splits(tokens, scores_V, [swap.id for swap in rules.swaps])
    for swap in rules.swaps:
        where = f"{path}, line {swap.line}"
        unknown = [piece for piece in swap.pieces if not 0 <= piece < len(original) or not original[piece]]
        if unknown:
            raise CorruptInputError(f"{where}: pieces {list(swap.pieces)}: {unknown[0]} is no token of the original")
        if b"".join(original[piece] for piece in swap.pieces) != tokens[swap.id]:
            raise CorruptInputError(f"{where}: pieces {list(swap.pieces)} do not make {swap.new!r}")
        if swap.old_score != distilled.scores_V[swap.id]:
            raise CorruptInputError(
                f"{where}: old_score {swap.old_score} is not the score of id {swap.id}, {distilled.scores_V[swap.id]}"
            )
        spans = len(pretokens_of(swap.new, split))
        if swap.words != spans:
            raise CorruptInputError(f"{where}: words {swap.words}, but {swap.new!r} spans {spans}")
        whole = keeps_whole(swap.score, splits[swap.id]) if spans > 1 else swap.score > splits[swap.id]
        if not whole:
            raise CorruptInputError(
                f"{where}: score {swap.score} is too low, {swap.new!r} would be split: its best split scores "
                f"{splits[swap.id]}"
            )


def apply_swaps(distilled: DistilledTokenizer, swaps: Sequence[Swap], split: PretokenSplitter) -> Tokenizer:
    """The tokenizer in which every swapped id has its new string and score; all others keep both.

    Pretokens that hold a new string are not cut any more, and superwords are taken whole. `split`: the original's.
    """
    strings, scores_V = list(distilled.strings), distilled.scores_V.copy()
    for swap in swaps:
        strings[swap.id], scores_V[swap.id] = swap.new, swap.score
    texts, superwords = strings_of(swaps, split)
    tokenizer = with_steps(
        distilled.tokenizer,
        lambda steps: place_superwords(
            with_patterns(steps, lambda pattern: uncut_pattern(pattern, texts, split)), superwords, split
        ),
    )
    return unigram_tokenizer(tokenizer, strings, scores_V)


def undo_swaps(remapped: DistilledTokenizer, swaps: Sequence[Swap], split: PretokenSplitter) -> Tokenizer:
    """The inverse of `apply_swaps`. Raises CorruptInputError where an id does not hold the string that it was given."""
    strings, scores_V = list(remapped.strings), remapped.scores_V.copy()
    for swap in swaps:
        if not 0 <= swap.id < len(strings) or strings[swap.id] != swap.new:
            raise CorruptInputError(f"id {swap.id} is not {swap.new!r} in the remapped tokenizer; run `ivr remap`")
        strings[swap.id], scores_V[swap.id] = swap.old, swap.old_score
    texts, superwords = strings_of(swaps, split)
    tokenizer = with_steps(
        remapped.tokenizer,
        lambda steps: with_patterns(
            take_out_superwords(steps, superwords, split), lambda pattern: cut_again(pattern, texts, split)
        ),
    )
    return unigram_tokenizer(tokenizer, strings, scores_V)


def strings_of(swaps: Sequence[Swap], split: PretokenSplitter) -> tuple[list[str], list[list[str]]]:
    """(the new strings inside pretokens, the pretokens of every superword).

    Whole characters only; part of one is nothing that a pattern could look for.
    """
    texts, superwords = [], []
    for swap in swaps:
        pretokens = pretokens_of(swap.new, split)
        if len(pretokens) > 1:
            superwords.append(pretokens)
        else:
            with contextlib.suppress(UnicodeDecodeError):
                texts.append(from_alphabet(swap.new).decode("utf-8"))
    return texts, superwords


def with_steps(tokenizer: Tokenizer, change: Callable[[Steps], Steps]) -> Tokenizer:
    """A copy whose pre-tokenizer's steps are changed."""
    spec = json.loads(tokenizer.to_str())
    if spec["pre_tokenizer"]["type"] != "Sequence":
        return tokenizer  # nothing but ByteLevel
    changed = change(steps_of(spec["pre_tokenizer"], "pretokenizers"))
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": changed}
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
