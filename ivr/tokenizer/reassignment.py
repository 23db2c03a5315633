"""Swapping token strings in place: from candidates to rules, from rules to a tokenizer, and what must hold after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import CorruptInputError
from ivr.tokenizer.candidates_file import Candidate
from ivr.tokenizer.comparison import compare_pretokens, one_pretoken
from ivr.tokenizer.greedy import entry_score
from ivr.tokenizer.rules import Swap
from ivr.tokenizer.unigram_file import unigram_tokenizer


@dataclass(frozen=True)
class DistilledTokenizer:
    """A distilled tokenizer read back: strings and integer scores by id."""

    tokenizer: Tokenizer
    strings: list[str]
    scores_V: np.ndarray

    def added(self) -> frozenset[int]:
        return frozenset(self.tokenizer.get_added_tokens_decoder())

    def token_bytes(self) -> list[bytes]:
        """The bytes of every id; empty for an added token."""
        added = self.added()
        return [b"" if token_id in added else from_alphabet(token) for token_id, token in enumerate(self.strings)]


def check_candidates(path: Path, candidates: Sequence[Candidate], distilled: DistilledTokenizer) -> None:
    """Refuse the first row that cannot be carried out, naming line, value and reason."""
    added = distilled.added()
    places = {token: token_id for token_id, token in enumerate(distilled.strings)}
    split = PretokenSplitter(distilled.tokenizer)
    seen: dict[int | str, str] = {}  # id or string -> where
    for row in candidates:
        where = f"{path}, " + _place(row)
        if not 0 <= row.old_id < len(distilled.strings):
            raise CorruptInputError(f"{where}: old_id {row.old_id} is not an id (0 to {len(distilled.strings) - 1})")
        if row.old_id in added or len(distilled.strings[row.old_id]) == 1:
            kind = "an added token" if row.old_id in added else "a byte"
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
        try:
            text = from_alphabet(row.new_token).decode("utf-8")
        except UnicodeDecodeError:
            continue  # part of a character: never a pretoken of its own
        if len(split(text)) != 1:
            raise CorruptInputError(f"{where}: new_token {text!r} is split into {split(text)} before the model sees it")


def _place(row: Candidate) -> str:
    return f"line {row.line}" if row.line else f"the swap of id {row.old_id}"


def make_swaps(candidates: Sequence[Candidate], distilled: DistilledTokenizer, bpe: ByteLevelBpe) -> tuple[Swap, ...]:
    """Pieces and scores for every row, sorted by id."""
    new = Batch.of([from_alphabet(row.new_token) for row in candidates])
    pieces = BpeEncoder(bpe).encode(new)
    splits = UnigramEncoder(distilled.token_bytes(), distilled.scores_V).best_totals(new)
    swaps = (
        Swap(
            row.old_id, row.old_token, row.new_token, tuple(pieces.row(place).tolist()),
            entry_score(int(splits[place]), len(row.new_token)),
        )
        for place, row in enumerate(candidates)
    )  # fmt: skip
    return tuple(sorted(swaps, key=lambda swap: swap.id))


def apply_swaps(distilled: DistilledTokenizer, swaps: Sequence[Swap]) -> Tokenizer:
    """The tokenizer in which every swapped id has its new string and score; all others keep both."""
    strings, scores_V = list(distilled.strings), distilled.scores_V.copy()
    for swap in swaps:
        strings[swap.id] = swap.new
        scores_V[swap.id] = swap.score
    return unigram_tokenizer(distilled.tokenizer, strings, scores_V, sorted(distilled.added()))


@dataclass(frozen=True)
class RemapCheck:
    """What was seen of a remapped tokenizer, through the `tokenizers` library."""

    not_to_themselves: list[int]  # new tokens whose own string is segmented otherwise
    pretokens: int
    changed: int  # distinct pretokens encoded otherwise than before
    changed_unaffected: list[str]  # must be empty


def check_remapped(
    distilled: DistilledTokenizer,
    remapped: Tokenizer,
    swaps: Sequence[Swap],
    table: PretokenTable,
    on_batch: Callable[[int], None],
) -> RemapCheck:
    """Every new token is produced for its own string; text without new string or old token is as before."""
    encoded = one_pretoken(remapped)([swap.new for swap in swaps])
    wrong = [swap.id for swap, ids in zip(swaps, encoded, strict=True) if ids != [swap.id]]
    given_away = {swap.id for swap in swaps}
    holds_new = HoldsAny([from_alphabet(swap.new) for swap in swaps])
    changed = list(compare_pretokens(distilled.tokenizer, remapped, table.pretokens, table.counts_P, on_batch))
    return RemapCheck(
        not_to_themselves=wrong,
        pretokens=len(table),
        changed=len(changed),
        changed_unaffected=[
            mismatch.pretoken
            for mismatch in changed
            if given_away.isdisjoint(mismatch.first) and not holds_new(mismatch.pretoken.encode())
        ],
    )


class HoldsAny:
    """`holds(text)`: does a byte string contain any of these?"""

    def __init__(self, strings: Sequence[bytes]) -> None:
        self._by_length: dict[int, set[bytes]] = {}
        for string in strings:
            self._by_length.setdefault(len(string), set()).add(string)

    def __call__(self, text: bytes) -> bool:
        return any(
            text[begin : begin + length] in group
            for length, group in self._by_length.items()
            for begin in range(len(text) - length + 1)
        )
