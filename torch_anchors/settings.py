"""The parameters of one ``explain``, the same for images and tables."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import torch

from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import SearchConfig

METHODS = ("auto", "beam", "exact")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSettings:
    """Parameters of ``explain``, with the names and defaults of the reference; the last ones are ours.

    Args:
        threshold, delta, tau, batch_size, beam_size, stop_on_first, max_anchor_size, min_samples_start,
        max_rows_total: see `SearchConfig`.
        coverage_samples: has no effect any more. Coverage is exact: (1 - p_sample) ** size for images, the share of
            training rows where the anchor holds for tables.
        n_covered_ex: how many hits and how many misses of the anchor the explanation keeps as examples.
        binary_cache_size, cache_margin: have no effect any more. The memory of drawn rows grows by itself.
        verbose: write a line about the search to standard error as it goes.
        verbose_every: write every so many rounds.
        method: "beam" samples, "exact" counts all rows, "auto" takes "exact" where it costs no more.
        label: the label to explain, by its number or, where the predictor returns names, by its name; None for the one
            that the predictor gives the instance.
    """

    threshold: float = 0.95
    delta: float = 0.1
    tau: float = 0.15
    batch_size: int = 100
    coverage_samples: int = 10000
    beam_size: int = 1
    stop_on_first: bool = False
    max_anchor_size: int | None = None
    min_samples_start: int = 100
    n_covered_ex: int = 10
    binary_cache_size: int = 10000
    cache_margin: int = 1000
    verbose: bool = False
    verbose_every: int = 1
    method: str = "auto"
    label: int | str | None = None
    max_rows_total: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ArgumentError(f"method must be one of {', '.join(map(repr, METHODS))}, got {self.method!r}.")
        for name, least in (("n_covered_ex", 0), ("verbose_every", 1)):
            value = getattr(self, name)
            if not _is_whole(value) or value < least:
                raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}.")
        if self.label is not None and not (isinstance(self.label, str) or _is_whole(self.label)):
            raise ArgumentError(f"label must be None, the whole number of a class or its name, got {self.label!r}.")
        self.config(torch.device("cpu"))  # raises for what the search cannot work with

    @classmethod
    def of(cls, given: dict[str, Any]) -> ExplainSettings:
        """The settings from keyword arguments; an unknown one is an error that lists those there are."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ArgumentError(f"explain has no parameter {', '.join(unknown)}; it has {', '.join(known)}.")
        return cls(**given)

    def config(self, device: torch.device) -> SearchConfig:
        """The settings of the search itself.

        A round costs its latency on a GPU and hundreds of rows hardly more, while on a CPU every row costs.
        """
        return SearchConfig(
            threshold=self.threshold,
            delta=self.delta,
            tau=self.tau,
            batch_size=self.batch_size,
            beam_size=self.beam_size,
            stop_on_first=self.stop_on_first,
            max_anchor_size=self.max_anchor_size,
            min_samples_start=self.min_samples_start,
            max_rows_total=self.max_rows_total,
            round_rows=16 if device.type == "cpu" else min(128, self.batch_size),
        )

    def params(self) -> dict[str, Any]:
        """The settings as a dictionary, for an explanation's metadata."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
