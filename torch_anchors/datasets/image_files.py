"""Pictures in files: those of a folder and the folders in it, or a list of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from torch_anchors.datasets.sources import Entry, Inputs, ids_of
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import ValueRange, read_picture

READERS = 4
"""Threads that decode pictures; decoding is most of reading them."""


class ImageFiles:
    """A source of pictures in files.

    Args:
        paths: a folder, whose pictures are found in it and all folders below it, in the order of their paths, hidden
            ones left out; or the paths of pictures. The true label of a picture in a folder is the name of the folder
            below the given one that it is in; that of a listed picture is not known.
        ids: what each listed picture is called; None for its path as it is given, or below the folder.
        enough: length that the shorter side of a picture needs at most; see `read_picture`.
        value_range: which values of pictures with more than 8 bits a channel are black and white; see `read_picture`.

    Raises:
        ArgumentError: there is no such folder, or no picture in it.
    """

    together, readers = 1, READERS

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        ids: Sequence[Any] | None = None,
        *,
        enough: int | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        self._enough, self.value_range = enough, value_range
        if isinstance(paths, (str, Path)):
            self._root: Path | None = Path(paths)
            self._files = pictures_below(self._root)
        else:
            self._root, self._files = None, [Path(path) for path in paths]
        self.n: int | None = len(self._files)
        self._named = ids is not None
        names = [self._name(path) for path in self._files] if ids is None else ids
        self._ids = ids_of(names, len(self._files))
        self.words = f"pictures in {paths}" if self._root is not None else f"{self.n:,} pictures"

    @property
    def folder(self) -> Path | None:
        """Where each picture is found by its id; None where ids say nothing about that."""
        return None if self._named else (Path() if self._root is None else self._root).absolute()

    def entries(self) -> Iterator[Entry]:
        """The pictures, with the names of their folders."""
        return (Entry(id, path, self._folder(path)) for id, path in zip(self._ids, self._files, strict=True))

    def read(self, entries: Sequence[Entry]) -> Inputs:
        """The pictures, upright and in red, green and blue."""
        how: dict[str, Any] = {"enough": self._enough, "value_range": self.value_range}
        return Inputs([read_picture(entry.key, **how) for entry in entries])

    def digest(self) -> str | None:
        """Of how values are read. A picture is known by its path, so that new ones may join a folder."""
        return None if self.value_range is None else digest_of(self.value_range)

    def _name(self, path: Path) -> str:
        return path.as_posix() if self._root is None else path.relative_to(self._root).as_posix()

    def _folder(self, path: Path) -> str | None:
        inner = () if self._root is None else path.relative_to(self._root).parts
        return inner[0] if len(inner) > 1 else None


def pictures_below(folder: Path) -> list[Path]:
    """The pictures of a folder and of all folders below it, by their suffixes; links to folders are not followed.

    Raises:
        ArgumentError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ArgumentError(f"source must be a folder of pictures or a list of files, and there is no folder {folder}.")
    known = Image.registered_extensions()
    found = []
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        own = (name for name in files if not name.startswith("."))
        found += [Path(above) / name for name in own if Path(name).suffix.lower() in known]
    if not found:
        raise ArgumentError(f"source must have pictures, and there is none in {folder} or the folders below it.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
