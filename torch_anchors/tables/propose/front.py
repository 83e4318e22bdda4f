"""Anchors grown greedily to a front between precision and coverage, for many instances at once on their device.

The precision is a surrogate's, which adds up a weight for each column and takes the sigmoid: for S fixed training
rows, the odds of an anchor are those of a smaller one times one line of factors. So the precision of all extensions of
an anchor is one product, one sum and one reciprocal, and their coverage one matrix product.

An anchor, a branch, is grown one condition at a time to the largest log-odds of precision + exchange * log coverage,
once for each of several rates of exchange. Of all extensions met on the way, whatever their branch, the one of largest
coverage at each of several rates of error is kept: the front.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int

EXCHANGE = (0.0, 0.4, 0.8, 1.3, 2.0, 4.0)
"""Log-odds of precision given up for a unit of log coverage; more rates found no larger rules on Adult. Grown at
rate 0, whatever its coverage, an anchor that names nearly every column is the last resort."""
TIE = 1e-7
"""Coverage by which a less precise anchor is behind a more precise one of equal coverage."""
MOST_ODDS = 1e26
"""Odds beyond these, and below their inverse, are taken for these: products of two of them are still finite."""


def best_of(
    chosen: Int[Tensor, "instances times branches steps"],
    precision: Float[Tensor, "instances times branches conditions"],
    coverage: Float[Tensor, "instances times branches conditions"],
    errors: Float[Tensor, " levels"],
) -> tuple[Int[Tensor, "instances levels_and_1 steps"], Float[Tensor, "instances levels_and_1"]]:
    """The front: conditions, padded with -1, and precision of the best of all extensions of branches at all steps.

    These are at each rate of error the one of largest coverage, and last the one of most precision; nan is the
    precision of none. Of several that are as good it is one of the first step.

    Args:
        chosen: the conditions of the branches before each step.
        precision: of their extensions by one condition.
        coverage: of these; -inf marks no extension.
        errors: rates of error.
    """
    n_conditions = precision.shape[3]
    precision, coverage = precision.flatten(2), coverage.flatten(2)  # instances, steps, branches * conditions
    # With the most precise first, the best at each rate of error is the best of the first few.
    precise, order = precision.where(coverage > -torch.inf, -torch.inf).sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(order.shape[2], device=order.device)
    so_far, place = (coverage.gather(2, order) - TIE * rank).cummax(-1)
    n_enough = torch.searchsorted(-precise, (errors - 1).expand(*order.shape[:2], -1).contiguous(), right=True)
    last = (n_enough - 1).clamp(min=0)
    value = torch.cat([so_far.gather(2, last).where(n_enough > 0, -torch.inf), precise[:, :, :1]], dim=2)
    best = torch.cat([order.gather(2, place.gather(2, last)), order[:, :, :1]], dim=2)
    step = value.argmax(1, keepdim=True)
    exists = value.gather(1, step)[:, 0] > -torch.inf
    best, step = best.gather(1, step)[:, 0], step[:, 0]
    own = torch.arange(len(best), device=best.device)[:, None]
    extended = chosen[own, step, best // n_conditions].scatter(2, step[..., None], (best % n_conditions)[..., None])
    return extended.where(exists[..., None], -1), precision[own, step, best].where(exists, torch.nan)


def grow(
    sums: Float[Tensor, "instances intervened"],
    change: Float[Tensor, "instances conditions intervened"],
    held: Float[Tensor, "instances conditions covered"],
    column: Int[Tensor, "instances conditions"],
    size: Int[Tensor, "instances conditions"],
    room: int,
    n_steps: int,
    errors: Float[Tensor, " levels"],
    idle: Bool[Tensor, "instances conditions"] | None = None,
) -> tuple[Int[Tensor, "instances anchors steps"], Float[Tensor, "instances anchors"]]:
    """Conditions, padded with -1, and precision of the anchors met by growing one branch for each rate of exchange.

    They are the front, then the longer half of those that the first branch became; nan is the precision of none.

    Args:
        sums: the surrogate's sums without any condition.
        change: what each condition adds to them.
        held: 1 on the rows where a condition holds, 0 on the others.
        column: that each condition is about, or group of columns, -1 for none; an anchor has one on each.
        size: number of predicates in each condition.
        room: most predicates in an anchor.
        n_steps: most conditions in an anchor.
        errors: rates of error of the front.
        idle: conditions that only the first branch may have, once it has all others that are of use; None for none.
    """
    n_instances, n_covered = held.shape[0], held.shape[2]
    n_branches, device = len(EXCHANGE), held.device
    own = torch.arange(n_instances, device=device)[:, None]
    exchange = torch.tensor(EXCHANGE, device=device)[:, None]
    against = _odds_against(sums)[:, None].expand(-1, n_branches, -1)
    factor = _odds_against(change.clamp(-20, 20))
    holds = torch.ones(n_instances, n_branches, n_covered, device=device)
    held_by_row = held.mT.contiguous()
    is_open = (column >= 0)[:, None].expand(-1, n_branches, -1)
    if idle is not None:
        is_open = is_open.clone()
        is_open[:, 1:] &= ~idle[:, None]
    left = torch.full((n_instances, n_branches, 1), room, device=device)
    chosen = torch.full((n_instances, n_branches, n_steps), -1, device=device)
    tried: list[tuple[Tensor, Tensor, Tensor]] = []
    on_the_way: list[tuple[Tensor, Tensor]] = []

    for step in range(n_steps):
        precision = (against[:, :, None] * factor[:, None]).add_(1).reciprocal_().mean(-1)
        coverage = (holds @ held_by_row + 0.5) / (n_covered + 1)  # never 0: the longest anchors hold on few rows
        coverage = coverage.where(is_open & (size[:, None] <= left), -torch.inf)
        tried.append((chosen.clone(), precision, coverage))
        score = precision.logit(eps=1e-6) + exchange * coverage.clamp(min=1e-9).log()
        score = score.where(coverage > -torch.inf, -torch.inf)
        score, best = score.max(-1)  # instances, branches
        extended = score > -torch.inf
        chosen[:, :, step] = best.where(extended, -1)
        reached = precision.gather(2, best[..., None])[..., 0].where(extended, torch.nan)
        on_the_way.append((chosen[:, :1].clone(), reached[:, :1]))
        against = (against * factor[own, best]).clamp_(1 / MOST_ODDS, MOST_ODDS)
        holds = holds * held[own, best]
        is_open = is_open & (column[:, None] != column.gather(1, best)[..., None])
        left = left - size.gather(1, best)[..., None]
    before, precision, coverage = (torch.stack(parts, dim=1) for parts in zip(*tried, strict=True))
    front = best_of(before, precision, coverage, errors)
    lines, precisions = zip(front, *on_the_way[n_steps // 2 :], strict=True)
    return torch.cat(lines, dim=1), torch.cat(precisions, dim=1)


def contributions(
    sums: Float[Tensor, "instances intervened"],
    change: Float[Tensor, "instances conditions intervened"],
    chosen: Int[Tensor, "instances anchors steps"],
) -> Float[Tensor, "instances anchors steps"]:
    """Log-odds of precision that each chosen condition adds to the others of its anchor; 0 where there is none.

    `sums` and `change` are those of `grow`, `chosen` what it returns.
    """
    own = torch.arange(len(sums), device=sums.device)[:, None, None]
    factor = _odds_against(change.clamp(-20, 20))[own, chosen.clamp(min=0)]
    factor = factor.where(chosen[..., None] >= 0, 1.0)  # instances, anchors, steps, intervened
    against = (_odds_against(sums)[:, None] * factor.prod(2)).clamp_(1 / MOST_ODDS, MOST_ODDS)
    without = (against[:, :, None] / factor).add_(1).reciprocal_().mean(-1)
    whole = (against + 1).reciprocal_().mean(-1)
    return whole.logit(eps=1e-6)[..., None] - without.logit(eps=1e-6)


def _odds_against(log_odds: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Of a label whose logistic log-odds are given; the chance of the label is 1 / (1 + these)."""
    return (-log_odds).exp().clamp_(1 / MOST_ODDS, MOST_ODDS)
