"""selection_log.md: no token ends its cell, its code or its line."""

import re

import pytest

from ivr.tokenizer.select.output.log import _code, selection_log
from ivr.tokenizer.select.selection import Selection


@pytest.mark.parametrize(
    "token", ["``", "`` <script>", "a`b``c```d", "x|y", "two\nlines\tand\r\u2028", "\x1b[2J", "\u202ebackwards", " "]
)
def test_a_token_stays_in_its_cell(token: str) -> None:
    cell = _code(token.encode())
    fence = re.match("`+", cell)
    assert fence is not None and cell.endswith(f" {fence[0]}")
    inner = cell[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall("`+", inner)
    assert not re.search(r"(?<!\\)\|", cell) and len(cell.splitlines()) == 1
    assert "\x1b" not in cell and "\u202e" not in cell


def test_it_says_what_was_counted_in_parts() -> None:
    none = Selection([], 0, 10, 10, 0, 0)
    assert "counted in parts" not in selection_log(none, 1, 1.0, {})
    assert "Not so for 2 distinct pretokens of over 1,024 characters" in selection_log(none, 1, 1.0, {}, num_in_parts=2)
