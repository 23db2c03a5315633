"""Distinct strings get numbers in the order in which they come, up to what 32 bits number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.encoding import string_table
from ivr.encoding.batch import Batch
from ivr.encoding.string_table import StringTable
from ivr.errors import ConfigError


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=60))
def test_numbers_are_those_of_a_dictionary(strings: list[bytes]) -> None:
    table, known = StringTable(), {}
    batch = Batch.of(strings)
    assert table.numbers(batch.data, batch.starts[1:]).tolist() == [known.setdefault(s, len(known)) for s in strings]
    assert [table.strings().string(row) for row in range(len(table))] == list(known)


@pytest.mark.parametrize("count", [2**11, 2**11 + 1])
def test_more_strings_than_there_are_numbers_are_refused(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(string_table, "MOST_STRINGS", 2**11)
    batch, table = Batch.of([b"%d" % number for number in range(count)]), StringTable()
    if count > 2**11:
        with pytest.raises(ConfigError, match="more than 2,048 distinct pretokens"):
            table.numbers(batch.data, batch.starts[1:])
    else:
        assert table.numbers(batch.data, batch.starts[1:]).tolist() == list(range(count))


def test_a_string_longer_than_the_table_so_far() -> None:
    strings = [b"a", b"b" * 1_000_001, b"a", b"b" * 1_000_000, b"b" * 1_000_001]
    batch, table = Batch.of(strings), StringTable()
    assert table.numbers(batch.data, batch.starts[1:]).tolist() == [0, 1, 0, 2, 1]
    assert np.diff(table.strings().starts).tolist() == [1, 1_000_001, 1_000_000]
