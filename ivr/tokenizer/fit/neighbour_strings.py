"""Short strings of every character between two that share a token with it: the likeliest quarrels of two tokens.

In `JBW` both `JB` and `BW` are tokens, and BPE takes the one that was merged first. Few texts hold such a string, but
there are not many of them: a hundred thousand for GPT-2. So all are fitted. Where a token holds a part of a character
beside a unit (`쉴다섯`: `ìī`,`´ëĭ¤`,`ìĦ¯`) the pairs can be a million: these are tested, and fitted where they lose.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise, product

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.string_table import StringTable
from ivr.tokenizer.fit.strings import LONGEST_CHARACTER, rows_with_periods, single_pretokens
from ivr.tokenizer.repeats.characters import Characters
from ivr.tokenizer.repeats.contexts import Contexts, Side
from ivr.tokenizer.repeats.tables import SHORTEST, text_of

PARTS = frozenset(map(chr, range(0xDC80, 0xDD00)))  # stand for bytes that are not whole characters


def neighbour_strings(
    tokens: Iterable[str], contexts: Sequence[Contexts], splitter: PretokenSplitter, characters: Characters
) -> list[str]:
    """`x y r` and `x y y r` of every ASCII character y, and of every unit of `contexts`, in order.

    `tokens`: the model's, in the byte alphabet. x and r are characters, or nothing; for a part of a character those
    that hold it, on one side. Where every text begins with a blank, all these have one in front, too. Left out is what
    is not one pretoken.
    """
    lefts: dict[str, set[str]] = defaultdict(lambda: {""})
    rights: dict[str, set[str]] = defaultdict(lambda: {""})
    for token in tokens:
        text = _text(token)
        for before, after in pairwise(text):
            lefts[after].add(before)
            rights[before].add(after)
    around = {unit: (lefts[unit], rights[unit]) for unit in {*lefts, *rights} if unit.isascii()}
    for context in contexts:
        befores, afters = ({"", *map(_text, sides)} for sides in (context.lefts, context.rights))
        around.setdefault(_text(context.unit), (befores, afters))
    strings = {
        left + unit * size + right
        for unit, sides in around.items()
        for left, right in product(*sides)
        for size in range(1, SHORTEST)
        if PARTS.isdisjoint(left + right)
    }
    for context in contexts:
        unit = _text(context.unit)
        lefts_of_parts, rights_of_parts = (characters.around(context, side) for side in Side)
        for size in range(1, SHORTEST):
            strings.update(_text(left) + unit * size for left in lefts_of_parts.values())
            strings.update(unit * size + _text(right) for right in rights_of_parts.values())
    if splitter.adds_prefix_space:
        strings |= {" " + text for text in strings}
    return single_pretokens(sorted(strings), splitter)


def strings_between_parts(contexts: Sequence[Contexts], characters: Characters, *, blanks: bool) -> Batch:
    """`x y r` and `x y y r` of every unit y between two characters of which one at least holds a part of a token.

    Of the characters that BPE ends (begins) with the same token one stands for all; with `blanks` those too, after a
    blank, that end otherwise there. Repeats are left out: they are cut.
    """
    periods = {*range(1, LONGEST_CHARACTER + 1), *(len(from_alphabet(context.unit)) for context in contexts)}
    found = StringTable()  # millions, of which no list is made
    for context in contexts:
        lefts, rights = (sorted(filter(text_of, of)) for of in (context.lefts, context.rights))
        left_parts, right_parts = (list(dict.fromkeys(characters.around(context, side).values())) for side in Side)
        lefts, left_parts = (characters.one_of_each_end(of, blanks=blanks) for of in (lefts, left_parts))
        strings: list[bytes] = []
        for befores, afters in ((left_parts, rights + right_parts), (lefts, right_parts)):
            between = [from_alphabet(context.unit * size + after) for size in range(1, SHORTEST) for after in afters]
            strings += [before + rest for before in map(from_alphabet, befores) for rest in between]
        batch = Batch.of(strings)
        batch = batch.select(np.setdiff1d(np.arange(len(batch)), rows_with_periods(batch, periods)))
        found.numbers(batch.data, batch.starts[1:])
    return found.strings()


def _text(alphabet_text: str) -> str:
    return from_alphabet(alphabet_text).decode(errors="surrogateescape")
