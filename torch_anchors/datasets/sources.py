"""Where inputs come from: what a source of any kind is, and which kind a user's data set is.

A source names its inputs and reads some of them when it is asked to. It knows neither models nor explanations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch_anchors.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Entry:
    """One input that a source has.

    Args:
        id: what it is called, in this run and in the next one.
        key: by which the source finds it.
        true_label: its true label in words, where that is known before it is read.
    """

    id: str
    key: Any
    true_label: str | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Some inputs, read.

    Args:
        given: what the explainer's `instances` takes: a list of images, or a table of rows.
        true_labels: the true label of each, in words, or None where it is not known; None if the entries have them.
    """

    given: Any
    true_labels: Sequence[str | None] | None = None


@runtime_checkable
class Source(Protocol):
    """Inputs with ids, in an order that stays the same.

    Attributes:
        words: what it is, for ``run.json``.
        n: how many inputs it has; None for a stream, which is gone through once.
        together: how many inputs are best read in one call of `read`.
        readers: how many threads may call `read` at once.
    """

    words: str
    n: int | None
    together: int
    readers: int

    def entries(self) -> Iterator[Entry]:
        """All inputs, in order; of a stream, what was read of them is their key."""

    def read(self, entries: Sequence[Entry]) -> Inputs:
        """Some inputs. Whatever it raises for a single one is the reason why that one is not explained."""

    def digest(self) -> str | None:
        """What tells the inputs from others with the same ids; None where ids are enough."""


def ids_of(ids: Sequence[Any], n: int) -> list[str]:
    """The user's ids as words, one for each of `n` inputs.

    Raises:
        ArgumentError: there are not as many, or two are the same.
    """
    words = [str(id) for id in ids]
    if len(words) != n:
        raise ArgumentError(f"ids must have one id for each of the {n:,} inputs, got {len(words):,}.")
    return words


def label_words(label: Any, label_names: Sequence[str] | Mapping[int, str] | None = None) -> str | None:
    """A true label in words, as the class is called if it is a number; None where it is missing.

    Example:
        >>> label_words(1, ("cat", "dog")), label_words(2.0), label_words("bird"), label_words(float("nan"))
        ('dog', '2', 'bird', None)
    """
    if label is None or label != label:
        return None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and not isinstance(label, bool) and label_names is not None:
        if isinstance(label_names, Mapping):
            return label_names.get(label, str(label))
        return label_names[label] if 0 <= label < len(label_names) else str(label)
    return str(label)
