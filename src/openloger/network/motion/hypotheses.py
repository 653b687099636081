"""A robust start for the pose: motions from a few matches each, the best by a truncated score (MSAC, Torr 2000).

All hypotheses of all pairs are one batch, drawn by the same numbers every time, so that a run can be repeated to the
bit. The given start is a hypothesis, too. No gradient passes.

Legend: P pair, K hypothesis, N match.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from openloger.geometry import SE3
from openloger.network.motion.pose import LEAST_DEPTH, Matches, Noise, linearise, normal_equations, solve_step
from openloger.shapes import Float, Int, Tensor

SAMPLE = 5  # matches of a hypothesis
STEPS = 4  # Gauss–Newton
DAMPING = 1e-3
DEPTH_SIGMA = 0.05  # of log depth: five matches must not be explained by depth alone
SCORED = 432  # matches, at most, that hypotheses are chosen by
TRUNCATE = 3.0  # σ


@torch.no_grad()
def best_hypothesis(start: SE3, matches: Matches, noise: Noise, *, count: int) -> SE3:
    """The best of `count` motions from SAMPLE matches each, and of `start`; P of them."""
    pairs = len(matches.weight)
    sampled = _sample(matches, count)
    motion = SE3(start.rotation.repeat_interleave(count, 0), start.translation.repeat_interleave(count, 0))
    trusting = replace(noise, depth_sigma=DEPTH_SIGMA)
    for _ in range(STEPS):
        linearised = linearise(motion, sampled, trusting)
        equations = normal_equations(linearised, linearised.seen * sampled.weight)
        motion = SE3.exp(solve_step(*equations, damping=DAMPING)) @ motion
    tried = SE3(
        torch.cat([start.rotation[:, None], motion.rotation.unflatten(0, (pairs, count))], 1),
        torch.cat([start.translation[:, None], motion.translation.unflatten(0, (pairs, count))], 1),
    )
    best = score(tried, matches, noise).nan_to_num(torch.inf).argmin(1)
    at = torch.arange(pairs, device=best.device)
    return SE3(tried.rotation[at, best], tried.translation[at, best])


def score(target_from_source: SE3, matches: Matches, noise: Noise) -> Float[Tensor, "pair hypothesis"]:
    """Negative log likelihood with Σ, truncated, summed over a regular choice of matches.

    log det Σ belongs to it: a motion that makes everything depend on depth would explain every match otherwise.
    """
    step = max(1, matches.weight.shape[1] // SCORED)
    point, pixel, weight = matches.point[..., ::step], matches.pixel[..., ::step], matches.weight[:, ::step]
    turned = target_from_source.rotation @ point[:, None]  # (P, K, 3, N)
    turned_x, turned_y, turned_z = turned.unbind(2)
    tx, ty, tz = target_from_source.translation[..., None].unbind(2)
    fx, fy = matches.focal_px[..., None, None].unbind(1)
    cx, cy = matches.principal_px[..., None, None].unbind(1)
    seen = turned_z + tz > LEAST_DEPTH
    inverse = 1 / torch.where(seen, turned_z + tz, 1.0)
    x, y = (turned_x + tx) * inverse, (turned_y + ty) * inverse
    rx, ry = fx * x + (cx - pixel[:, None, 0]), fy * y + (cy - pixel[:, None, 1])
    gx = fx * inverse * (turned_x - x * turned_z) + 1e-3  # some direction where nothing depends on depth
    gy = fy * inverse * (turned_y - y * turned_z)
    size = gx * gx + gy * gy
    spread = 1 + (noise.depth_sigma / noise.flow_sigma_px) ** 2 * size  # det Σ / σ_f⁴
    along, across = (gx * rx + gy * ry).square(), (gx * ry - gy * rx).square()
    cost = (along / spread + across) / (size * noise.flow_sigma_px**2) + spread.log()
    cost = torch.where(seen, cost, torch.inf).clamp_max(TRUNCATE**2)
    return (cost * weight[:, None]).sum(-1)


def _sample(matches: Matches, count: int) -> Matches:
    """SAMPLE matches for each of P · K hypotheses."""
    index = _draw(matches.weight, count).flatten(1)  # (P, K · SAMPLE)

    def take(values: Tensor) -> Tensor:
        axes = values.shape[1]
        few = values.gather(2, index[:, None].expand(-1, axes, -1)).unflatten(2, (count, SAMPLE))
        return few.transpose(1, 2).flatten(0, 1)  # (P · K, axes, SAMPLE)

    return Matches(
        point=take(matches.point),
        pixel=take(matches.pixel),
        weight=(take(matches.weight[:, None])[:, 0] > 0).to(matches.weight.dtype),
        focal_px=matches.focal_px.repeat_interleave(count, 0),
        principal_px=matches.principal_px.repeat_interleave(count, 0),
    )


def _draw(weight: Float[Tensor, "pair match"], count: int) -> Int[Tensor, "pair hypothesis sample"]:
    """Matches in proportion to their weight, one from each fifth of its running sum."""
    generator = torch.Generator().manual_seed(0)
    jitter = torch.rand(count, SAMPLE, generator=generator, dtype=torch.float64)
    place = ((torch.arange(SAMPLE) + jitter) / SAMPLE).to(weight)
    total = weight.cumsum(1)
    wanted = (place.flatten() * total[:, -1:]).contiguous()
    return torch.searchsorted(total, wanted).clamp_max(weight.shape[1] - 1).unflatten(1, (count, SAMPLE))
