"""The nearest miss of rows of a table, against loops over all rows that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors import AnchorTabular, load
from torch_anchors.engine.outputs import INVALID
from torch_anchors.tables.count import labelled_training
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

RNG = np.random.default_rng(1)
ROWS = np.column_stack([RNG.normal(size=400), RNG.integers(0, 3, 400), RNG.normal(size=400)])
ROWS[::7, 2] = np.nan
INSTANCES = np.array([[0.3, 1.0, 0.0], [-2.0, 0.0, np.nan], [9.0, 2.0, -9.0], [0.1, 7.0, 0.2]])


def model(rows: np.ndarray) -> np.ndarray:
    return ((rows[:, 0] > 0.5) | (rows[:, 1] == 2)).astype(int)


def unlike(training: TrainingRows, rows: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """Which columns are in another bin, row by row and column by column."""
    bins = training.discretizer.bin(torch.from_numpy(np.concatenate([rows, instance[None]]))).numpy()
    return bins[:-1] != bins[-1]


def test_columns_that_are_unlike_are_those_in_other_bins() -> None:
    training = TrainingRows.fit(ROWS, [None, 3, None])
    sampler = RowSampler(training, INSTANCES)
    rows = torch.from_numpy(np.concatenate([ROWS, INSTANCES[:3]]))
    for i, instance in enumerate(INSTANCES[:3]):
        expected = unlike(training, rows.numpy(), instance)
        np.testing.assert_array_equal(sampler.changed(rows, i).numpy(), expected)
        np.testing.assert_array_equal(sampler.n_changes(rows, i).numpy(), expected.sum(1))
    assert sampler.n_changes(sampler.instance_code(3), 3).tolist() == [0]  # of a category that was never seen
    np.testing.assert_array_equal(sampler.changed(rows[:3], [0, 1, 2])[1].numpy(), sampler.changed(rows[1:2], 1)[0])


@pytest.mark.parametrize("compared_at_once", [1 << 22, 1])
def test_the_nearest_training_row_is_that_of_a_loop(
    compared_at_once: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_training, "COMPARED_AT_ONCE", compared_at_once)
    training = TrainingRows.fit(ROWS, [None, 3, None], device=device)
    labels = model(ROWS).astype(np.int64) + 5
    labels[::5] = INVALID
    labelled = LabelledTraining(training, torch.as_tensor(labels, device=device))
    sampler = RowSampler(training, INSTANCES)
    for explained in ([5, 6, 5, 6], [6, 6, 99, 99]):
        found = labelled.nearest_misses(sampler.binned, labelled.class_of(np.array(explained)))
        for miss, instance, label in zip(found, INSTANCES, explained, strict=True):
            n_unlike = unlike(training.to("cpu"), ROWS, instance).sum(1)
            nearest = min((n, i) for i, n in enumerate(n_unlike) if labels[i] not in (label, INVALID))[1]
            assert miss is not None
            np.testing.assert_array_equal(miss[0], ROWS[nearest])
            assert miss[1] == labels[nearest]
    assert labelled.share_of_others(5) == (labels == 6).mean()
    assert labelled.share_of_others(99, torch.arange(40, device=device)) == (labels[:40] != INVALID).mean()


def test_there_is_none_where_all_rows_have_the_label() -> None:
    training = TrainingRows.fit(ROWS, [None, 3, None])
    labelled = LabelledTraining(training, torch.full((400,), 4))
    assert labelled.nearest_misses(RowSampler(training, INSTANCES).binned, np.zeros(4, dtype=np.int64)) == [None] * 4


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("method", ["auto", "beam"])
def test_explanations_show_the_nearest_row_that_was_tried(sampling: str, method: str, tmp_path: Any) -> None:
    sent: list[np.ndarray] = []

    def recorded(rows: np.ndarray) -> np.ndarray:
        sent.append(rows.copy())
        return model(rows)

    names = ["age", "job", "pay"]
    explainer = AnchorTabular(recorded, names, {1: ["a", "b", "c"]}, seed=0, sampling=sampling, dtype=np.float64)
    explainer.fit(ROWS)
    training = explainer._fitted.training
    explainer.predict(ROWS[:1])
    for instance in INSTANCES[:3]:
        explainer._fitted.labelled(), sent.clear()
        found = explainer.explain(instance, method=method)
        rows = np.concatenate(sent)
        rows = rows if (model(rows) != found.label).any() else ROWS
        n_unlike = unlike(training, rows, instance).sum(1)
        misses = model(rows) != found.label
        miss = found.nearest_miss
        assert miss is not None
        assert len(miss.changed) == n_unlike[misses].min()
        assert (miss.label, miss.hit) == (1 - found.label, False)
        row = explainer.schema.encode({name: [value] for name, value in miss.row.items()})
        assert tuple(np.flatnonzero(unlike(training, row, instance)[0]).tolist()) == miss.changed
        assert found.to_dict()["nearest_miss"] == {"changed": list(miss.changed), "label": miss.label}
        assert f"another label {'differs' if miss.changed else 'is in the same bins'}" in str(found)
        found.save(tmp_path / "rule.json")
        again = load(tmp_path / "rule.json")
        assert str(again.nearest_miss) == str(miss)
        assert str(again) == str(found)


def test_rows_of_a_batch_have_the_misses_that_they_have_alone() -> None:
    explainer = AnchorTabular(model, ["age", "job", "pay"], {1: ["a", "b", "c"]}, seed=0).fit(ROWS)
    together = explainer.explain_batch(INSTANCES[:3])
    alone = [explainer.explain(row) for row in INSTANCES[:3]]
    assert [str(one.nearest_miss) for one in together] == [str(one.nearest_miss) for one in alone]


def test_files_of_earlier_versions_have_none() -> None:
    found = AnchorTabular(model, seed=0).fit(ROWS).explain(INSTANCES[0])
    document = found._document()
    del document.data["explanation"]["nearest_miss"]
    assert type(found).of_document(document).nearest_miss is None
