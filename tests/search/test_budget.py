"""Rows that may still be sent to the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torch_anchors.search.budget import BudgetSpent, RowBudget


def test_without_a_limit_everything_is_allowed():
    budget = RowBudget(None)
    budget.spend(10**9)
    assert budget.spent == 10**9
    assert budget.allows(10**9)
    assert budget.at_most(10**9) == 10**9


def test_what_was_spent_is_no_longer_there():
    budget = RowBudget(100)
    assert budget.allows(100)
    assert not budget.allows(101)
    assert (budget.at_most(99), budget.at_most(100), budget.at_most(101)) == (99, 100, 100)
    budget.spend(60)
    budget.spend(15)
    assert budget.spent == 75
    assert budget.allows(25)
    assert not budget.allows(26)
    assert (budget.at_most(24), budget.at_most(26)) == (24, 25)


def test_a_spent_budget_allows_nothing_but_nothing():
    budget = RowBudget(10)
    budget.spend(10)
    assert budget.allows(0)
    assert not budget.allows(1)
    assert budget.at_most(5) == 0


def test_what_was_overspent_is_not_taken_back():
    """A search that begins anew may have spent more before than it is allowed."""
    budget = RowBudget(10, spent=13)
    assert not budget.allows(1)
    assert budget.at_most(5) == budget.at_most(0) == 0


@given(st.integers(0, 50), st.lists(st.integers(0, 20), max_size=20))
def test_spending_what_is_left_ends_at_the_limit(limit, wishes):
    """Whatever is wished for, in whichever portions."""
    budget, spent = RowBudget(limit), 0
    for wish in wishes:
        n = budget.at_most(wish)
        assert n == min(wish, limit - spent)
        assert budget.allows(n)
        assert budget.allows(wish) == (n == wish)
        budget.spend(n)
        spent += n
    assert budget.spent == spent == min(sum(wishes), limit)


def test_a_spent_budget_is_an_exception_of_its_own():
    """Nothing else is mistaken for it."""
    assert not issubclass(BudgetSpent, (ValueError, RuntimeError, StopIteration))
    with pytest.raises(BudgetSpent):
        raise BudgetSpent
