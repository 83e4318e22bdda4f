"""What became of all that was given: the exit status, and how far the work has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch_anchors.cli.console import report
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.words import plural

FOUND, NOT_FOUND, CANNOT, FAILED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143

EXIT_STATUS = f"""exit status:
  {FOUND}  an anchor that reaches the threshold was found for everything that was given
  {NOT_FOUND}  for something none was; the best one found is reported in its place
  {CANNOT}  nothing could be explained, or the work stopped: an argument, a file or a model is not usable, a file cannot
     be written; what was finished before is there
  {FAILED}  something could not be explained, as was said, but all the rest was
  {INTERRUPTED}  interrupted (Ctrl-C; {TERMINATED}: terminated); what was finished before is there"""


@dataclass(slots=True)
class Outcome:
    """Counts what became of the pictures or rows.

    Args:
        noun: what they are.
        n_given: how many they are.
        stops: whether one that cannot be explained ends the work.
    """

    noun: str
    n_given: int
    stops: bool
    n_explained: int = 0
    n_found: int = 0
    failed: list[str] = field(default_factory=list)

    def explained(self, *, success: bool) -> None:
        """One was explained."""
        self.n_explained += 1
        self.n_found += success

    def fail(self, name: str, reason: str) -> None:
        """One could not be explained: says so, or raises that if this ends the work."""
        self.failed.append(name)
        if self.stops:
            raise ArgumentError(reason if self.n_given == 1 else f"{name} cannot be explained: {reason}")
        report(f"{name} was not explained: {reason}")

    @property
    def status(self) -> int:
        """The exit status."""
        if not self.n_explained:
            return CANNOT
        if self.failed:
            return FAILED
        return FOUND if self.n_found == self.n_given else NOT_FOUND

    def so_far(self) -> str:
        """ "2 of 6 pictures were explained"."""
        were = "was" if self.n_explained == 1 else "were"
        return f"{self.n_explained:,} of {plural(self.n_given, self.noun)} {were} explained"

    def say_failed(self) -> None:
        """How many could not be explained, where that may have scrolled away."""
        if self.failed and self.n_given > 1:
            report(self.so_far())

    @contextmanager
    def told_when_it_stops(self) -> Iterator[None]:
        """Says of whatever ends the work how far it had come."""
        try:
            yield
        except KeyboardInterrupt as error:
            raise type(error)(self.so_far()) from None
        except (AnchorsError, OSError) as error:
            if not self.n_explained:
                raise
            raise type(error)(f"{error} ({self.so_far()} before)") from error
