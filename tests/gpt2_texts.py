"""Text with repeats that GPT-2's own tokenizer is fitted to, once for all tests that need it distilled."""

from itertools import product

RUNS = [
    "ccccc", "c1ccccc1", " aaaaargh", "))))", "======", "-----", "     ", "\n\n\n\n\n", "ㅋㅋㅋㅋㅋ", "00000",
    "....", " www",
]  # fmt: skip
UNITS = ["-", "=", ".", "*", "_", "#", "!", "0", "\n", " ", "c", "C", "ㅋ", "'", '"']
BESIDE_OTHERS = [
    left + unit * length + right
    for unit, length, left, right in product(UNITS, range(3, 41), ["", " ", "(", "a"], ["", ")", "b", "\n"])
]
