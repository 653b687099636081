"""The colour of what a ray met: texture, lamp, ambient light, contact darkening, haze and sky; pointwise.

Colours are stored with gamma 2 (close to sRGB and cheap): squared before lighting, square-rooted after. Every input
is a tensor of the rays' shape, or a table with the rays' row numbers, so that both ray-casters share this code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from openloger.shapes import Float, Int, Tensor
from openloger.worlds import textures
from openloger.worlds.intersect import Vector
from openloger.worlds.scene import CYLINDER, ELLIPSOID, GROUND, Column, ZoneColumn
from openloger.worlds.surfaces import SurfaceColumn


class SkyColumn:
    """Where a frame's sky, haze and exposure stand in its row."""

    SUN = 0  # unit direction towards the sun, world axes
    SUN_RGB = 3
    ZENITH = 6
    HORIZON = 9
    CLOUD = 12  # cover 0..1
    CLOUD_SCALE = 13
    CLOUD_OFFSET = 14
    HAZE = 16  # 1/m
    FAR = 17  # metres: nothing is seen beyond
    EXPOSURE = 18
    LAYER = 19  # of the clouds
    BLUR = 20  # share of its light that a pixel gives to each neighbour along an axis: the lens's softness
    COUNT = 21


class Tables(NamedTuple):
    """The surfaces that rays may meet, one row each (float32), and the texture atlas."""

    solids: Float[Tensor, "solid column"]
    zones: Float[Tensor, "zone column"]
    surfaces: Float[Tensor, "surface column"]
    texels: Int[Tensor, "texel"]


class Hits(NamedTuple):
    """What rays met and where, (tile, ray) each; numbers of row 0 and depth 1 where they met nothing."""

    row: Tensor  # of the solids, int32
    t: Tensor
    point: Vector  # world axes
    local: Vector  # in the solid's unit body
    normal: Vector  # unit, world axes, towards the ray's origin
    leaning: Vector  # the same in local axes, scaled to metres

    def zone(self, solids: Tensor) -> Tensor:
        """Row of the zones that each solid belongs to, int32."""
        return column(solids, self.row, Column.ZONE).to(torch.int32)


class Rays(NamedTuple):
    """Rays and what they met, in tiles: all rays of a tile belong to one frame, whose numbers are (tile, 1).

    World axes, metres relative to the frame's origin; t is depth along z.
    """

    origin: Vector  # (tile, 1) each
    direction: Vector  # (tile, ray) each; the component along the camera's axis is 1
    pixel: Tensor  # (tile, 1) size of a pixel at unit depth
    sky: Tensor  # (tile, column) SkyColumn
    solid: Tensor  # (tile, ray) int32 row of the solids, −1 for none
    t: Tensor  # (tile, ray)


def column(table: Tensor, row: Tensor, number: int) -> Tensor:
    """table[row, number] of row numbers of any shape."""
    return table.select(1, number).index_select(0, row.reshape(-1)).view(row.shape)


def take(table: Tensor, row: Tensor) -> Tensor:
    """table[row] of a list of row numbers, several times faster."""
    return table.index_select(0, row)


def columns(table: Tensor, row: Tensor, first: int) -> Vector:
    return column(table, row, first), column(table, row, first + 1), column(table, row, first + 2)


def sky_value(rays: Rays, number: int) -> Tensor:
    return rays.sky[:, number : number + 1]


def sky_vector(rays: Rays, first: int) -> Vector:
    return sky_value(rays, first), sky_value(rays, first + 1), sky_value(rays, first + 2)


def dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def scale(a: Vector, factor: Tensor | float) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


