"""Eval mode of a module while anybody predicts with it, and its own mode afterwards."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from torch_anchors.engine import eval_mode as eval_mode_module
from torch_anchors.engine.eval_mode import eval_mode
from torch_anchors.engine.predictor import Predictor


def flags_of(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


def mixed() -> nn.Module:
    """A module that is trained, but for its frozen batch norm."""
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))).train()
    module[1].eval()
    return module


def evaluated() -> nn.Module:
    return mixed().eval()


MODULES = [mixed, evaluated, lambda: mixed().train()]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Before and after each test nobody predicts."""
    assert not eval_mode_module._ROOTS
    assert not eval_mode_module._PARTS
    yield
    assert not eval_mode_module._ROOTS
    assert not eval_mode_module._PARTS


@pytest.mark.parametrize("make", MODULES)
def test_every_part_is_in_eval_mode_and_then_in_its_own(make: Callable[[], nn.Module]) -> None:
    module = make()
    before = flags_of(module)
    with eval_mode(module):
        assert not any(flags_of(module))
    assert flags_of(module) == before


@pytest.mark.parametrize("make", MODULES)
def test_nested_blocks_are_one(make: Callable[[], nn.Module]) -> None:
    module = make()
    before = flags_of(module)
    with eval_mode(module):
        with eval_mode(module), eval_mode(module):
            assert not any(flags_of(module))
        assert not any(flags_of(module))
    assert flags_of(module) == before
    with eval_mode(module):  # and again
        assert not any(flags_of(module))
    assert flags_of(module) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("depth", [1, 2])
def test_an_error_leaves_every_part_as_it_was(error: type[BaseException], depth: int) -> None:
    module = mixed()
    before = flags_of(module)

    def fails(depth: int) -> None:
        with eval_mode(module):
            if depth > 1:
                fails(depth - 1)
            raise error

    with pytest.raises(error):
        fails(depth)
    assert flags_of(module) == before


def test_the_first_thread_to_come_changes_the_mode_and_the_last_to_leave_restores_it() -> None:
    module, seen = mixed(), []
    before = flags_of(module)
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def first() -> None:
        with eval_mode(module):
            seen.append(("first alone", any(flags_of(module))))
            assert second_is_in.wait(timeout=30)
        seen.append(("first has left", any(flags_of(module))))
        first_is_out.set()

    def second() -> None:
        with eval_mode(module):
            second_is_in.set()
            assert first_is_out.wait(timeout=30)
            seen.append(("second alone", any(flags_of(module))))
        seen.append(("both have left", flags_of(module) == before))

    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(first), pool.submit(second)
        for done in waiting:
            done.result(timeout=60)
    assert seen == [
        ("first alone", False),
        ("first has left", False),
        ("second alone", False),
        ("both have left", True),
    ]


def test_two_users_of_one_module_agree_on_its_mode() -> None:
    """A count in each predictor would restore the mode under the other one."""
    module = mixed()
    before = flags_of(module)
    one, two = eval_mode(module), eval_mode(module)  # as in two threads: who came first leaves first
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert not any(flags_of(module))
    two.__exit__(None, None, None)
    assert flags_of(module) == before


def test_many_threads_that_come_and_go_leave_the_module_as_it_was() -> None:
    module = mixed()
    before = flags_of(module)
    together = threading.Barrier(4)

    def comes_and_goes() -> int:
        together.wait(timeout=30)
        wrong = 0
        for _ in range(200):
            with eval_mode(module):
                wrong += any(flags_of(module))
        return wrong

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(comes_and_goes) for _ in range(4)]
        assert sum(done.result(timeout=60) for done in waiting) == 0
    assert flags_of(module) == before


class Trains(nn.Module):
    """A module that puts itself into training mode, as Monte Carlo dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, rows: Tensor) -> Tensor:
        self.dropout.train()
        return self.dropout(rows)


@pytest.mark.parametrize("training", [False, True])
def test_a_forward_pass_that_calls_train_is_put_right(training: bool) -> None:
    module = Trains().train(training)
    with eval_mode(module):
        module(torch.ones(2, 3))
        assert module.dropout.training
    assert flags_of(module) == [training, training]
    Predictor(module)(torch.ones(2, 3))
    assert flags_of(module) == [training, training]


def test_a_forward_pass_that_calls_eval_is_put_right() -> None:
    module = mixed()
    before = flags_of(module)
    with eval_mode(module):
        module.eval()
    assert flags_of(module) == before


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("training", [False, True])
def test_torchscript_follows_the_mode(training: bool) -> None:
    """Its flags are not in Python: only the module's own setter reaches them."""
    module = torch.jit.script(nn.Sequential(nn.Dropout(0.9), nn.Flatten())).train(training)
    rows = torch.ones(4, 50)
    with eval_mode(module):
        with eval_mode(module):
            assert not any(flags_of(module))
            assert torch.equal(module(rows), rows)
        assert torch.equal(module(rows), rows)
    assert flags_of(module) == [training] * 3
    assert torch.equal(module(rows), rows) is not training


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_inside_of_a_module_follows_the_mode() -> None:
    module = nn.Sequential(torch.jit.script(nn.Dropout(0.9)), nn.Dropout(0.9)).train()
    rows = torch.ones(4, 50)
    with eval_mode(module):
        assert torch.equal(module(rows), rows)
    assert flags_of(module) == [True] * 3
    assert not torch.equal(module[0](rows), rows)


def test_other_modules_are_left_alone() -> None:
    module, other = mixed(), mixed()
    before = flags_of(other)
    with eval_mode(module):
        assert flags_of(other) == before
        with eval_mode(other):
            assert not any(flags_of(other))
        assert flags_of(other) == before
        assert not any(flags_of(module))


def test_a_module_that_nobody_predicts_with_is_not_held() -> None:
    module = mixed()
    with eval_mode(module):
        pass
    held = weakref.ref(module)
    del module
    gc.collect()
    assert held() is None


def test_modules_that_share_a_part_agree_on_its_mode() -> None:
    """Who holds the whole may leave before one who predicts with a part of it."""
    whole = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    of_whole, of_part = eval_mode(whole), eval_mode(whole[1])
    of_whole.__enter__()
    of_part.__enter__()
    of_whole.__exit__(None, None, None)
    assert whole.training
    assert not whole[1].training
    of_part.__exit__(None, None, None)
    assert whole[1].training


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_frozen_module_has_no_mode_and_is_asked_as_it_is() -> None:
    frozen = torch.jit.freeze(torch.jit.trace(nn.Linear(3, 2).eval(), torch.zeros(1, 3)))
    assert not hasattr(frozen, "training")
    with eval_mode(frozen):
        assert Predictor(frozen)(torch.ones(4, 3)).shape == (4,)
