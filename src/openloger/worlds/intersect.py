"""Where a ray enters a solid, in the solid's unit body: exact, closed form, pointwise on tensors of any shape.

A ray is origin + t · direction; directions have z = 1 along the camera's axis, so t is the depth. The result is +inf
where the ray misses, starts inside, or enters nearer than `NEAREST`. Both ray-casters use these
functions.
"""

from __future__ import annotations

import torch

from openloger.shapes import Float, Tensor

NEAREST = 0.02  # metres along z
_TINY = 1e-20
_OFF = 1e25  # beyond every crossing

Vector = tuple[Tensor, ...]  # x, y, z


def clip(numerator: Tensor, denominator: Tensor, enter: Tensor, leave: Tensor) -> tuple[Tensor, Tensor]:
    """Clips [enter, leave] by the half-space numerator − t · denominator ≥ 0.

    A falling denominator bounds `enter`, a rising one `leave`. `off` is far beyond the crossing on the side where the
    other one takes no notice of it: least and greatest are many times faster than a choice by a mask.
    """
    crossing = numerator / (denominator + _TINY)
    off = torch.clamp(denominator * -1e36, -_OFF, _OFF)
    return torch.maximum(enter, torch.minimum(crossing, off)), torch.minimum(leave, torch.maximum(crossing, off))


def enter_box(origin: Vector, direction: Vector, taper_x: Tensor, taper_z: Tensor) -> Float[Tensor, "..."]:
    """Box whose sides lean inwards towards the top by `taper` (0: upright, 1: meeting in a ridge)."""
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    enter = torch.full_like(dx + oy, NEAREST)
    leave = torch.full_like(enter, float("inf"))
    for along, towards, taper in ((ox, dx, taper_x), (oz, dz, taper_z)):
        lean = 0.5 * taper
        reach = (1.0 - lean) + lean * oy
        closing = lean * dy
        enter, leave = clip(reach - along, towards - closing, enter, leave)
        enter, leave = clip(reach + along, -towards - closing, enter, leave)
    enter, leave = clip(1.0 - oy, dy, enter, leave)
    enter, leave = clip(1.0 + oy, -dy, enter, leave)
    return torch.where((enter < leave) & (enter > NEAREST), enter, float("inf"))


def enter_cylinder(origin: Vector, direction: Vector, taper: Tensor) -> Float[Tensor, "..."]:
    """Upright cylinder or cone with flat ends. The quadratic is solved from the point nearest to the axis, which
    keeps thin posts far away exact in float32."""
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    flat = dx * dx + dz * dz
    nearest = -(ox * dx + oz * dz) / torch.clamp(flat, min=_TINY)
    px, py, pz = ox + nearest * dx, oy + nearest * dy, oz + nearest * dz
    lean = 0.5 * taper
    radius = (1.0 - lean) + lean * py
    closing = lean * dy
    a = flat - closing * closing
    a = torch.where(a == 0, _TINY, a)
    b = px * dx + pz * dz - closing * radius
    c = px * px + pz * pz - radius * radius
    discriminant = b * b - a * c
    side = nearest + (-b - torch.sqrt(torch.clamp(discriminant, min=0.0))) / a
    side_y = oy + side * dy
    side_met = (discriminant > 0) & (side > NEAREST) & (torch.abs(side_y) <= 1.0)
    end_y = torch.where(dy > 0, -1.0, 1.0)
    end = (end_y - oy) / torch.where(dy == 0, _TINY, dy)
    ex, ez, end_radius = ox + end * dx, oz + end * dz, (1.0 - lean) + lean * end_y
    end_met = (ex * ex + ez * ez <= end_radius * end_radius) & (end > NEAREST)
    first = torch.where(side_met, side, float("inf"))
    return torch.minimum(first, torch.where(end_met, end, float("inf")))


def enter_ellipsoid(origin: Vector, direction: Vector) -> Float[Tensor, "..."]:
    """Unit ball; solved from the point nearest to its centre, as `enter_cylinder`."""
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    a = dx * dx + dy * dy + dz * dz
    nearest = -(ox * dx + oy * dy + oz * dz) / a
    px, py, pz = ox + nearest * dx, oy + nearest * dy, oz + nearest * dz
    b = px * dx + py * dy + pz * dz
    discriminant = b * b - a * (px * px + py * py + pz * pz - 1.0)
    enter = nearest + (-b - torch.sqrt(torch.clamp(discriminant, min=0.0))) / a
    return torch.where((discriminant > 0) & (enter > NEAREST), enter, float("inf"))
