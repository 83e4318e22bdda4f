"""One that fails fails alone, and what became of all is told truly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import pytest

from torch_anchors.cli.each import each_explained
from torch_anchors.cli.outcome import CANNOT, FAILED, FOUND, NOT_FOUND, Outcome
from torch_anchors.errors import AnchorsError, ArgumentError, PredictorCallError


class Model:
    """Explains numbers by their squares, some ahead of the others; cannot read or explain some."""

    def __init__(self, unreadable: str = "", bad: str = "") -> None:
        self.unreadable, self.bad = unreadable, bad
        self.alone_with: list[str] = []
        self.n_together = 0

    def load(self, item: str) -> str:
        if item in self.unreadable:
            raise ArgumentError(f"cannot read {item}")
        return item

    def together(self, loaded: Sequence[str]) -> Iterator[str]:
        self.n_together += 1
        n, coming = 0, iter(loaded)
        while group := list(islice(coming, 3)):
            made = {n + i: item.upper() for i, item in enumerate(group) if item not in self.bad}
            for i in range(len(group)):
                if n + i not in made:
                    error = PredictorCallError("in a batch")
                    error.finished = {number: one for number, one in made.items() if number > n + i}
                    raise error
                yield made[n + i]
            n += len(group)

    def alone(self, item: str) -> str:
        self.alone_with.append(item)
        if item in self.bad:
            raise PredictorCallError(f"the model hates {item}")
        return item.upper()


def explained(items: str, model: Model) -> list[tuple[str, str]]:
    found = each_explained(items, model.load, model.together, model.alone)
    return [(item, str(made)) for item, made in found]


@pytest.mark.parametrize(
    ("unreadable", "bad"), [("", ""), ("a", ""), ("h", ""), ("abcdefgh", ""), ("ac", "b"), ("", "ah"), ("c", "def")]
)
def test_each_gets_its_own(unreadable: str, bad: str) -> None:
    items = "abcdefgh"
    expected = [
        (
            item,
            f"cannot read {item}" if item in unreadable else f"the model hates {item}" if item in bad else item.upper(),
        )
        for item in items
    ]
    assert explained(items, Model(unreadable, bad)) == expected


def test_only_those_under_way_are_explained_again() -> None:
    model = Model(bad="d")
    explained("abcdefgh", model)
    assert model.alone_with == ["d"]  # e and f were finished with it
    assert model.n_together == 2


def test_what_is_wrong_with_everything_is_raised() -> None:
    def refuse(loaded: Sequence[str]) -> Iterator[str]:
        raise ArgumentError("delta must be below 1")

    with pytest.raises(ArgumentError, match="delta must be below 1"):
        list(each_explained("ab", str, refuse, str))


class TestOutcome:
    def test_status(self, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = Outcome("picture", 2, stops=False)
        assert outcome.status == CANNOT
        outcome.explained(success=True)
        outcome.explained(success=True)
        assert outcome.status == FOUND
        outcome.n_found = 1
        assert outcome.status == NOT_FOUND
        outcome.fail("cat", "it is damaged")
        assert outcome.status == FAILED
        assert capsys.readouterr().err == "torch-anchors: cat was not explained: it is damaged\n"

    def test_stops_with_a_name_if_there_are_several(self) -> None:
        with pytest.raises(ArgumentError, match=r"^it is damaged$"):
            Outcome("picture", 1, stops=True).fail("cat", "it is damaged")
        with pytest.raises(ArgumentError, match=r"^cat cannot be explained: it is damaged$"):
            Outcome("picture", 2, stops=True).fail("cat", "it is damaged")

    @pytest.mark.parametrize("error", [AnchorsError("bad"), OSError("bad"), ArgumentError("bad")])
    def test_tells_how_far_it_came(self, error: Exception) -> None:
        outcome = Outcome("row", 6, stops=True)
        with pytest.raises(type(error), match=r"^bad$"), outcome.told_when_it_stops():
            raise error
        outcome.explained(success=True)
        told = r"^bad \(1 of 6 rows was explained before\)$"
        with pytest.raises(type(error), match=told), outcome.told_when_it_stops():
            raise error
        with pytest.raises(KeyboardInterrupt, match=r"^1 of 6 rows was explained$"), outcome.told_when_it_stops():
            raise KeyboardInterrupt
