"""The batched sampler against a plain loop, and what must hold of every row it draws."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, kstest
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.test_fake_cuda import RealHost
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import EnumerateRequest, SampleRequest
from torch_anchors.tables import row_index
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

# Columns: a number, a category of 3, a category of 4 that follows the first, a number that follows the category.
N_CATEGORIES = [None, 3, 4, None]


def table(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, n_rows)
    b = (a + rng.integers(0, 2, n_rows)) % 4
    return np.column_stack([rng.normal(size=n_rows).round(1), a, b, a + rng.normal(size=n_rows)]).astype(float)


def perturbations(rows, instances, device="cpu", percentiles=(50,), **options):
    training = TrainingRows.fit(rows, N_CATEGORIES[: rows.shape[1]], percentiles, device=device)
    return RowSampler(training, np.atleast_2d(np.asarray(instances, dtype=float)), **options)


def draw(sampler, anchor, n, seed=0, instance=0):
    (rows,) = sampler.draw([Order(SampleRequest(anchor, n), np.random.default_rng(seed), instance)])
    return rows.cpu().numpy()


def satisfies(sampler, rows, anchor, instance=0):
    """Whether each row satisfies each condition of the anchor, judged by values and not by bins."""
    x = sampler.instances[instance]
    ok = np.ones(len(rows), dtype=bool)
    cuts = sampler.training.discretizer.cuts
    for p in anchor:
        column, low = int(sampler.predicates.column[instance, p]), int(sampler.predicates.low[instance, p])
        high = int(sampler.predicates.high[instance, p])
        values = rows[:, column]
        if N_CATEGORIES[column] is not None:
            ok &= values == x[column]
        elif low == 0:
            ok &= values <= cuts[column][high]
        else:
            ok &= values > cuts[column][low - 1]
    return ok


def naive_draw(sampler, anchor, n, sampling, seed):
    """Rows drawn one by one, column by column, as the docstring of `RowSampler` says."""
    rng = np.random.default_rng(seed)
    training, x = sampler.training.values.cpu().numpy(), sampler.instances[0]
    columns = sorted({int(sampler.predicates.column[0, p]) for p in anchor})

    def rows_where(columns):
        chosen = [p for p in anchor if int(sampler.predicates.column[0, p]) in columns]
        return training[satisfies(sampler, training, chosen)]

    prefixes = [rows_where(columns[:length]) for length in range(len(columns) + 1)]
    alone = {column: rows_where([column]) for column in columns}
    drawn = []
    for _ in range(n):
        length = len(columns)
        while len(prefixes[length]) == 0:
            length -= 1
        joint = rng.choice(prefixes[length])
        row = joint.copy() if sampling == "conditional" else rng.choice(training).copy()
        row[columns[:length]] = joint[columns[:length]]
        for column in columns[length:]:
            row[column] = rng.choice(alone[column])[column] if len(alone[column]) else x[column]
        drawn.append(row)
    return np.array(drawn)


def same_distribution(one, other, bins):
    """p-value that two samples have the same joint distribution of bins."""
    codes = [np.ravel_multi_index(bins(rows).T, (8,) * one.shape[1]) for rows in (one, other)]
    cells = np.unique(np.concatenate(codes))
    counts = np.array([[(c == cell).sum() for cell in cells] for c in codes])
    rare = counts.sum(0) < 10
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
    return chi2_contingency(counts[:, counts.sum(0) > 0]).pvalue


SCARCE = np.array([[0.0, 0, 0, 0.5], [0.1, 0, 1, 0.7], [0.2, 1, 1, 0.9], [0.3, 2, 2, 1.5]])
CASES = {
    "common": (table(), [0.05, 1, 1, 0.8], (0, 1, 2)),
    "no condition": (table(), [0.05, 1, 1, 0.8], ()),
    "one row holds": (np.vstack([table(), SCARCE]), [9.0, 0, 3, 0.0], (1,)),
    "no row holds all": (table(), [0.05, 0, 3, 3.0], (0, 1, 2, 3)),  # category 3 never goes with 0
    "scarce": (SCARCE, [0.0, 0, 1, 0.6], (0, 1, 2)),
    "two unseen": (table(), [0.05, 7, 9, 0.3], (0, 1, 2, 3)),
    "unseen then seen": (table(), [0.05, 7, 1, 0.3], (1, 2, 3)),
}


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:No training row has")
def test_draws_come_from_the_distribution_of_the_naive_loop(case, sampling, device):
    rows, instance, anchor = CASES[case]
    sampler = perturbations(rows, instance, device, sampling=sampling)
    n = 3000
    ours = draw(sampler, anchor, n, seed=1)
    naive = naive_draw(sampler, anchor, n, sampling, seed=2)
    assert satisfies(sampler, ours, anchor).all()
    assert satisfies(sampler, naive, anchor).all()

    def bins(rows):
        quartiles = np.column_stack([np.digitize(rows[:, c], [0, 0.5, 1, 2]) for c in (0, 3)])
        return np.column_stack([quartiles, rows[:, 1:3].clip(max=7).astype(int)])

    assert same_distribution(ours, naive, bins) > 1e-3


def test_the_two_distributions_differ_where_columns_depend_on_each_other():
    rows, instance, anchor = CASES["common"]
    samples = [draw(perturbations(rows, instance, sampling=s), anchor, 3000) for s in ("interventional", "conditional")]
    means = [sample[:, 3].mean() for sample in samples]
    assert abs(means[0] - means[1]) > 0.01
    assert {tuple(row) for row in samples[1]} <= {tuple(row) for row in rows}
    assert not {tuple(row) for row in samples[0]} <= {tuple(row) for row in rows}


def test_an_anchors_columns_are_replaced_together():
    # b equals a in training; replaced one by one they would differ in some rows that a condition on both allows.
    a = np.repeat([0.0, 1.0, 2.0, 3.0], 25)
    sampler = RowSampler(
        TrainingRows.fit(np.column_stack([a, a, a[::-1]]), [None] * 3, (25, 75)), np.array([[1.0, 1.0, 1.0]])
    )
    drawn = draw(sampler, (1, 3), 500)  # x <= 2.25 in the first two columns
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert len(np.unique(drawn[:, 0])) > 1
    assert (drawn[:, 2] != drawn[:, 0]).any()


def test_a_number_in_empty_bins_is_uniform_inside_them():
    rows = np.array([[0.0, 0.0], [10.0, 1.0]])
    sampler = RowSampler(TrainingRows.fit(rows, [None, 2], (25, 50, 75)), np.array([[4.0, 0.0]]))
    assert sampler.training.discretizer.cuts[0].tolist() == [2.5, 5, 7.5]
    with pytest.warns(AnchorsWarning, match=r"or a number in its bins, in columns \[0\]"):
        drawn = draw(sampler, (0, 1), 2000)  # 2.5 < x <= 5
    assert ((drawn[:, 0] > 2.5) & (drawn[:, 0] <= 5)).all()
    assert kstest((drawn[:, 0] - 2.5) / 2.5, "uniform").pvalue > 1e-3
    assert set(drawn[:, 1]) == {0, 1}


@pytest.mark.filterwarnings("ignore:No training row has")
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_row_drawn_satisfies_its_anchor(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n_rows = data.draw(st.integers(1, 40))
    rows = table(n_rows, seed)
    instances = table(3, seed + 1)
    # Categories beyond any that were named, and numbers beyond the training rows.
    instances[rng.random(instances.shape) < 0.2] = 11
    sampling = data.draw(st.sampled_from(["interventional", "conditional"]))
    sampler = perturbations(rows, instances, percentiles=(25, 50, 75), sampling=sampling)
    orders = []
    for i in range(8):
        k = rng.integers(0, sampler.n_predicates + 1)
        anchor = tuple(sorted(rng.choice(sampler.n_predicates, k, replace=False).tolist()))
        orders.append(Order(SampleRequest(anchor, int(rng.integers(1, 9))), np.random.default_rng(i), i % 3))
    for order, drawn in zip(orders, sampler.draw(orders), strict=True):
        assert drawn.shape == (order.request.n, 4)
        assert satisfies(sampler, drawn.numpy(), order.request.anchor, order.instance).all()


def many_orders(sampler, n_orders=40):
    rng = np.random.default_rng(5)
    orders = []
    for i in range(n_orders):
        k = rng.integers(0, sampler.n_predicates + 1)
        anchor = tuple(sorted(rng.choice(sampler.n_predicates, k, replace=False).tolist()))
        instance = int(rng.integers(len(sampler.instances)))
        orders.append(Order(SampleRequest(anchor, int(rng.integers(1, 30))), np.random.default_rng(i), instance))
    return orders


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("chunk_bytes", [1, 2**26])
def test_batched_equals_one_by_one_bit_for_bit(sampling, chunk_bytes, monkeypatch, device):
    monkeypatch.setattr(row_index, "CHUNK_BYTES", chunk_bytes)
    sampler = perturbations(table(), table(6, seed=3), device, (25, 50, 75), sampling=sampling)
    together = sampler.draw(many_orders(sampler))
    alone = [sampler.draw([order])[0] for order in many_orders(sampler)]
    backwards = sampler.draw(many_orders(sampler)[::-1])[::-1]
    for one, two, three in zip(together, alone, backwards, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_covered_rows_are_counted_exactly(device):
    rows = table()
    sampler = perturbations(rows, table(4, seed=9), device, (25, 50, 75))
    orders = many_orders(sampler)
    instances, anchors = [o.instance for o in orders], [o.request.anchor for o in orders]
    expected = [satisfies(sampler, rows, a, i).sum() for i, a in zip(instances, anchors, strict=True)]
    assert sampler.n_covered(instances, anchors).tolist() == expected


def test_the_instance_and_the_models_rows(device):
    instances = table(3, seed=4)
    sampler = perturbations(
        table(), instances, device, to_model=lambda codes: torch.cat([codes, -codes], 1), dtype=torch.float32
    )
    code = sampler.instance_code(1)
    assert code.cpu().numpy().tolist() == instances[1:2].tolist()
    assert sampler.row_shape() == (8,)
    room = sampler.empty(1)
    assert sampler.render(code, room) is room
    assert torch.equal(sampler.render(code), room)
    assert room.dtype == torch.float32
    assert torch.equal(room[:, 4:], -room[:, :4])
    assert room.device.type == device.type


def on_fake_cuda(sampler):
    """The sampler as it would be on a GPU; what it keeps on the host stays there. Call it under a fake mode."""
    moved = copy.copy(sampler)
    moved.device = torch.device("cuda")
    moved.training = sampler.training.to("cuda")
    moved.predicates = sampler.predicates.to("cuda")
    moved._instance_codes = sampler._instance_codes.to("cuda")
    return moved


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.filterwarnings("ignore:No training row has")
def test_a_round_on_the_device_needs_no_synchronisation(sampling):
    instances = np.vstack([table(2, seed=4), [[0.0, 7, 9, 0.0]]])
    sampler = perturbations(table(), instances, sampling=sampling)
    with FakeTensorMode() as gpu, RealHost(gpu):
        faked = on_fake_cuda(sampler)
        drawn = faked.draw(many_orders(sampler))
        rendered = faked.render(torch.cat(drawn), faked.empty(sum(map(len, drawn))))
        counts = faked.n_covered([0, 1], [(0,), ()])
    assert {t.device.type for t in (*drawn, rendered, counts, faked.instance_code(0))} == {"cuda"}
    assert rendered.shape[1] == 4


def test_a_warning_names_the_columns_without_rows():
    sampler = perturbations(table(), [0.0, 7, 9, 0.0])
    with pytest.warns(AnchorsWarning, match=r"in columns \[1, 2\]; .* fit on more rows"):
        draw(sampler, (1, 2), 3)


def test_errors_say_what_was_expected():
    with pytest.raises(ArgumentError, match="sampling must be one of"):
        perturbations(table(), table(1), sampling="marginal")
    with pytest.raises(ArgumentError, match="instances must have the training rows' 4 columns, got 3"):
        perturbations(table(), table(1)[:, :3])
    sampler = perturbations(table(), table(1))
    with pytest.raises(TypeError, match="never enumerated"):
        sampler.draw([Order(EnumerateRequest(()), np.random.default_rng(0), 0)])


def test_fixed_columns_have_the_instances_values_and_nothing_else_changes() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=300), rng.integers(0, 3, 300), rng.normal(size=300)])
    training = TrainingRows.fit(rows, [None, 3, None])
    free, fixed = RowSampler(training, rows[:4]), RowSampler(training, rows[:4], fixed=(1, 2))
    orders = [Order(SampleRequest((0,), 50), np.random.default_rng(7), i) for i in (2, 0)]
    same = [Order(SampleRequest((0,), 50), np.random.default_rng(7), i) for i in (2, 0)]
    for i, own, usual in zip((2, 0), fixed.draw(orders), free.draw(same), strict=True):
        assert (own[:, 1:] == torch.tensor(rows[i, 1:])).all()
        assert (own[:, 0] == usual[:, 0]).all()
    assert free.kept is None
    columns, bins = fixed.kept or ()
    assert columns == (1, 2)
    assert (bins == training.discretizer.bin(torch.tensor(rows[:4]))[:, 1:].numpy()).all()
    assert fixed.alone(3).fixed == (1, 2)
    with pytest.raises(ArgumentError, match="fixed must be None with sampling='conditional'"):
        RowSampler(training, rows[:4], sampling="conditional", fixed=(0,))
