"""Labels from any output of a model: what is read, what is doubtful, and what is an error."""

from __future__ import annotations

import threading
import time
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from torch_anchors.engine.outputs import INVALID, Outputs
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import AnchorsWarning, ArgumentError, PredictorReturnTypeError

CPU = torch.device("cpu")
LOGITS = torch.tensor([[0.1, 2.0, -1.0], [3.0, -2.0, 0.5], [-1.0, -2.0, -0.5], [0.0, 1.0, 0.5]])
LABELS = [1, 0, 2, 1]
ONE_HOT = torch.eye(3)[LABELS]
SIGMOIDS = torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.1, 0.0], [0.5, 0.6, 0.7], [0.1, 0.9, 0.2]])
Output = namedtuple("Output", ["scores", "features"])


def labels_of(*outputs: Any, n: int = 4) -> list[list[int]]:
    """The labels of several batches of one predictor."""
    reader = Outputs(CPU)
    return [reader.labels(output, n).tolist() for output in outputs]


# ------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (LOGITS, LABELS),
        (LOGITS.softmax(1), LABELS),
        (LOGITS.half().softmax(1), LABELS),
        (LOGITS.bfloat16(), LABELS),
        (LOGITS.to(torch.float8_e4m3fn), LABELS),
        ((100 * LOGITS).long(), LABELS),
        (ONE_HOT, LABELS),
        (ONE_HOT.bool(), LABELS),
        (ONE_HOT.numpy().astype(np.uint16), LABELS),
        (torch.tensor([4, 0, 7, 4]), [4, 0, 7, 4]),
        (torch.tensor([4, 0, 7, 4], dtype=torch.int32), [4, 0, 7, 4]),
        (torch.tensor([4, 0, 7, 4], dtype=torch.uint8), [4, 0, 7, 4]),
        (torch.tensor([[4], [0], [7], [4]]), [4, 0, 7, 4]),
        (torch.tensor([-1, 1, 1, -1]), [-1, 1, 1, -1]),
        (torch.tensor([True, False, True, True]), [1, 0, 1, 1]),
        (torch.tensor([[True], [False], [True], [True]]), [1, 0, 1, 1]),
        (torch.tensor([[-3.0], [0.0], [0.1], [8.0]]), [0, 0, 1, 1]),
        ((LOGITS, torch.zeros(4, 9)), LABELS),
        ([LOGITS, None], LABELS),
        (Output(LOGITS, None), LABELS),
        ({"logits": LOGITS, "loss": torch.zeros(())}, LABELS),
        (OrderedDict(out=LOGITS, aux=torch.zeros(4, 3)), LABELS),
        ({"anything": LOGITS}, LABELS),
        (SimpleNamespace(logits=LOGITS, hidden_states=None), LABELS),
        (LOGITS.numpy(), LABELS),
        (LOGITS.numpy().astype(">f4"), LABELS),
        (LOGITS.double().numpy().astype(np.longdouble), LABELS),
        (LOGITS.tolist(), LABELS),
        (pd.DataFrame(LOGITS.numpy()), LABELS),
        ([3, 1, 1, 0], [3, 1, 1, 0]),
        (np.array([3, 1, 1, 0], dtype=object), [3, 1, 1, 0]),
        (np.array([2.0, 0.0, 1.0, 2.0]), [2, 0, 1, 2]),
        (np.array([2, 0, 1, 2], dtype=np.uint16), [2, 0, 1, 2]),
        (np.array([2, 0, 1, 2], dtype=">i2"), [2, 0, 1, 2]),
        (np.array([2, 0, 1, 2], dtype=np.uint64), [2, 0, 1, 2]),
        (pd.Series([2, 0, 1, 2]), [2, 0, 1, 2]),
        ((LOGITS.double().numpy(), None), LABELS),
    ],
)
def test_every_output_becomes_labels(output: Any, expected: list[int], device: torch.device) -> None:
    labels = Outputs(device).labels(output, 4)
    assert labels.tolist() == expected
    assert labels.dtype == torch.int64
    assert labels.device.type == device.type


@pytest.mark.parametrize("column", [0, 2])
def test_a_row_with_nan_has_no_label(column: int, device: torch.device) -> None:
    scores = LOGITS.clone()
    scores[1, column] = torch.nan
    assert Outputs(device).labels(scores, 4).tolist() == [1, INVALID, 2, 1]


