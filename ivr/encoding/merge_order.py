"""Which merge makes a token, and whether each comes after those that make its parts.

BPE joins nothing across a border of its result, so inside a token it does what it does to the token's own string: a
token that several merges could make is always made by one of them, and a merge that is not the last one there never
happens at all.
"""

from collections.abc import Iterator, Mapping, Sequence

NO_TOKEN = -1
Merge = Sequence[int]  # ids of the left part, of the right part, of the product


def own_merges(tokens: Sequence[str], merges: Sequence[Merge]) -> dict[int, int]:
    """Product -> rank of the merge that makes it, if anything does; of several that never happen the first.

    `tokens`: the string of every id in the byte alphabet; `merges` in rank order.

    >>> tokens = ["a", "b", "c", "ab", "bc", "abc"]
    >>> own_merges(tokens, [(1, 2, 4), (0, 1, 3), (3, 2, 5), (0, 4, 5)])  # `abc` is a, bc: bc has the lower rank
    {4: 0, 3: 1, 5: 3}
    """
    listed: dict[int, list[int]] = {}
    for rank, (_, _, product) in enumerate(merges):
        listed.setdefault(product, []).append(rank)
    bpe = _OneString(tokens, merges)
    made_by = {product: ranks[0] for product, ranks in listed.items()}
    for product, ranks in listed.items():
        if len(ranks) > 1 and (last := bpe.last_merge(tokens[product])) is not None:
            made_by[product] = last
    return made_by


def out_of_order(
    tokens: Sequence[str], merges: Sequence[Merge], made_by: Mapping[int, int]
) -> list[tuple[int, int, int]]:
    """(rank, its part, rank of the merge that makes the part) of every merge that comes before one of its parts.

    Less those that never happen. `made_by`: as `own_merges` has it. What such a BPE does in one merge depends on what
    it did in the places before: `abcabc` with ab, bc, a+bc, abc+ab, ab+c becomes abcab, c.
    """
    bpe = _OneString(tokens, merges)
    found = []
    for rank, (left, right, product) in enumerate(merges):
        late = [(made_by[part], part) for part in (left, right) if made_by.get(part, -1) > rank]
        if late and made_by[product] == rank and bpe.last_merge(tokens[product]) == rank:
            made, part = late[0]
            found.append((rank, part, made))
    return found


def parts_first(merges: Sequence[Merge]) -> list[int]:
    """The places of these merges, of which no two have one product, in an order in which each follows its parts.

    A merge that comes before one of its parts stands right behind the last one of these.

    >>> parts_first([(3, 2, 5), (0, 1, 3), (2, 2, 4)])
    [1, 0, 2]
    """
    place_of = {product: place for place, (_, _, product) in enumerate(merges)}
    keys: dict[int, tuple[int, int]] = {}

    def key(place: int) -> tuple[int, int]:
        """(the last place among a merge and all that make its parts, how far behind that one it is)."""
        if place not in keys:
            parts = [key(place_of[part]) for part in merges[place][:2] if part in place_of]
            keys[place] = max([(place, 0), *((last, behind + 1) for last, behind in parts)])
        return keys[place]

    return sorted(range(len(merges)), key=lambda place: (key(place), place))


def made_of_itself(tokens: Sequence[str], merges: Sequence[Merge]) -> set[int]:
    """The ids of the tokens that BPE makes of their own string.

    >>> sorted(made_of_itself(["a", "b", "ab", "ba", "bab"], [(0, 1, 2), (3, 1, 4)]))
    [0, 1, 2]
    """
    bpe = _OneString(tokens, merges)
    products = {token_id for token_id, token in enumerate(tokens) if len(token) == 1}
    for product in {product for _, _, product in merges}:
        if (last := bpe.last_merge(tokens[product])) is not None and merges[last][2] == product:
            products.add(product)
    return products


class _OneString:
    """BPE as it is written down: again and again the leftmost pair of the lowest rank. For short strings."""

    def __init__(self, tokens: Sequence[str], merges: Sequence[Merge]) -> None:
        self._id_of = {token: token_id for token_id, token in enumerate(tokens) if len(token) == 1}
        self._products = [product for _, _, product in merges]
        # the library keeps the later rank of a pair that is listed twice
        self._ranks = {(left, right): rank for rank, (left, right, _) in enumerate(merges)}

    def last_merge(self, string: str) -> int | None:
        """The rank of the merge that makes one token of the whole string (byte alphabet); None when nothing does."""
        symbols = [self._id_of.get(character, NO_TOKEN) for character in string]
        rank = None
        while len(symbols) > 1:
            found = min(self._places(symbols), default=None)
            if found is None:
                return None
            rank, place = found
            symbols[place : place + 2] = [self._products[rank]]
        return rank

    def _places(self, symbols: Sequence[int]) -> Iterator[tuple[int, int]]:
        for place in range(len(symbols) - 1):
            rank = self._ranks.get((symbols[place], symbols[place + 1]))
            if rank is not None:
                yield rank, place
