"""Stamps and names of many files."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convwright.data.items import MISSING, FileItems, row_digest, row_digests, stamp_of, stamps_of
from convwright.data.packed_names import PackedNames

whole = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(whole, whole, whole), min_size=1, max_size=6))
def test_one_row_has_the_digest_that_it_has_in_a_table(rows: list[tuple[int, int, int]]) -> None:
    table = row_digests(*np.array(rows, np.int64).T)
    assert [row_digest(row) for row in rows] == table.tolist()


def test_one_file_has_the_stamp_that_it_has_among_others(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"1")
    (tmp_path / "old").write_bytes(b"22")
    os.utime(tmp_path / "old", (-9, -9))
    items = FileItems(str(tmp_path), PackedNames(["new", "missing", "old"]))
    assert items.stamps.tolist() == [items.stamp_now(number) for number in range(3)]
    assert items.stamps.tolist() == items.stamps_now(np.arange(3)).tolist()
    assert items.stamps[1] == MISSING
    (tmp_path / "new").write_bytes(b"333")
    assert items.stamp_now(0) not in items.stamps
    assert items.stamp_now(2) == stamp_of(str(tmp_path / "old")) == stamps_of(PackedNames([str(tmp_path / "old")]))[0]


def test_few_names_of_many_do_not_copy_the_others() -> None:
    names = PackedNames(f"class/{number}.png" for number in range(100_000))
    tracemalloc.start()
    try:
        assert list(names.choose(np.array([99_999, 3]))) == ["class/99999.png", "class/3.png"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000
