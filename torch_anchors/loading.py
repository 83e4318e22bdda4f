"""Explanations from files, as the classes that they were saved from."""

from __future__ import annotations

from pathlib import Path

from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.store import Document
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.tables.necessary import NecessaryExplanation

KINDS = (ImageExplanation, TabularExplanation, NecessaryExplanation)
"""Imported here, so that their files can be read; other kinds can be once their module was imported."""


def load(path: str | Path) -> Explanation:
    """The explanation of a file that its ``save`` or ``to_json`` wrote, as it was: words, pictures, ``data``.

    Nothing in a file is executed, so it may come from anybody. What it cannot hold is missing: the model of a table,
    so that `TabularExplanation.precision_on` has to be given labels.

    Args:
        path: of the file.

    Raises:
        ArgumentError: there is no such file, it is no explanation, it is damaged or its end is missing, or a newer
            version of this package wrote it.

    Example:
        >>> explanation.save("cat.json")  # doctest: +SKIP
        >>> torch_anchors.load("cat.json").features  # doctest: +SKIP
        (2, 5)
    """
    document = Document.read(path)
    try:
        return Explanation.of_document(document)
    except ArgumentError as error:
        raise ArgumentError(f"{path} cannot be read as an explanation: {error}.") from error
