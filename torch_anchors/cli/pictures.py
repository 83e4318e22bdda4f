"""Pictures read from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from torch_anchors._shapes import UInt8
from torch_anchors.errors import ArgumentError

Picture = UInt8[np.ndarray, "height width 3"]


def read_picture(path: Path) -> Picture:
    """The picture in red, green and blue, upright as the camera was held; transparent parts become white.

    Raises:
        ArgumentError: as `check_picture`, or the file is damaged.
    """
    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        return np.array(Image.alpha_composite(white, upright).convert("RGB"))


def check_picture(path: Path) -> None:
    """Look at the beginning of the file only, so that many are checked at once before the work begins.

    Raises:
        ArgumentError: there is no such file, or it holds no picture with at most 8 bits a channel.
    """
    with _opened(path) as picture:
        if picture.mode.startswith(("I", "F")):
            raise ArgumentError(f"{path} has more than 8 bits a channel; convert it to an ordinary PNG or JPEG")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, with whatever is wrong with it said in words."""
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; name the pictures in it, such as {path / '*.jpg'}")
    if not path.exists():
        raise ArgumentError(f"there is no file {path}")
    try:
        with Image.open(path) as picture:
            yield picture
    except UnidentifiedImageError as error:
        raise ArgumentError(f"{path} is not a picture, or of a format that Pillow cannot read") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # truncated, damaged, huge
        raise ArgumentError(f"{path} cannot be read as a picture: {error}") from error


def pictures_in(folder: Path) -> list[Path]:
    """All pictures of a folder in the order of their names; files of other kinds are passed over.

    Raises:
        ArgumentError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ArgumentError(f"there is no folder {folder}")
    known = Image.registered_extensions()
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in known)
    if not paths:
        raise ArgumentError(f"there is no picture in the folder {folder}")
    return paths


def distinct_names(paths: Iterable[Path]) -> list[str]:
    """The names of the files without folder and suffix, numbered where one comes again."""
    seen: dict[str, int] = {}
    names = []
    for path in paths:
        seen[path.stem] = seen.get(path.stem, 0) + 1
        names.append(path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}")
    return names
