"""The fast ray-caster: 8×8 tiles, each tried against the few solids that may be seen in it; equal to the plain one.

Steps: list the solids in each frame's view; pair them with tiles and drop the pairs that cannot matter (culling.py);
try the pairs in rows of a few solids × 64 rays; find which solids may stand between each tile's points and their
lamp, and try those; colour. Nothing depends on what else is in the batch, but for rounding where kernels are compiled.
"""

from __future__ import annotations

import torch

from openloger.shapes import Tensor
from openloger.worlds.culling import TILE, Listed, RayGrid, clusters_in_view, is_box, list_pairs, list_solids
from openloger.worlds.intersect import NEAREST, Vector
from openloger.worlds.kernels import PLAIN, RAYS, SLOTS, STRIDES, RayKernels, Sight
from openloger.worlds.raycast import RenderedFrames, Shot, through_lens
from openloger.worlds.scene import Column
from openloger.worlds.shading import Hits, Rays, SkyColumn, take
from openloger.worlds.terrain import MARCHES, March

_BLOCK = 4  # tiles along the side of a block, whose shadows are sought together
_TOGETHER = 1024  # tiles that one kernel works on at a time: what fits a processor's cache
_MARCHED = 2048  # tiles that march over the ground together: fewer and fewer of them after the first steps
_ON_A_CARD = 1 << 17  # of both on a card, where a map of a kernel takes 34 MB then


def render_fast(shot: Shot, kernels: RayKernels = PLAIN) -> RenderedFrames:
    """Renders a batch of frames with culling, on the device of its tensors."""
    caster = _Caster(shot, kernels)
    t, solid, upward = caster.with_ground(*caster.meet())
    met = caster.places(t, solid, upward)
    return caster.picture(met, caster.shadows(met))


