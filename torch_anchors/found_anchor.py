"""One of several anchors of an explanation: what it is, how sure it is, and how widely it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch_anchors.packing import Fields, pack_number
from torch_anchors.search.protocol import SearchResult, Status
from torch_anchors.words import at_least, at_most

Some = TypeVar("Some", bound="FoundAnchor")


@dataclass(frozen=True, kw_only=True)
class FoundAnchor:
    """An anchor without the instance and the search that it comes from.

    Attributes:
        features: ids of its predicates, sorted.
        names: the same in words.
        precision: estimate of P(same label | anchor holds), in [0, 1].
        precision_interval: bounds that hold the true precision; those of all anchors of an explanation do so together
            with probability 1 - `delta`.
        coverage: P(anchor holds), in [0, 1].
        status: how the search for it ended.
    """

    features: tuple[int, ...]
    names: tuple[str, ...]
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    status: Status

    @property
    def success(self) -> bool:
        """Whether the precision reaches the threshold with the promised confidence."""
        return self.status.success

    @classmethod
    def of(cls: type[Some], result: SearchResult, names: Sequence[str], **own: Any) -> Some:
        """The anchor that a search has found.

        Args:
            result: of the search.
            names: of its predicates.
            own: what a kind of anchor has besides.
        """
        return cls(
            features=result.anchor,
            names=tuple(names),
            precision=result.precision,
            precision_interval=result.precision_interval,
            coverage=result.coverage,
            status=result.status,
            **own,
        )

    @property
    def figures(self) -> str:
        """How sure it is and how widely it holds, in words."""
        low, high = self.precision_interval
        if low == high:
            sure = f"precision {self.precision:.3f}, exact"
        else:
            sure = f"at least {at_least(low)}" if self.success else f"between {at_least(low)} and {at_most(high)}"
            sure = f"precision {sure}"
        return f"{sure}, coverage {100 * self.coverage:.3g} %"

    def to_dict(self) -> dict[str, Any]:
        """The anchor as plain Python values."""
        return {
            "anchor": list(self.features),
            "names": list(self.names),
            "precision": self.precision,
            "precision_interval": list(self.precision_interval),
            "coverage": self.coverage,
            "status": self.status.value,
            "success": self.success,
        }

    def to_fields(self) -> dict[str, Any]:
        """The anchor in values that JSON knows; a kind of anchor adds its own."""
        return {
            "features": list(map(int, self.features)),
            "names": list(self.names),
            "precision": pack_number(self.precision),
            "precision_interval": [pack_number(end) for end in self.precision_interval],
            "coverage": pack_number(self.coverage),
            "status": self.status.value,
        }

    @classmethod
    def read(cls: type[Some], fields: Fields) -> Some:
        """The anchor that `to_fields` gave.

        Raises:
            ArgumentError: a field is missing, or not what it must be.
        """
        return cls(**cls.read_fields(fields))

    @classmethod
    def read_fields(cls, fields: Fields) -> dict[str, Any]:
        """The arguments that `to_fields` gave; a kind of anchor adds its own."""
        return {
            "features": fields.wholes("features"),
            "names": fields.texts("names"),
            "precision": fields.number("precision"),
            "precision_interval": fields.numbers("precision_interval", 2),
            "coverage": fields.number("coverage"),
            "status": Status(fields.word("status", [status.value for status in Status])),
        }


def several_in_words(anchors: Sequence[FoundAnchor], asked: int, part: str, delta: float) -> str:
    """What is said of the other anchors of an explanation beside the first; "" where only one was asked for.

    Args:
        anchors: those found, the explanation's own first.
        asked: how many were asked for.
        part: what no two of them share.
        delta: 1 - the confidence in all of them together.
    """
    first, *others = anchors
    if asked == 1 or (first.success and not first.features):
        return ""
    if not first.success:
        return "It is not certified, so that no further anchors were looked for."
    fewer = [f"{asked} were asked for, and no other could be certified."] if len(anchors) < asked else []
    if not others:
        return f"It is the only anchor: {fewer[0]}"
    found = "; ".join(f"{' and '.join(other.names)} ({other.figures})" for other in others)
    does = "Another anchor does the same" if len(others) == 1 else f"Each of {len(others)} others does the same"
    sure = f"No two share a {part}, and with {100 * (1 - delta):g} % confidence all of this holds together."
    return " ".join([f"{does}: {found}.", sure, *fewer])
