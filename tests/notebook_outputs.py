"""Runs the notebooks and stores what they show in them, so that a web page shows it as well.

    python -m tests.notebook_outputs [notebooks/image.ipynb ...]

Without names all are run. What is stored has no times and no paths; `made_with` in the metadata says which versions the
numbers are of. `tests/test_notebooks.py` runs the notebooks again and compares.
"""

from __future__ import annotations

import argparse
import base64
import io
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SECONDS_PER_CELL = 600
PACKAGES = ("matplotlib", "numpy", "pandas", "scikit-image", "scikit-learn", "scipy", "timm", "torch", "torchvision")
COLOURS = 128
"""Of a stored picture: photographs then take a quarter of the bytes, and look the same at their size."""


def made_with() -> dict[str, str]:
    """What numbers may depend on, beside the notebook itself."""
    versions = {name: version(name) for name in PACKAGES}
    return {**versions, "python": platform.python_version(), "cpu": torch.backends.cpu.get_cpu_capability()}


def run(path: Path) -> NotebookNode:
    """The notebook with what its cells show now.

    Raises:
        CellExecutionError: a cell raised an error.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": path.parent}}
    settings = {"kernel_name": "python3", "timeout": SECONDS_PER_CELL, "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(notebook, resources=resources, **settings)
    client.execute()
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.made_with = made_with()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    return notebook


def smaller(png: str) -> str:
    """A picture in base64 with a palette of its own, and without what matplotlib writes beside the pixels."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run notebooks and store what they show in them.")
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(NOTEBOOKS.glob("*.ipynb")))
    for path in parser.parse_args().notebooks:
        notebook = run(path)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