class _Caster:
    """One batch on its way through the steps; tiles are numbered frame by frame, row by row."""

    def __init__(self, shot: Shot, kernels: RayKernels) -> None:
        self._shot, self._kernels = shot, kernels
        height, width = shot.size
        self._grid = (-(-height // TILE), -(-width // TILE))
        self._frames = len(shot.origin)
        self._lens = _lens(shot)
        device = shot.origin.device
        on_card = device.type == "cuda"
        self._together, self._marched = (_ON_A_CARD, _ON_A_CARD) if on_card else (_TOGETHER, _MARCHED)
        per_frame = self._grid[0] * self._grid[1]
        counts = shot.starts[1:] - shot.starts[:-1]
        self._listed_frame = torch.repeat_interleave(torch.arange(self._frames, device=device), counts)
        self._tile_frame = torch.arange(self._frames, device=device).repeat_interleave(per_frame)
        number = torch.arange(per_frame, device=device).repeat(self._frames)
        self._place = self._places(number, self._tile_frame)
        camera = torch.cat([shot.origin, shot.rotation.reshape(-1, 9)], dim=1).float()
        self._camera = camera[self._tile_frame].contiguous()
        self._sky = shot.sky[self._tile_frame].contiguous()

    def _places(self, number: Tensor, frame: Tensor) -> Tensor:
        """(tile, 4): normalised x, y of the tile's first pixel centre, and the steps between pixels."""
        column, row = number % self._grid[1], torch.div(number, self._grid[1], rounding_mode="floor")
        step_x, step_y = self._lens.step_x[frame], self._lens.step_y[frame]
        left = self._lens.left[frame] + (column * TILE) * step_x
        top = self._lens.top[frame] + (row * TILE) * step_y
        return torch.stack([left, top, step_x, step_y], dim=1)

    def meet(self) -> tuple[Tensor, Tensor]:
        """(tile, ray) depth of the nearest solid (inf for none) and its row (−1)."""
        listed = self._listed()
        entries = _entry_table(listed)
        entry, tile = self._pairs(listed, entries)
        best = torch.full((len(self._place), RAYS), float("inf"), device=entry.device)
        found = torch.full_like(best, -1, dtype=torch.int32)
        nothing = len(listed.row)
        for kind, step in enumerate(self._kernels.meet):
            chosen = torch.nonzero(listed.kind[entry] == kind)[:, 0]
            rows = _rows(entry[chosen], tile[chosen], len(self._place), nothing)
            if rows is None:
                continue
            slots, row_tile, rank = rows
            place = take(self._place, row_tile)
            parts = [step(entries, slots[part], place[part]) for part in _pieces(len(slots), self._together)]
            t, met = (torch.cat(part) for part in zip(*parts, strict=True))
            for layer in range(int(rank.max()) + 1):
                here = torch.nonzero(rank == layer)[:, 0]
                where, candidate = row_tile[here], take(t, here)
                current = take(best, where)
                known = torch.where(candidate < current, take(met, here), take(found, where))
                best.index_copy_(0, where, torch.minimum(candidate, current))
                found.index_copy_(0, where, known)
        far = self._sky[:, SkyColumn.FAR : SkyColumn.FAR + 1]
        seen = (found >= 0) & (best < far)
        solid = torch.cat([listed.row, listed.row.new_zeros(1)])[torch.where(seen, found, nothing).long()]
        return torch.where(seen, best, float("inf")), torch.where(seen, solid, -1).to(torch.int32)

    def _listed(self) -> Listed:
        shot, far = self._shot, self._shot.sky[:, SkyColumn.FAR]
        camera = (shot.origin.float(), shot.rotation.float(), self._lens)
        keep = clusters_in_view(shot.clusters.sphere[shot.listed], self._listed_frame, camera, self._grid, far)
        row, entry = shot.clusters.rows(shot.listed[keep])
        return list_solids(shot.tables.solids, self._listed_frame[keep][entry], row, camera, self._grid, far)

    def _pairs(self, listed: Listed, entries: Tensor) -> tuple[Tensor, Tensor]:
        """(entry, tile) pairs worth trying."""
        entry, tile = list_pairs(listed, self._grid)
        place = take(self._place, tile)
        last = float(TILE - 1)
        spans = torch.stack(
            [place[:, 0], place[:, 0] + last * place[:, 2], place[:, 1], place[:, 1] + last * place[:, 3]], dim=1
        )
        least, cover = self._kernels.test_pairs(entries, entry, spans, is_box(listed)[entry])
        nearest_cover = torch.full((len(self._place),), float("inf"), device=entry.device)
        nearest_cover.scatter_reduce_(0, tile, cover, "amin")
        keep = torch.nonzero((least <= nearest_cover[tile]) & ~torch.isinf(least))[:, 0]
        return entry[keep], tile[keep]

    def with_ground(self, t: Tensor, solid: Tensor) -> tuple[Tensor, Tensor, Vector]:
        """Depth and solid with the ground where it is nearer, and the ground's normal."""
        ground = self._shot.ground
        upward = torch.zeros_like(t), torch.zeros_like(t), torch.zeros_like(t)
        over_ground = torch.nonzero(ground.row[self._tile_frame] >= 0)[:, 0]
        for part in _pieces(len(over_ground), self._marched):
            self._meet_ground(over_ground[part], t, solid, upward)
        return t, solid, upward

    def _meet_ground(self, tile: Tensor, t: Tensor, solid: Tensor, upward: Vector) -> None:
        """Writes the ground into some tiles of depth, solid and normal."""
        ground = self._shot.ground
        frame = self._tile_frame[tile]
        sight = Sight(ground.below(frame), take(self._camera, tile), take(self._place, tile))
        before = take(t, tile)
        limit = torch.minimum(before, take(self._sky, tile)[:, SkyColumn.FAR : SkyColumn.FAR + 1])
        met, normal = self._kernels.touch_ground(sight, self._march(sight, limit))
        nearer = met < limit
        t.index_copy_(0, tile, torch.where(nearer, met, before))
        row = ground.row[frame].to(torch.int32)[:, None]
        solid.index_copy_(0, tile, torch.where(nearer, row, take(solid, tile)))
        for axis in range(3):
            upward[axis].index_copy_(0, tile, normal[axis])

    def _march(self, sight: Sight, limit: Tensor) -> March:
        """Follows the rays of ground tiles until they meet the ground or pass `limit`; finished tiles rest."""
        whole = self._kernels.begin_march(sight, torch.full_like(limit, NEAREST))
        active = torch.arange(len(limit), device=limit.device)
        for _ in range(MARCHES // STRIDES):
            here = self._kernels.march_ground(sight.only(active), March(*(take(part, active) for part in whole)))
            for part, moved in zip(whole, here, strict=True):
                part.index_copy_(0, active, moved)
            active = active[(torch.isinf(here.below) & (here.above < limit[active])).any(dim=1)]
            if len(active) == 0:
                break
        return whole

    def places(self, t: Tensor, solid: Tensor, upward: Vector) -> list[tuple[Rays, Hits]]:
        """Where the rays meet their solids, piece by piece."""
        solids, kernels, met = self._shot.tables.solids, self._kernels, []
        for part in _pieces(len(t), self._together):
            rays = kernels.rays_of(self._camera[part], self._place[part], solid[part], t[part], self._sky[part])
            ground = upward[0][part], upward[1][part], upward[2][part]
            met.append((rays, kernels.hits_of(solids, rays, ground)))
        return met

    def shadows(self, met: list[tuple[Rays, Hits]]) -> Tensor:
        """(tile, ray) 1 where the lamp is seen, 0 where a solid stands before it."""
        tables = self._shot.tables
        parts = [self._kernels.locate(tables, rays, hits) for rays, hits in met]
        *located, facing = (torch.cat(part) for part in zip(*parts, strict=True))
        row, tile = self._blockers(_bundles(located, facing), facing.any(dim=1))
        lit = torch.ones_like(located[0])
        kind = tables.solids[row, Column.KIND]
        for number, step in enumerate(self._kernels.block):
            chosen = torch.nonzero(kind == number)[:, 0]
            rows = _rows(row[chosen], tile[chosen], len(lit), -1)
            if rows is None:
                continue
            slots, row_tile, _ = rows
            slots = torch.where(slots < 0, slots[:, :1], slots)  # an empty place repeats the row's first solid
            for part in _pieces(len(slots), self._together):
                blocked = step(tables.solids, slots[part], row_tile[part], *located)
                lit.index_add_(0, row_tile[part], -blocked.float())
        return (lit > 0.5).float()

    def _blockers(self, bundles: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """(row, tile) pairs of casting solids and tiles that they may darken: sought block by block of tiles and
        cluster by cluster first."""
        shot, test = self._shot, self._kernels.test_clusters
        wanted_tiles = torch.nonzero(wanted)[:, 0]
        block, block_frame = self._blocks(wanted_tiles)
        casting = torch.nonzero(shot.clusters.casts[shot.listed])[:, 0]
        listed = shot.listed[casting]
        count = torch.bincount(self._listed_frame[casting], minlength=self._frames)
        entry, where = _all_pairs(block_frame, count)
        joined = _join_bundles(bundles[wanted_tiles], block, len(block_frame))
        keep = torch.nonzero(test(take(joined, where), take(shot.clusters.sphere, listed[entry])))[:, 0]
        inside, order = torch.sort(block, stable=True)
        pair, tile = _members(where[keep], torch.bincount(inside, minlength=len(block_frame)), wanted_tiles[order])
        entry = listed[entry[keep][pair]]
        keep = torch.nonzero(test(take(bundles, tile), take(shot.clusters.sphere, entry)))[:, 0]
        row, member = shot.clusters.rows(entry[keep])
        tile = tile[keep][member]
        keep = torch.nonzero(self._kernels.test_blockers(shot.tables.solids, row, take(bundles, tile)))[:, 0]
        return row[keep], tile[keep]

    def _blocks(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """(number of each tile's block of _BLOCK × _BLOCK tiles, frame of each block)."""
        down, across = self._grid
        wide, high = -(-across // _BLOCK), -(-down // _BLOCK)
        number = tiles % (down * across)
        row, column = torch.div(number, across, rounding_mode="floor"), number % across
        block = torch.div(row, _BLOCK, rounding_mode="floor") * wide + torch.div(column, _BLOCK, rounding_mode="floor")
        frame = torch.arange(self._frames * wide * high, device=tiles.device) // (wide * high)
        return block + self._tile_frame[tiles] * (wide * high), frame

    def picture(self, met: list[tuple[Rays, Hits]], lit: Tensor) -> RenderedFrames:
        parts = []
        for part, (rays, hits) in zip(_pieces(len(lit), self._together), met, strict=True):
            coloured = self._kernels.colour(self._shot.tables, self._camera[part], rays, hits, lit[part])
            seen = rays.solid >= 0
            parts.append((*coloured, seen, torch.where(seen, rays.t, 0.0)))
        *outputs, valid, depth = (self._whole(torch.cat(channel)) for channel in zip(*parts, strict=True))
        return RenderedFrames(
            rgb=through_lens(torch.stack(outputs[:3], dim=-1), self._shot.sky[:, SkyColumn.BLUR]),
            depth=depth,
            normal=torch.stack(outputs[3:6], dim=-1),
            valid=valid,
            moving=outputs[6],
        )

    def _whole(self, tiles: Tensor) -> Tensor:
        """(tile, ray) to (frame, height, width)."""
        down, across = self._grid
        height, width = self._shot.size
        spread = tiles.view(self._frames, down, across, TILE, TILE).transpose(2, 3)
        return spread.reshape(self._frames, down * TILE, across * TILE)[:, :height, :width].contiguous()


def _pieces(count: int, size: int) -> list[slice]:
    """Consecutive parts of a list of tiles or rows."""
    return [slice(begin, begin + size) for begin in range(0, count, size)]


def _lens(shot: Shot) -> RayGrid:
    intrinsics = shot.intrinsics
    step_x, step_y = 1.0 / intrinsics[:, 0, 0], 1.0 / intrinsics[:, 1, 1]
    return RayGrid(
        left=((0.5 - intrinsics[:, 0, 2]) * step_x).float(),
        top=((0.5 - intrinsics[:, 1, 2]) * step_y).float(),
        step_x=step_x.float(),
        step_y=step_y.float(),
    )


def _entry_table(listed: Listed) -> Tensor:
    """(entry + 1, ENTRY_COLUMNS); the last row is met by no ray."""
    table = torch.stack([*listed.origin, *listed.right, *listed.down, *listed.forward, *listed.taper], dim=1)
    nothing = table.new_zeros(1, table.shape[1])
    nothing[:, :3] = 5.0
    return torch.cat([table, nothing])


def _rows(member: Tensor, tile: Tensor, tiles: int, filler: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Groups (member, tile) pairs into rows of SLOTS members of one tile.

    Returns (slots (row, SLOTS) int32 padded with `filler`, tile of each row, rank of the row within its tile).
    """
    if len(member) == 0:
        return None
    tile, order = torch.sort(tile, stable=True)
    member = member[order]
    count = torch.bincount(tile, minlength=tiles)
    first = torch.cumsum(count, 0) - count
    rank = torch.arange(len(tile), device=tile.device) - first[tile]
    row_count = torch.div(count + SLOTS - 1, SLOTS, rounding_mode="floor")
    first_row = torch.cumsum(row_count, 0) - row_count
    total = int(row_count.sum())
    slots = torch.full((total, SLOTS), filler, dtype=torch.int32, device=tile.device)
    row = first_row[tile] + torch.div(rank, SLOTS, rounding_mode="floor")
    slots[row, rank % SLOTS] = member.to(torch.int32)
    row_tile = torch.repeat_interleave(torch.arange(tiles, device=tile.device), row_count)
    return slots, row_tile, torch.arange(total, device=tile.device) - first_row[row_tile]


def _all_pairs(frame: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Every (entry, block) of one frame; `frame` of each block, `count` of entries in each frame, listed in order."""
    per_block = count[frame]
    where = torch.repeat_interleave(torch.arange(len(frame), device=frame.device), per_block)
    begin = torch.cumsum(per_block, 0) - per_block
    first = torch.cumsum(count, 0) - count
    entry = torch.arange(len(where), device=frame.device) - begin[where] + first[frame][where]
    return entry, where


def _members(group: Tensor, size: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """(index into `group`, member) for each member of each listed group; `members` holds the groups one by one."""
    count = size[group]
    pair = torch.repeat_interleave(torch.arange(len(group), device=group.device), count)
    begin = torch.cumsum(count, 0) - count
    first = torch.cumsum(size, 0) - size
    return pair, members[torch.arange(len(pair), device=group.device) - begin[pair] + first[group][pair]]


def _box_around(x: Tensor, y: Tensor, z: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """(middle, half sizes), (tile, 3) each, of each tile's wanted points."""
    low, high = [], []
    for values in (x, y, z):
        low.append(torch.where(wanted, values, float("inf")).amin(dim=1))
        high.append(torch.where(wanted, values, -float("inf")).amax(dim=1))
    lows, highs = torch.stack(low, dim=1), torch.stack(high, dim=1)
    return 0.5 * (lows + highs), 0.5 * (highs - lows)


def _bundles(located: list[Tensor], wanted: Tensor) -> Tensor:
    """(tile, BUNDLE): the box of the tile's shadow rays' starts, the vector from its middle to that of their lamps,
    and the half sizes of the lamps' box. Boxes are widened a little against rounding."""
    x, y, z, dx, dy, dz, far = located
    start, wide = _box_around(x, y, z, wanted)
    lamp, spread = _box_around(x + dx * far, y + dy * far, z + dz * far, wanted)
    return torch.cat([start, wide * 1.001 + 1e-3, lamp - start, spread * 1.001 + 1e-3], dim=1)


def _join_bundles(bundles: Tensor, group: Tensor, groups: int) -> Tensor:
    """The bundle around each group's bundles."""
    start, lamp = bundles[:, 0:3], bundles[:, 0:3] + bundles[:, 6:9]
    parts = []
    for middle, half in ((start, bundles[:, 3:6]), (lamp, bundles[:, 9:12])):
        index = group[:, None].expand(-1, 3)
        low = torch.full((groups, 3), float("inf"), device=group.device).scatter_reduce_(
            0, index, middle - half, "amin"
        )
        high = torch.full((groups, 3), -float("inf"), device=group.device).scatter_reduce_(
            0, index, middle + half, "amax"
        )
        parts.append((0.5 * (low + high), 0.5 * (high - low)))
    (start, wide), (lamp, spread) = parts
    return torch.cat([start, wide, lamp - start, spread], dim=1)
