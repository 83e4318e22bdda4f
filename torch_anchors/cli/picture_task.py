"""The pictures that are to be explained, and where each explanation is drawn."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch_anchors.cli.drawings import check_drawing
from torch_anchors.cli.image_options import value_range_of
from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import (
    DeepPictureError,
    Picture,
    ValueRange,
    check_picture,
    distinct_names,
    read_picture,
)


@dataclass(frozen=True, slots=True)
class PictureTask:
    """A picture to explain.

    Args:
        path: of its file; None for the one that comes with scikit-image.
        name: what it is called in the data.
        title: what it is called in sentences; with its path where another one has the same name.
        drawing: where its explanation is drawn.
        value_range: which of its values are black and white, where a user says so.
    """

    path: Path | None
    name: str
    title: str
    drawing: Path
    value_range: ValueRange | None = None

    @property
    def file(self) -> str | None:
        """What the data call its file."""
        return None if self.path is None else str(self.path)

    def check(self) -> None:
        """Look at the beginning of the file.

        Raises:
            ArgumentError: it cannot be read, as far as that is seen there.
        """
        if self.path is None:
            return
        try:
            check_picture(self.path, value_range=self.value_range)
        except DeepPictureError as error:
            raise ArgumentError(
                f"{self.path} has more than 8 bits a channel; name the values that are black and white, as in "
                "--value-range 0 65535"
            ) from error

    def read(self, enough: int) -> Picture:
        """The picture, its shorter side at least `enough` long if it is so in the file."""
        if self.path is None:
            return _bundled()
        return read_picture(self.path, enough=enough, value_range=self.value_range)


def picture_tasks(options: argparse.Namespace) -> list[PictureTask]:
    """The pictures, each with a name and a drawing of its own.

    Raises:
        ArgumentError: they cannot be drawn as is asked, or values are no range.
    """
    if not options.paths:
        (drawing,) = _drawings(options.out, ["coffee"])
        return [PictureTask(None, "coffee", "coffee", drawing)]
    names = distinct_names(options.paths)
    alike = Counter(path.stem.casefold() for path in options.paths)
    titles = [
        name if alike[path.stem.casefold()] == 1 else f"{name} ({path})"
        for name, path in zip(names, options.paths, strict=True)
    ]
    drawings, values = _drawings(options.out, names), value_range_of(options)
    return [PictureTask(*parts, values) for parts in zip(options.paths, names, titles, drawings, strict=True)]


def _drawings(out: Path | None, names: list[str]) -> list[Path]:
    """Where each explanation is drawn."""
    if out is not None and out.suffix and not out.is_dir():
        if len(names) > 1:
            raise ArgumentError(f"--out must be a folder for {len(names)} pictures, got {out}")
        check_drawing(out)
        return [out]
    return [(out or Path()) / f"anchor-{name}.png" for name in names]


def _bundled() -> Picture:
    from skimage.data import coffee

    picture: Picture = coffee()  # type: ignore[no-untyped-call]
    return picture
