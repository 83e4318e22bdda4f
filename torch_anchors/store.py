"""Explanations <-> files: a JSON document with a version, what it holds, and a digest to tell damage by.

A document is data and nothing but data: no pickle, no path and no name of a function is in it. What kind of explanation
it is, and how its fields are read, is for the classes of explanations to say.
"""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_anchors.errors import ArgumentError
from torch_anchors.packing import Fields
from torch_anchors.whole_files import whole_file

FORMAT, VERSION = "torch_anchors explanation", 2
"""What a document says it is; a version is read by all packages of this version and later.

Version 2 may be about another question or target than version 1, in which an anchor always keeps the label.
"""

MOST_TEXT = 2**30
"""Bytes of the largest document that is read."""


@dataclass(frozen=True, slots=True)
class Document:
    """An explanation as a document.

    Args:
        kind: name of the explanation's class.
        meta: name and parameters of the explainer, in values that JSON knows.
        data: what the reference's explanations hold as ``data``, and all that the explanation is made from again.
    """

    kind: str
    meta: dict[str, Any]
    data: dict[str, Any]

    def to_text(self) -> str:
        """The document as JSON."""
        head = {"format": FORMAT, "version": VERSION, "kind": self.kind, "digest": self._digest()}
        return json.dumps({**head, "meta": self.meta, "data": self.data}, allow_nan=False) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Document:
        """The document of a text.

        Raises:
            ArgumentError: it is no JSON, not one of this package, newer than it, or damaged.
        """
        try:
            values = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(f"it is no JSON, or its end is missing ({_first_line(error)})") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ArgumentError("it was not written by save() or to_json() of an explanation of torch_anchors")
        fields = Fields(values)
        if (version := fields.whole("version", 1)) > VERSION:
            raise ArgumentError(
                f"it has the version {version} and this package reads up to {VERSION}; install a newer torch-anchors"
            )
        document = cls(fields.text("kind"), fields.fields("meta").values, fields.fields("data").values)
        if fields.text("digest") != document._digest():
            raise ArgumentError("its content does not have the digest that it names; it is damaged or was changed")
        return document

    def write(self, path: str | Path) -> None:
        """Write the file, which is then whole or not there."""
        with whole_file(Path(path)) as file:
            file.write(self.to_text().encode())

    @classmethod
    def read(cls, path: str | Path) -> Document:
        """The document of a file.

        Raises:
            ArgumentError: as `from_text`, or there is no such file; the message names it.
        """
        try:
            return cls.from_text(_text_of(Path(path)))
        except ArgumentError as error:
            raise ArgumentError(f"{path} cannot be read as an explanation: {error}.") from error

    def _digest(self) -> str:
        content = json.dumps([self.kind, self.meta, self.data], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


def _text_of(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, and a device has no end
            raise ArgumentError("it is no ordinary file")
        if found.st_size > MOST_TEXT:
            raise ArgumentError(f"it has {found.st_size:,} bytes, and at most {MOST_TEXT:,} are read")
        with path.open("rb") as file:
            return file.read(MOST_TEXT).decode()
    except FileNotFoundError:
        raise ArgumentError("there is no such file") from None
    except UnicodeDecodeError as error:
        raise ArgumentError("it is no text") from error
    except (OSError, ValueError) as error:  # a name with a zero byte is no OSError
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(str(getattr(error, "strerror", None) or error)) from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
