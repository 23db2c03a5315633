"""What must hold of a remapped tokenizer, looked at through the `tokenizers` library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from ivr.analysis.tables import PretokenTable
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.tokenizer.remap.apply import DistilledTokenizer
from ivr.tokenizer.remap.rules import Swap
from ivr.tokenizer.verify.comparison import compare_pretokens, one_pretoken


@dataclass(frozen=True)
class RemapCheck:
    """What was seen of a remapped tokenizer, through the `tokenizers` library."""

    not_to_themselves: list[int]  # new tokens whose own string is segmented otherwise
    pretokens: int
    changed: int  # distinct pretokens encoded otherwise than before
    changed_unaffected: list[str]  # must be empty
    lost: list[int]  # ids with their old strings that are not produced for them any more


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
        lost=_lost(distilled, remapped, given_away),
        pretokens=len(table),
        changed=len(changed),
        changed_unaffected=[
            mismatch.pretoken
            for mismatch in changed
            if given_away.isdisjoint(mismatch.first) and not holds_new(mismatch.pretoken.encode())
        ],
    )


def _lost(distilled: DistilledTokenizer, remapped: Tokenizer, given_away: set[int]) -> list[int]:
    gone = given_away | distilled.added()
    kept = [i for i in range(len(distilled.strings)) if i not in gone]
    strings = [distilled.strings[token_id] for token_id in kept]
    before, after = one_pretoken(distilled.tokenizer)(strings), one_pretoken(remapped)(strings)
    return [i for i, first, second in zip(kept, before, after, strict=True) if first == [i] != second]


class HoldsAny:
    """`holds(text)`: does a byte string contain any of these?

    >>> holds = HoldsAny([b"kin", b"ase"])
    >>> holds(b"kinesis"), holds(b"as")
    (True, False)
    """

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
