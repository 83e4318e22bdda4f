"""Parts: whole or not there, numbered by rank, and what they say is done."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from torch_anchors.datasets import parts
from torch_anchors.datasets.fields import failed_row
from torch_anchors.datasets.parts import (
    PartWriter,
    parts_of,
    read_part,
    remove_leftovers,
    remove_parts,
    seconds_of,
    statuses,
)
from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import CannotWriteError


def row(id: Any) -> dict[str, Any]:
    return failed_row(str(id), "torn", seed=0, settings="{}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_become_parts(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, 0, 3)
    for i in range(7):
        writer.add(row(i))
    assert names(tmp_path) == ["part-000-000001.parquet", "part-000-000002.parquet"]
    writer.flush()
    writer.flush()
    assert len(names(tmp_path)) == 3
    assert dict(statuses(tmp_path)) == {str(i): "failed" for i in range(7)}
    assert [read_part(path).num_rows for path in parts_of(tmp_path)] == [3, 3, 1]
    assert writer.counts == {"failed": 7}


def test_parts_tell_how_long_they_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(parts.time, "monotonic", lambda: now[0])
    assert seconds_of(tmp_path) == {}
    for rank, seconds in ((0, (2.5, 4.0)), (0, (1.0,)), (1, (8.0,))):  # rank 0 was interrupted once
        now[0] += 1000
        writer = PartWriter(tmp_path, rank, 1)
        for one in seconds:
            now[0] += one
            writer.add(row(now[0]))
    assert seconds_of(tmp_path) == {0: 7.5, 1: 8.0}


def test_a_later_writer_goes_on_with_the_numbers_of_its_rank(tmp_path: Path) -> None:
    for rank in (0, 1, 0):
        writer = PartWriter(tmp_path, rank, 1)
        writer.add(row(rank))
    assert names(tmp_path) == ["part-000-000001.parquet", "part-000-000002.parquet", "part-001-000001.parquet"]


def test_a_part_is_written_after_a_while_although_it_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(parts.time, "monotonic", lambda: now[0])
    writer = PartWriter(tmp_path, 0, 1000)
    writer.add(row(0))
    now[0] += parts.LONGEST - 1
    writer.add(row(1))
    assert not names(tmp_path)
    now[0] += 2
    writer.add(row(2))
    writer.add(row(3))
    assert [read_part(path).num_rows for path in parts_of(tmp_path)] == [3]


def test_a_full_disk_leaves_the_parts_before_and_the_rows_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = PartWriter(tmp_path, 0, 2)
    writer.add(row(0))
    writer.add(row(1))
    with monkeypatch.context() as patch:

        def full(table: Any, file: Any, **more: Any) -> None:
            file.write(b"PAR1 half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(pyarrow.parquet, "write_table", full)
        writer.add(row(2))
        with pytest.raises(CannotWriteError, match=r"000002\.parquet cannot be written: No space left on device"):
            writer.add(row(3))
    assert names(tmp_path) == ["part-000-000001.parquet"]
    writer.flush()
    assert sorted(id for id, _ in statuses(tmp_path)) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_part_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part-000-000001.parquet").write_bytes(content)
    with pytest.raises(ArgumentError, match=r"part-000-000001\.parquet cannot be read .* remove it, and the same"):
        list(statuses(tmp_path))


def test_only_names_of_ours_are_parts(tmp_path: Path) -> None:
    for name in ("part-000-000001.parquet", "part-0-1.parquet", "other.parquet", ".part-000-000002.parquet.7.part"):
        (tmp_path / name).touch()
    assert [path.name for path in parts_of(tmp_path)] == ["part-000-000001.parquet"]
    assert parts_of(tmp_path / "nowhere") == []


RANKS = [f"part-00{rank}-000001.parquet" for rank in range(4)]


@pytest.mark.parametrize(("rank", "left"), [(0, RANKS[1:2]), (1, [RANKS[0], *RANKS[2:]])])
def test_each_rank_removes_its_own_and_the_first_those_of_nobody(tmp_path: Path, rank: int, left: list[str]) -> None:
    for name in [*RANKS, "notes.txt"]:
        (tmp_path / name).touch()
        (tmp_path / f".{name}.17.part").touch()
    remove_parts(tmp_path, rank, 2)
    remove_leftovers(tmp_path, rank, 2)
    partials = [f".{name}.17.part" for name in [*left, "notes.txt"]]
    assert names(tmp_path) == sorted([*left, "notes.txt", *partials])
