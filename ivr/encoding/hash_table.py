"""An open-addressing hash table from int64 keys (>= 0) to int32 values, for compiled loops."""

import numpy as np

from ivr.encoding.compiler import compiled

EMPTY = -1


@compiled
def _hash(key, mask):  # type: ignore[no-untyped-def]
    key = (key ^ (key >> 31)) * 0x7FB5D329728EA185
    return ((key ^ (key >> 27)) & 0x7FFFFFFFFFFFFFFF) & mask


@compiled
def insert(keys, values, key, value):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    slot = _hash(key, mask)
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    keys[slot] = key
    values[slot] = value


@compiled
def find(keys, values, key):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    slot = _hash(key, mask)
    while keys[slot] != EMPTY:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + 1) & mask
    return EMPTY


@compiled
def insert_all(keys, values, new_keys, new_values):  # type: ignore[no-untyped-def]
    for i in range(len(new_keys)):
        insert(keys, values, new_keys[i], new_values[i])


def empty_table(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Open-addressing table for `size` entries, at most a third full."""
    slots = 1 << max(4, (3 * size).bit_length())
    return np.full(slots, EMPTY, np.int64), np.full(slots, EMPTY, np.int32)