def add(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def mix(a: Vector, b: Vector, weight: Tensor) -> Vector:
    return a[0] + (b[0] - a[0]) * weight, a[1] + (b[1] - a[1]) * weight, a[2] + (b[2] - a[2]) * weight


def unit(a: Vector) -> Vector:
    return scale(a, torch.rsqrt(torch.clamp(dot(a, a), min=1e-20)))


def local_rows(solids: Tensor, row: Tensor) -> tuple[Vector, Vector, Vector]:
    """The three rows of local_from_world."""
    start = Column.LOCAL_FROM_WORLD
    return columns(solids, row, start), columns(solids, row, start + 3), columns(solids, row, start + 6)


def _face(solids: Tensor, row: Tensor, kind: Tensor, at: Vector) -> Vector:
    """Normal of the solid at local point `at`, in the axes of its unit body; of any length."""
    lean_x, lean_z = 0.5 * column(solids, row, Column.TAPER), 0.5 * column(solids, row, Column.TAPER + 1)
    x, y, z = at
    # how far inside each pair of faces the point is: the face that was met has the largest value
    over_x = torch.abs(x) - ((1.0 - lean_x) + lean_x * y)
    over_z = torch.abs(z) - ((1.0 - lean_z) + lean_z * y)
    over_y = torch.abs(y) - 1.0
    round_body = kind == CYLINDER
    over_side = torch.where(
        round_body, torch.sqrt(x * x + z * z) - ((1.0 - lean_x) + lean_x * y), torch.maximum(over_x, over_z)
    )
    is_end = over_y > over_side
    is_x = (over_x > over_z) & ~round_body
    zero = torch.zeros_like(x)
    radius = (1.0 - lean_x) + lean_x * y
    side_x = torch.where(round_body, x, torch.where(is_x, torch.sign(x), zero))
    side_z = torch.where(round_body, z, torch.where(is_x, zero, torch.sign(z)))
    side_y = torch.where(round_body, -lean_x * radius, -torch.where(is_x, lean_x, lean_z))
    ball = kind == ELLIPSOID
    is_end = is_end | (kind == GROUND)
    return (
        torch.where(ball, x, torch.where(is_end, zero, side_x)),
        torch.where(ball, y, torch.where(is_end, torch.sign(y), side_y)),
        torch.where(ball, z, torch.where(is_end, zero, side_z)),
    )


def _texture_point(solids: Tensor, hits: Hits, footprint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(u, v, mip level): the two local axes across the face that the normal points along most."""
    row, at, leaning = hits.row, hits.local, hits.leaning
    ax, ay, az = torch.abs(leaning[0]), torch.abs(leaning[1]), torch.abs(leaning[2])
    along_x = (ax > ay) & (ax > az)
    along_y = (ay >= ax) & (ay > az)
    uv_scale = columns(solids, row, Column.UV_SCALE)
    offset = columns(solids, row, Column.UV_OFFSET)
    half = columns(solids, row, Column.HALF)
    place = (at[0] * uv_scale[0] + offset[0], at[1] * uv_scale[1] + offset[1], at[2] * uv_scale[2] + offset[2])
    density = (uv_scale[0] / half[0], uv_scale[1] / half[1], uv_scale[2] / half[2])
    u = torch.where(along_x, place[2], place[0])
    v = torch.where(along_y, place[2], place[1])
    finest = torch.maximum(torch.where(along_x, density[2], density[0]), torch.where(along_y, density[2], density[1]))
    level = torch.log2(torch.clamp(footprint * finest * float(textures.SIZE), min=1e-3))
    return u, v, level


def hits_of(solids: Tensor, rays: Rays, ground: Vector) -> Hits:
    """The places where rays meet their solids; `ground` is the normal where that is the ground."""
    row = torch.clamp(rays.solid, min=0)
    t = torch.where(rays.solid >= 0, rays.t, 1.0)
    point = add(rays.origin, scale(rays.direction, t))
    centre = columns(solids, row, Column.CENTRE)
    away = (point[0] - centre[0], point[1] - centre[1], point[2] - centre[2])
    axes = local_rows(solids, row)
    local = dot(axes[0], away), dot(axes[1], away), dot(axes[2], away)
    kind = column(solids, row, Column.KIND)
    face = _face(solids, row, kind, local)
    normal = unit(add(add(scale(axes[0], face[0]), scale(axes[1], face[1])), scale(axes[2], face[2])))
    is_ground = kind == GROUND
    normal = tuple(torch.where(is_ground, ground[axis], normal[axis]) for axis in range(3))
    half = columns(solids, row, Column.HALF)
    return Hits(row, t, point, local, normal, (face[0] / half[0], face[1] / half[1], face[2] / half[2]))


def shade(tables: Tables, rays: Rays, hits: Hits, lit: Tensor) -> Vector:
    """rgb 0..1 as shown, of each ray; `lit` is 0 in the shadow of the zone's lamp, else 1."""
    seen = rays.solid >= 0
    row, t, point, normal = hits.row, hits.t, hits.point, hits.normal
    length = torch.sqrt(dot(rays.direction, rays.direction))
    slope = torch.clamp(-dot(normal, rays.direction) / length, 0.05, 1.0)
    u, v, level = _texture_point(tables.solids, hits, t * rays.pixel * torch.rsqrt(slope))
    surface = column(tables.solids, row, Column.SURFACE)
    bare = (column(tables.solids, row, Column.KIND) == GROUND) & _is_steep(point, normal)
    surface = torch.where(bare, surface + 1.0, surface).to(torch.int32)
    cloud_u, cloud_v = _cloud_point(rays)
    layer = torch.where(seen, column(tables.surfaces, surface, SurfaceColumn.LAYER), sky_value(rays, SkyColumn.LAYER))
    pattern = textures.sample(
        tables.texels,
        layer.to(torch.int32),
        torch.where(seen, u, cloud_u),
        torch.where(seen, v, cloud_v),
        torch.where(seen, level, 1.0),
    )
    albedo = _albedo(tables, row, surface, pattern, u, v, level)
    colour = _light(tables, hits, surface, unit(rays.direction), albedo, lit)
    shown = scale(_haze(rays, t, seen, colour, _sky(rays, pattern[0])), sky_value(rays, SkyColumn.EXPOSURE))
    return _shown(shown[0]), _shown(shown[1]), _shown(shown[2])


def _is_steep(point: Vector, normal: Vector) -> Tensor:
    """Where the ground shows its second surface: steep places, with a wavy border."""
    waves = torch.sin(point[0] * 0.9) * torch.sin(point[2] * 1.1) + torch.sin(point[0] * 2.3 + point[2] * 1.7)
    return -normal[1] + 0.02 * waves < 0.93


def _shown(light: Tensor) -> Tensor:
    """Linear light to display value: highlights are rolled off, then gamma 2."""
    return torch.sqrt(torch.clamp(light / (1.0 + 0.25 * light), 0.0, 1.0))


def _albedo(
    tables: Tables, row: Tensor, surface: Tensor, pattern: list[Tensor], u: Tensor, v: Tensor, level: Tensor
) -> Vector:
    """Surface colour, squared to linear."""
    ratio = column(tables.surfaces, surface, SurfaceColumn.DETAIL_RATIO)
    layer = column(tables.surfaces, surface, SurfaceColumn.DETAIL_LAYER).to(torch.int32)
    (detail,) = textures.sample(
        tables.texels, layer, u * ratio + 0.37, v * ratio + 0.71, level + torch.log2(ratio), count=1
    )
    strength = column(tables.surfaces, surface, SurfaceColumn.DETAIL)
    factor = 1.0 + strength * (0.5 - detail)
    result = []
    for channel in range(3):
        start = SurfaceColumn.MATRIX + 4 * channel
        value = column(tables.surfaces, surface, start + 3)
        for source in range(3):
            value = value + column(tables.surfaces, surface, start + source) * pattern[source]
        value = value * factor * column(tables.solids, row, Column.TINT + channel)
        value = torch.clamp(value, 0.01, 1.0)
        result.append(value * value)
    return result[0], result[1], result[2]


def _contact(zones: Tensor, zone: Tensor, point: Vector, normal: Vector) -> Tensor:
    """Soft darkening towards the edges of the zone's box: 1 in the open, less in a corner."""
    low, high = columns(zones, zone, ZoneColumn.LOW), columns(zones, zone, ZoneColumn.HIGH)
    reach = column(zones, zone, ZoneColumn.CONTACT)
    openness = torch.ones_like(point[0])
    for axis in range(3):
        gap = torch.clamp(torch.minimum(point[axis] - low[axis], high[axis] - point[axis]), min=0.0)
        openness = openness * (1.0 - 0.5 * (1.0 - torch.abs(normal[axis])) * torch.exp(-gap / reach))
    return openness


def _light(tables: Tables, hits: Hits, surface: Tensor, towards: Vector, albedo: Vector, lit: Tensor) -> Vector:
    """Linear colour: ambient by the normal's height, one lamp with a highlight, and own light."""
    zone, point, normal = hits.zone(tables.solids), hits.point, hits.normal
    lamp = columns(tables.zones, zone, ZoneColumn.LAMP)
    to_lamp = (lamp[0] - point[0], lamp[1] - point[1], lamp[2] - point[2])
    lit = 1.0 - column(tables.zones, zone, ZoneColumn.SHADOW) * (1.0 - lit)
    squared = dot(to_lamp, to_lamp)
    beam = scale(to_lamp, torch.rsqrt(torch.clamp(squared, min=1e-6)))
    strength = lit / (1.0 + squared * column(tables.zones, zone, ZoneColumn.FALLOFF))
    facing = dot(normal, beam)
    mirrored = add(towards, scale(normal, -2.0 * dot(normal, towards)))
    shine = torch.clamp(dot(mirrored, beam), min=0.0)
    shine = shine * shine
    shine = shine * shine
    gloss = column(tables.surfaces, surface, SurfaceColumn.GLOSS)
    shine = shine * shine * shine * gloss * strength
    direct = strength * torch.clamp(facing, min=0.0)
    upward = 0.5 - 0.5 * normal[1]
    side = 1.0 + dot(normal, columns(tables.zones, zone, ZoneColumn.SIDE))
    open_to_light = _contact(tables.zones, zone, point, normal) * side
    sheen = gloss * _sheen(tables.zones, zone, point, mirrored, dot(normal, towards))
    glow = column(tables.surfaces, surface, SurfaceColumn.GLOW)
    result = []
    for channel in range(3):
        up = column(tables.zones, zone, ZoneColumn.AMBIENT_UP + channel)
        down = column(tables.zones, zone, ZoneColumn.AMBIENT_DOWN + channel)
        lamp_colour = column(tables.zones, zone, ZoneColumn.LAMP_RGB + channel)
        light = (down + (up - down) * upward) * open_to_light + lamp_colour * direct
        result.append(albedo[channel] * (light + 2.5 * glow) + lamp_colour * shine + up * sheen)
    return result[0], result[1], result[2]


def _sheen(zones: Tensor, zone: Tensor, point: Vector, mirrored: Vector, facing: Tensor) -> Tensor:
    """The ambient light that a smooth surface reflects (Schlick): more from above, and bright fields of a ceiling."""
    slant = torch.clamp(1.0 + facing, 0.0, 1.0)  # 1 − cosine of the angle of sight
    slant = slant * slant
    share = 0.03 + 0.97 * slant * slant
    climb = torch.clamp(-mirrored[1], min=0.05)
    rise = torch.clamp(point[1] - column(zones, zone, ZoneColumn.LOW + 1), 0.0, 100.0) / climb
    wave = column(zones, zone, ZoneColumn.MIRROR) * 6.2832
    fields = torch.sin((point[0] + mirrored[0] * rise) * wave) * torch.sin((point[2] + mirrored[2] * rise) * wave)
    upward = torch.clamp(0.5 - 2.0 * mirrored[1], 0.0, 1.0)
    return share * upward * (0.5 + 1.8 * torch.clamp(1.6 * fields, 0.0, 1.0))


def _cloud_point(rays: Rays) -> tuple[Tensor, Tensor]:
    dx, dy, dz = unit(rays.direction)
    away = sky_value(rays, SkyColumn.CLOUD_SCALE) / (torch.clamp(-dy, min=0.0) + 0.12)
    offset = SkyColumn.CLOUD_OFFSET
    return dx * away + sky_value(rays, offset), dz * away + sky_value(rays, offset + 1)


def _sky(rays: Rays, cloud: Tensor) -> Vector:
    """Gradient from horizon to zenith, clouds, and the glow around the sun (linear)."""
    towards = unit(rays.direction)
    height = torch.clamp(-towards[1], 0.0, 1.0)
    gradient = mix(sky_vector(rays, SkyColumn.HORIZON), sky_vector(rays, SkyColumn.ZENITH), torch.sqrt(height))
    cover = sky_value(rays, SkyColumn.CLOUD)
    thick = torch.clamp((cloud - (1.0 - cover)) * 3.0, 0.0, 1.0) * torch.clamp(height * 6.0, 0.0, 1.0)
    white = scale(sky_vector(rays, SkyColumn.SUN_RGB), 0.35)
    pale = scale(add(sky_vector(rays, SkyColumn.HORIZON), white), 0.75)
    near_sun = torch.clamp(dot(towards, sky_vector(rays, SkyColumn.SUN)), min=0.0)
    near_sun = near_sun * near_sun
    near_sun = near_sun * near_sun
    near_sun = near_sun * near_sun
    near_sun = near_sun * near_sun
    glow = scale(sky_vector(rays, SkyColumn.SUN_RGB), 0.6 * near_sun * near_sun)
    return add(mix(gradient, pale, thick), glow)


def _haze(rays: Rays, t: Tensor, seen: Tensor, colour: Vector, behind: Vector) -> Vector:
    """Surfaces fade towards the horizon's colour with distance."""
    density = sky_value(rays, SkyColumn.HAZE)
    far = sky_value(rays, SkyColumn.FAR)
    share = 1.0 - torch.exp(-t * density)
    fade = torch.clamp((t / far - 0.8) * 5.0, 0.0, 1.0)
    share = torch.maximum(share, fade * fade)
    hazy = mix(colour, sky_vector(rays, SkyColumn.HORIZON), share)
    return (
        torch.where(seen, hazy[0], behind[0]),
        torch.where(seen, hazy[1], behind[1]),
        torch.where(seen, hazy[2], behind[2]),
    )