def test_a_nan_logit_has_no_label() -> None:
    assert labels_of(torch.tensor([[2.0], [torch.nan]]), n=2) == [[1, INVALID]]


def test_no_integer_label_of_a_user_is_mistaken_for_nan() -> None:
    assert labels_of(torch.tensor([-1, -2, 0]), n=3) == [[-1, -2, 0]]
    assert INVALID < -(2**53)


@pytest.mark.parametrize(
    ("output", "expected"),
    [(LOGITS, 3), (torch.tensor([[-1.0]]), 2), (torch.tensor([2, 1]), None), (np.array(["a"]), None)],
)
def test_the_number_of_classes_is_known_where_there_is_an_axis_of_them(output: Any, expected: int | None) -> None:
    reader = Outputs(CPU)
    assert reader.n_classes is None
    assert not reader.known
    reader.labels(output, len(output))
    assert reader.n_classes == expected
    assert reader.known


# ------------------------------------------------------------------------------------------------- class names


@pytest.mark.parametrize(
    "wrap",
    [
        np.array,
        list,
        pd.Series,
        lambda names: np.array(names, dtype=object),
        lambda names: np.array(names, dtype="S"),
        lambda names: {"labels": names},
    ],
)
def test_class_names_have_numbers_that_can_be_named_again(wrap: Any) -> None:
    reader = Outputs(CPU)
    labels = reader.labels(wrap(["dog", "cat", "dog"]), 3)
    assert labels.tolist() == [reader.code_of(name) for name in ("dog", "cat", "dog")]
    assert reader.names == ("cat", "dog")
    assert [reader.name_of(label) for label in labels.tolist()] == ["dog", "cat", "dog"]
    assert reader.name_of(INVALID) is None
    assert reader.all_shown(labels.numpy()).tolist() == ["dog", "cat", "dog"]
    assert [reader.shown(label) for label in (reader.code_of("cat"), 7)] == ["cat", 7]


def test_the_number_of_a_name_does_not_depend_on_what_was_seen_before() -> None:
    one, other = Outputs(CPU), Outputs(CPU)
    first = one.labels(np.array(["dog", "cat"]), 2)
    other.labels(np.array(["ape", "cat", "bee"]), 3)
    assert torch.equal(first, other.labels(np.array(["dog", "cat"]), 2))
    assert first.tolist() == [3481959007749177, 2424952172914483]  # in every process


def test_numbers_of_names_can_be_told_apart_and_are_exact_floats() -> None:
    codes = [Outputs(CPU).code_of(f"class {i}") for i in range(20_000)]
    assert len(set(codes)) == len(codes)
    assert all(int(np.float64(code)) == code >= 0 for code in codes)


def test_names_of_one_number_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outputs, "code_of", lambda self, name: len(name))
    with pytest.raises(PredictorReturnTypeError, match=r"'cat' and 'dog'|'dog' and 'cat'"):
        labels_of(np.array(["dog", "cat"]), n=2)


def test_threads_that_meet_new_names_at_the_same_time_agree_on_their_labels() -> None:
    """Both read their names at leisure, a few of which are the other's as well."""

    class Slow(str):
        """A name that takes its time to be read."""

        __slots__ = ()

        def __str__(self) -> str:
            time.sleep(0.002)
            return str.__str__(self)

    names = [[f"class {i:02d}" for i in range(first, first + 20)] for first in (0, 10)]
    together = threading.Barrier(2)

    def named(rows: np.ndarray) -> np.ndarray:
        together.wait(timeout=30)
        return np.array([Slow(names[i][j]) for i, j in rows.tolist()], dtype=object)

    predictor = Predictor(named, dtype=np.int64)
    rows = [torch.tensor([[i, j] for j in range(20)]) for i in range(2)]
    with ThreadPoolExecutor(2) as pool:
        labels = [done.result(timeout=60).tolist() for done in [pool.submit(predictor, own) for own in rows]]
    assert predictor.class_names == tuple(sorted({*names[0], *names[1]}))
    assert [[predictor.outputs.name_of(label) for label in own] for own in labels] == names


# ------------------------------------------------------------------------------------------------- what users mean


