"""Pictures read from files, in little memory however large they are."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from torch_anchors._shapes import UInt8
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.images.opaque import opaque, scaling_line

Picture = UInt8[np.ndarray, "height width 3"]

ValueRange = tuple[float | int, float | int]
"""Values that are black and white."""

MOST_PIXELS = 90_000_000
"""Pixels of a picture that is decoded whole: about 700 megabytes at most, while it is."""


class DeepPictureError(ArgumentError):
    """A picture has more than 8 bits a channel, and nobody said which of its values are black and white."""


def read_picture(
    path: Path, *, enough: int | None = None, content: bytes | None = None, value_range: ValueRange | None = None
) -> Picture:
    """The picture in red, green and blue, upright as the camera was held; transparent parts become white.

    Args:
        path: of the file.
        enough: length that the shorter side needs at most. A picture that has a multiple of it is read at a fraction
            of its size, in as much less memory.
        content: of the file, where somebody has read it; `path` is then only what errors call it.
        value_range: what is black and what is white in a picture with more than 8 bits a channel, which is grey; what
            is beyond is as these. Other pictures are read as they are.

    Raises:
        ArgumentError: as `check_picture`, or the file is damaged.
    """
    with _opened(path, content) as picture:
        if enough:
            picture.draft(None, (enough, enough))  # a JPEG is then decoded at a fraction of its size
        _check_size(path, picture)
        _check_depth(path, picture, value_range)
        ImageOps.exif_transpose(picture, in_place=True)
        if value_range is not None and _is_deep(picture):
            picture = _scaled(picture, value_range)
        return np.array(opaque(_shrunk(picture, enough)).convert("RGB"))


def check_picture(path: Path, *, value_range: ValueRange | None = None) -> None:
    """Look at the beginning of the file only, so that many are checked at once before the work begins.

    Raises:
        ArgumentError: there is no such file, it holds no picture, or a huge one.
        DeepPictureError: it has more than 8 bits a channel, and no `value_range` is given.
    """
    with _opened(path) as picture:
        _check_depth(path, picture, value_range)
        if picture.format not in ("JPEG", "MPO"):
            _check_size(path, picture)


def _check_size(path: Path, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise ArgumentError(f"{path} has {width:,} x {height:,} pixels, {_remedy()}")


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode.startswith(("I", "F"))


def _check_depth(path: Path, picture: Image.Image, value_range: ValueRange | None) -> None:
    if value_range is None and _is_deep(picture):
        raise DeepPictureError(
            f"{path} has more than 8 bits a channel; read it and scale it to a PIL image of mode L or RGB: "
            f"{scaling_line(picture.mode)}"
        )


def _scaled(picture: Image.Image, value_range: ValueRange) -> Image.Image:
    black, white = value_range
    unit = (np.asarray(picture, dtype=np.float32) - black) / (white - black)
    return Image.fromarray((255 * unit.clip(0, 1)).round().astype(np.uint8))


def _remedy() -> str:
    return f"more than are decoded here; scale it down to at most {MOST_PIXELS // 1_000_000} million pixels first"


def _shrunk(picture: Image.Image, enough: int | None) -> Image.Image:
    """The picture, or a whole fraction of it whose shorter side is still long enough."""
    fraction = min(picture.size) // enough if enough else 1
    if fraction < 2:
        return picture
    return (picture if picture.mode in ("L", "RGB") else picture.convert("RGBA")).reduce(fraction)


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """The picture, with whatever is wrong with it said in words."""
    if content is None:
        _require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # there is a limit of our own
            with Image.open(path if content is None else io.BytesIO(content)) as picture:
                yield picture
    except AnchorsError:
        raise
    except Image.DecompressionBombError as error:
        raise ArgumentError(f"{path} has {_remedy()}") from error
    except UnidentifiedImageError as error:
        raise ArgumentError(f"{path} is not a picture, or of a format that Pillow cannot read") from error
    except Exception as error:  # a truncated or damaged file may fail in any way, as each format has its own decoder
        raise ArgumentError(f"{path} cannot be read as a picture: {error}") from error


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; name the pictures in it, such as {path / '*.jpg'}")
    if not path.exists():
        raise ArgumentError(f"there is no file {path}")


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


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The names of the files without folder and suffix, numbered where one comes again.

    No two of them differ only in capitals, or in how an accent is spelled: some systems take them for one.
    """
    own = {_key(path.stem) for path in paths}
    taken: set[str] = set()
    latest: dict[str, int] = {}
    names = []
    for path in paths:
        name, key = path.stem, _key(path.stem)
        if key in taken:
            n = latest.get(key, 1) + 1
            while _key(f"{path.stem}-{n}") in own or _key(f"{path.stem}-{n}") in taken:
                n += 1
            latest[key] = n
            name = f"{path.stem}-{n}"
        taken.add(_key(name))
        names.append(name)
    return names


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
