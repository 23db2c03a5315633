"""The rows of a repeat table as a pattern wants them: what behaves alike together, and who gives way to whom."""

from collections.abc import Mapping, Sequence

from ivr.tokenizer.repeats.tables import SHORTEST

Longer = Mapping[str, Sequence[str]]  # a context -> longer ones that fit only where it fits too


def next_longer(known: Sequence[str], *, ends: bool) -> Longer:
    """For each string the longer ones that end (begin) with it, and with no other of the known ones in between."""
    short = {text for text in known if text}
    found: dict[str, list[str]] = {}
    for text in sorted(short):
        parts = (text[len(text) - size :] if ends else text[:size] for size in range(len(text) - 1, 0, -1))
        if (nearest := next((part for part in parts if part in short), None)) is not None:
            found.setdefault(nearest, []).append(text)
    return found


def by_value(rows: dict[str, tuple[int, ...]]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Right contexts that behave alike, together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for r, counts in rows.items():
        groups.setdefault(counts, []).append(r)
    return {tuple(rights): counts for counts, rights in groups.items()}


def by_length(strings: Sequence[str]) -> list[list[str]]:
    """An engine that looks back wants alternatives of one length."""
    groups: dict[int, list[str]] = {}
    for string in strings:
        groups.setdefault(len(string), []).append(string)
    return list(groups.values())


def length_ranges(counts: tuple[int, ...]) -> list[tuple[int, int | None, int]]:
    """(low, high, count) of equal counts among lengths >= SHORTEST; the last one has no upper end."""
    found: list[tuple[int, int | None, int]] = []
    for length in range(SHORTEST, len(counts) + 1):
        count = counts[length - 1]
        if found and found[-1][2] == count:
            found[-1] = (found[-1][0], length, count)
        else:
            found.append((length, length, count))
    low, _, count = found[-1]
    found[-1] = (low, None, count)
    return found