def test_a_label_is_checked_against_what_is_known() -> None:
    reader = Outputs(CPU)
    assert reader.checked(2) == 2
    assert reader.checked("dog") == reader.code_of("dog")  # before anything is known
    reader.labels(LOGITS, 4)
    assert reader.checked(2) == 2
    for label in (-1, 3, 10**30):
        with pytest.raises(ArgumentError, match=f"label must be a class of the predictor, 0 to 2, got {label}"):
            reader.checked(label)
    with pytest.raises(ArgumentError, match=r"label must be a number, .* no class names but scores, of classes 0 to 2"):
        reader.checked("dog")


def test_a_label_of_a_predictor_that_returns_labels_may_be_any_number() -> None:
    reader = Outputs(CPU)
    reader.labels(torch.tensor([1, 5]), 2)
    assert reader.checked(-1) == -1
    with pytest.raises(ArgumentError, match=r"label must be .* between -2\*\*53 and 2\*\*53, got 10"):
        reader.checked(10**30)
    with pytest.raises(ArgumentError, match="no class names but labels, got 'dog'"):
        reader.checked("dog")


def test_a_label_of_a_predictor_that_returns_names_is_one() -> None:
    reader = Outputs(CPU)
    reader.labels(["dog", "cat"], 2)
    assert reader.checked("emu") == reader.code_of("emu")  # which may be returned later
    with pytest.raises(ArgumentError, match=r"label must be a class name, .* such as cat, dog, got 1"):
        reader.checked(1)


# ------------------------------------------------------------------------------------------------- what is doubtful


@pytest.mark.parametrize(
    ("output", "expected", "words"),
    [
        (SIGMOIDS, [0, 0, 2, 1], r"in \[0, 1\] that do not sum to 1 .* multi-label .*target=Bit\(j\)"),
        (
            torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]]),
            [0, 0, 1, 0],
            r"0s and 1s .* multi-label .*target=Bit\(j\)",
        ),
        (
            torch.tensor([[1, 1], [0, 0], [0, 1], [1, 0]]).bool().numpy(),
            [0, 0, 1, 0],
            r"0s and 1s .* multi-label .*target=Bit\(j\)",
        ),
        (torch.linspace(0, 1, 4)[:, None], [0, 1, 1, 1], r"one column with values in \[0, 1\].*target=Bit\(0\)"),
        (
            torch.tensor([[120.0], [80.0], [0.0], [99.5]]),
            [1, 1, 0, 1],
            r"never negative, as a regression.*target=Within\(tolerance\)",
        ),
        ([LOGITS.numpy(), -LOGITS.numpy()], LABELS, r"a list of 2 outputs .* several targets .*model\(x\)\[0\]"),
    ],
)
def test_a_doubtful_output_is_read_and_told_once(output: Any, expected: list[int], words: str) -> None:
    reader = Outputs(CPU)
    with pytest.warns(AnchorsWarning, match=words) as told:
        assert reader.labels(output, 4).tolist() == expected
    assert len(told) == 1
    for _ in range(2):
        assert reader.labels(output, 4).tolist() == expected  # a second warning would be an error here


def test_rows_one_by_one_are_as_doubtful_as_together() -> None:
    reader = Outputs(CPU)
    for row in SIGMOIDS[:3]:
        reader.labels(row[None], 1)
    with pytest.warns(AnchorsWarning, match="do not sum to 1"):
        reader.labels(SIGMOIDS[3:], 1)


