"""Figures as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import whole_file

SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
"""Formats of drawings, by which their files are told apart."""

_DOTS_PER_INCH = 150


def check_drawing(path: Path) -> None:
    """Complains of a file in whose format nothing can be drawn."""
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"--out must end in one of {', '.join(SUFFIXES)}, got {path}")


def save_figure(figure: Any, path: Path) -> None:
    """Draw a figure into a file that is whole or not there."""
    drawn = io.BytesIO()
    looks = {"dpi": _DOTS_PER_INCH, "facecolor": figure.get_facecolor()}
    figure.savefig(drawn, format=path.suffix.lower().removeprefix("."), **looks)
    with whole_file(path) as file:
        file.write(drawn.getbuffer())