@pytest.mark.parametrize(
    "outputs",
    [
        [torch.tensor([[0.4]]), torch.linspace(-1, 1, 8)[:, None]],  # one logit that happens to be small
        [SIGMOIDS[:3], LOGITS],
        [torch.zeros(8, 2)],
        [torch.full((8, 3), torch.nan)],
        [torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(9, 1)],
        [torch.rand(50, 10).softmax(1).bfloat16()],
        [torch.tensor([[3.0, 5.0], [5.0, 3.0]]).repeat(9, 1)],  # votes
    ],
)
def test_nothing_is_doubtful_about_scores(outputs: Sequence[Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels_of_each = Outputs(CPU)
        for output in outputs:
            labels_of_each.labels(output, len(output))


def test_values_are_looked_at_no_longer_than_needed_and_never_where_that_would_wait() -> None:
    """A later batch is not looked at; one on a device is not where nobody asked for it."""
    reader = Outputs(CPU)
    reader.labels(torch.randn(100, 3), 100)
    reader.labels(SIGMOIDS, 4)
    Outputs(torch.device("meta"), may_wait=False).labels(torch.empty(4, 3, device="meta"), 4)


# ------------------------------------------------------------------------------------------------- what is an error


def nested() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype
        return torch.nested.nested_tensor([torch.rand(2), torch.rand(3)])


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are going to be removed
        return torch.quantize_per_tensor(LOGITS, 0.1, 0, torch.qint8)


def generated() -> Any:
    yield from LOGITS


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (torch.rand(4), r"got shape \(4,\) of torch.float32.*target=Within.*target=Between"),
        (np.array([0.2, 0.0, 1.0, 1.0]), r"got shape \(4,\).*regression"),
        (torch.rand(4, 3, 2, 2), r"got shape \(4, 3, 2, 2\).*argmax.*target=MaskOverlap"),
        (torch.zeros(4, 2, 3, dtype=torch.int64), r"got shape \(4, 2, 3\)"),
        (torch.rand(4, 0), r"got shape \(4, 0\)"),
        (torch.rand(4, 3).to(torch.complex64), "complex64.*abs"),
        (LOGITS.numpy().astype(complex), "complex128.*abs"),
        (torch.rand(5, 3), r"expected 4 rows, got shape \(5, 3\)"),
        (torch.rand(0, 3), r"expected 4 rows, got shape \(0, 3\)"),
        (torch.tensor(3), r"expected 4 rows, got shape \(\)"),
        (["dog", "cat"], r"expected 4 rows, got shape \(2,\)"),
        (LOGITS.to_sparse(), r"sparse tensor.*to_dense\(\)"),
        (quantised(), r"quantised tensor.*dequantize\(\)"),
        (LOGITS.to("meta"), "meta tensor, which has no values"),
        (nested(), "nested tensor.*stack"),
        ({"a": LOGITS, "b": LOGITS}, "it has a, b.*Wrap"),
        ({}, "mapping.*has none"),
        ({"logits": None}, "got NoneType"),
        (None, "got NoneType.*Wrap"),
        ("cat", "got str"),
        ((), "got tuple"),
        (((LOGITS,), None), r"got tuple of tuple.*model\(x\)\[0\]"),
        (3.0, "got float"),
        (generated(), "got generator.*stack"),
        (map(str, LOGITS), "got map.*stack"),
        (SimpleNamespace(scores=LOGITS), "got SimpleNamespace"),
        ([[1.0], [1.0, 2.0], [1.0], [1.0]], "list"),
        (np.array([["a", "b"]] * 4), "numbers .* or class names"),
        (np.array(["a", None, "b", 3], dtype=object), "numbers .* or class names"),
        (np.array([1.5, 2, 3, 4], dtype=object), r"of object .*astype\(float\)"),
        (LOGITS.numpy().astype(object), r"of object .*astype\(float\)"),
        (np.array(["2020-01-01"] * 4, dtype="datetime64[D]"), "numbers .* or class names"),
        (np.zeros(4, dtype=[("a", int)]), "numbers .* or class names"),
    ],
)
def test_an_output_without_labels_is_an_error(output: Any, words: str) -> None:
    with pytest.raises(PredictorReturnTypeError, match=f"(?s){words}"):
        Outputs(CPU).labels(output, 4)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (LOGITS, LOGITS[:, :2], "returned 3 before and 2 columns now"),
        (LOGITS[:, :1] - 1, LOGITS, "returned 2 before and 3 columns now"),
        (LOGITS, torch.tensor(LABELS), "it returned scores before and labels now"),
        (torch.tensor(LABELS), LOGITS, "it returned labels before and scores now"),
        (torch.tensor(LABELS), list("abcd"), "it returned labels before and class names now"),
        (list("abcd"), LOGITS, "it returned class names before and scores now"),
        (np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.2, 1.0, 1.0, 0.0]), "regression"),
    ],
)
def test_all_batches_have_the_same_kind_of_output(first: Any, second: Any, words: str) -> None:
    reader = Outputs(CPU)
    reader.labels(first, 4)
    with pytest.raises(PredictorReturnTypeError, match=words):
        reader.labels(second, 4)
    reader.labels(first, 4)  # which stays what it was
