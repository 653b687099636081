"""A world is what it says it is: depth, cameras, normals and masks agree, whoever asks and in what order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openloger import worlds
from openloger.errors import InputError
from openloger.geometry import depth_edges, normals_from_points, project, unproject
from openloger.worlds import FAMILIES, World, photos, textures
from openloger.worlds.families.family import View
from openloger.worlds.families.plan import Plan
from openloger.worlds.raycast import render_plain
from openloger.worlds.raycast_fast import render_fast
from openloger.worlds.scene import Column, Solids, ZoneColumn, cluster
from openloger.worlds.terrain import Relief, Terrain, height, lattice_corners, relief_sizes, slopes
from openloger.worlds.world import make_shot

SIZE = (72, 96)
EVERY_FAMILY = pytest.mark.parametrize("family", sorted(FAMILIES))


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def inner(sample, edge=0.3):
    """Pixels of still surfaces, off depth edges; ground seen at a grazing angle is no edge yet."""
    edges = depth_edges(tensor(sample.depth), relative=edge).numpy()
    return sample.valid & ~sample.moving & ~edges


def seen_again(sample, other, edge=0.3):
    """Where the pixels of `sample` fall in `other`: their depth there, and the depth that `other` has there."""
    points = unproject(tensor(sample.depth).double(), tensor(sample.intrinsics))
    other_from_cam = np.linalg.inv(other.world_from_cam) @ sample.world_from_cam
    moved = points @ tensor(other_from_cam[:3, :3]).T + tensor(other_from_cam[:3, 3])
    pixels = project(moved, tensor(other.intrinsics)).numpy()
    depth = moved[..., 2].numpy()
    height, width = other.depth.shape
    x, y = pixels[..., 0] - 0.5, pixels[..., 1] - 0.5
    fits = inner(sample, edge) & (depth > 0.05) & (x > 1) & (y > 1) & (x < width - 2) & (y < height - 2)
    x, y, depth = x[fits], y[fits], depth[fits]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    corners = np.stack([other.depth[top + i, left + j] for i in (0, 1) for j in (0, 1)])
    smooth = inner(other, edge)
    whole = np.all([smooth[top + i, left + j] for i in (0, 1) for j in (0, 1)], axis=0)
    share = np.stack(
        [
            (1 - (y - top)) * (1 - (x - left)),
            (1 - (y - top)) * (x - left),
            (y - top) * (1 - (x - left)),
            (y - top) * (x - left),
        ]
    )
    inverse = (share / np.where(corners > 0, corners, 1)).sum(0)  # inverse depth is linear on planes
    return depth[whole], 1 / np.where(inverse[whole] > 0, inverse[whole], 1)


@EVERY_FAMILY
@pytest.mark.parametrize("seed", [1, 2])
def test_depth_reprojects_into_other_frames(family, seed):
    shown = World(family, seed=seed, size=SIZE)
    for first, second in ((3, 4), (40, 44)):
        there, found = seen_again(shown[first], shown[second])
        assert len(there) > 200
        assert np.median(np.abs(there - found) / found) < 1e-3


@EVERY_FAMILY
def test_normals_agree_with_depth(family):
    sample = World(family, seed=3, size=SIZE)[10]
    points = unproject(tensor(sample.depth).double(), tensor(sample.intrinsics))
    from_depth = normals_from_points(points).numpy()
    cosine = (from_depth * sample.normal).sum(-1)[inner(sample)]
    assert np.median(cosine) > 0.995
    lengths = np.linalg.norm(sample.normal, axis=-1)
    assert np.allclose(lengths[sample.valid], 1, atol=1e-3)
    assert (lengths[~sample.valid] == 0).all()
    rays = unproject(torch.ones(SIZE, dtype=torch.float64), tensor(sample.intrinsics)).numpy()
    assert ((sample.normal * rays).sum(-1)[sample.valid] < 1e-3).mean() > 0.99  # towards the camera


@EVERY_FAMILY
def test_frames_do_not_depend_on_who_asks(family):
    one, other = World(family, seed=5, size=SIZE), World(family, seed=5, size=SIZE)
    later = one[30]
    _ = other[2], other[31]
    again = other[30]
    clip = worlds.render_clips([(World(family, seed=5, size=SIZE), [29, 30])])
    for a, b, c in ((later.rgb, again.rgb, clip.rgb[0, 1]), (later.depth, again.depth, clip.depth[0, 1])):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c.numpy())
    assert np.array_equal(later.world_from_cam, again.world_from_cam)


@EVERY_FAMILY
def test_seeds_differ(family):
    one, other = World(family, seed=1, size=SIZE)[0], World(family, seed=2, size=SIZE)[0]
    assert np.abs(one.rgb.astype(int) - other.rgb).mean() > 5


@EVERY_FAMILY
def test_what_moves_is_under_the_mask(family):
    """Where two frames of one camera path disagree about depth, something moved, or came from behind something."""
    shown = World(family, seed=11, size=SIZE)
    for first in (0, 25, 60):
        sample = shown[first]
        assert not (sample.moving & ~sample.valid).any()
        assert sample.moving.dtype == bool
        there, found = seen_again(sample, shown[first + 1], edge=0.1)
        assert (np.abs(there - found) > 0.02 * found).mean() < 0.05


@EVERY_FAMILY
def test_pictures_are_rich_enough_to_match_points_on(family):
    shown = World(family, seed=4, size=(120, 160))
    for index in (0, 50):
        grey = shown[index].rgb.mean(-1)
        patches = grey[:120, :160].reshape(15, 8, 20, 8).std(axis=(1, 3))
        on_surfaces = shown[index].valid.reshape(15, 8, 20, 8).all(axis=(1, 3))
        assert np.median(patches[on_surfaces]) > 2.5


@EVERY_FAMILY
def test_cameras_stay_outside_of_things(family):
    shown = World(family, seed=6, size=(32, 40), frames=400)
    nearest = [shown[i].depth[shown[i].valid].min() for i in range(0, 400, 57)]
    assert min(nearest) > 0.05


@EVERY_FAMILY
def test_cameras_move_smoothly_and_are_rigid(family):
    shown = World(family, seed=8, size=SIZE, fps=10)
    poses = np.stack([shown.world_from_cam(i) for i in range(60)])
    rotation = poses[:, :3, :3]
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(rotation), 1)
    assert np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).max() < 3.0  # metres in a tenth of a second
    assert shown[5].timestamp_s == pytest.approx(0.5)


@pytest.mark.parametrize("size", [SIZE, SIZE[::-1]])
def test_intrinsics_are_in_the_promised_range(size):
    for family in FAMILIES:
        shown = [World(family, seed=seed, size=size) for seed in range(6)]
        assert np.array_equal(shown[0][0].intrinsics, shown[0].intrinsics)
        for intrinsics in (one.intrinsics for one in shown):
            longer_fov_deg = np.degrees(2 * np.arctan(max(size) / 2 / intrinsics[0, 0]))
            assert 37 <= longer_fov_deg <= 96
            assert np.abs(intrinsics[:2, 2] - (size[1] / 2, size[0] / 2)).max() < 0.05 * max(size)


def test_as_a_source_of_frames():
    shown = World("rooms", seed=1, size=(16, 24), frames=5)
    assert len(shown) == shown.length == 5
    assert [frame.index for frame in shown.frames(3)] == [3, 4]
    with pytest.raises(IndexError):
        shown[5]


@pytest.mark.parametrize("wrong", [{"family": "jungle"}, {"size": (4, 4)}, {"fps": 0.0}])
def test_what_cannot_be(wrong):
    options = {"family": "rooms", "size": SIZE, "fps": 10.0} | wrong
    with pytest.raises(InputError):
        World(options.pop("family"), seed=0, **options)


def test_an_empty_cell_has_no_clusters() -> None:
    nothing = Solids(rows=np.zeros((0, Column.COUNT)), zones=np.zeros((1, ZoneColumn.COUNT)))
    clusters = cluster(nothing)
    assert len(clusters.first) == len(clusters.count) == len(clusters.sphere) == 0


def test_paths_move_to_every_side_of_the_gaze() -> None:
    """Seen from the camera, rooms are crossed forwards, sideways and backwards."""
    aside = []
    for seed in range(12):
        walked = World("rooms", seed=seed, size=(16, 16), fps=1)
        for index in range(0, 120, 3):
            here, there = walked.world_from_cam(index), walked.world_from_cam(index + 1)
            step = here[:3, :3].T @ (there[:3, 3] - here[:3, 3])
            if np.linalg.norm(step) > 0.05:
                aside.append(np.degrees(np.arctan2(abs(step[0]), step[2])))
    share = np.histogram(aside, bins=[0, 45, 135, 180])[0] / len(aside)
    assert share[0] > 0.25
    assert share[1] > 0.25
    assert share[2] > 0.03


def test_the_relief_that_rays_meet_is_the_terrain_that_things_stand_on() -> None:
    ground, origin = Terrain(77, (4.0, 1.5, 0.6)), np.array([128.0, 0.0, -64.0])
    relief = Relief(
        torch.from_numpy(lattice_corners(ground, origin)),
        torch.zeros(1, 1, dtype=torch.int32),
        torch.tensor([relief_sizes(ground)]),
    )
    x, z = np.random.default_rng(0).uniform(-200, 200, size=(2, 500))
    near, far = (torch.from_numpy(axis[None].astype(np.float32)) for axis in (x, z))
    truth = ground.height(x + origin[0], z + origin[2])
    assert np.abs(height(relief, near, far)[0].numpy() - truth).max() < 1e-4
    step = 1e-3
    along = (ground.height(x + step + origin[0], z + origin[2]) - truth) / step
    aside = (ground.height(x + origin[0], z + step + origin[2]) - truth) / step
    found = slopes(relief, near, far)
    assert np.abs(found[0][0].numpy() - along).max() < 2e-3
    assert np.abs(found[1][0].numpy() - aside).max() < 2e-3


@EVERY_FAMILY
def test_the_fast_ray_caster_sees_what_the_plain_one_sees(family) -> None:
    shot = make_shot([(World(family, seed=seed, size=(40, 56), fps=2), index) for seed, index in ((1, 3), (8, 41))])
    fast, plain = render_fast(shot), render_plain(shot)
    alike = fast.valid == plain.valid
    assert alike.float().mean() > 0.999
    both = fast.valid & plain.valid
    far = ((fast.depth - plain.depth).abs() > 1e-3 * plain.depth)[both]
    assert far.float().mean() < 2e-3  # rims, where a ray grazes one solid or passes it
    colours = (fast.rgb.int() - plain.rgb.int()).abs().amax(-1)[both]
    assert (colours > 2).float().mean() < 5e-3
    assert torch.equal(fast.moving[both][~far], plain.moving[both][~far])
    turned = (fast.normal * plain.normal).sum(-1)[both]
    assert (turned < 0.999).float().mean() < 5e-3


@EVERY_FAMILY
def test_frames_in_a_row_are_those_asked_for_one_by_one(family) -> None:
    shown = World(family, seed=2, size=(24, 32), fps=5, frames=19)
    row = list(shown.frames(1))
    assert [sample.index for sample in row] == list(range(1, 19))
    for sample in row[::6]:
        alone = shown[sample.index]
        for name in ("rgb", "depth", "normal", "valid", "moving", "world_from_cam"):
            assert np.array_equal(getattr(sample, name), getattr(alone, name)), name


@pytest.mark.parametrize("seed", range(8))
def test_nothing_stands_in_a_streets_way(seed: int) -> None:
    shown = World("street", seed=seed, size=(16, 24), fps=1)
    nearest = [
        float(sample.depth[sample.valid & ~sample.moving].min()) for sample in (shown[i] for i in range(0, 60, 6))
    ]
    assert min(nearest) > 0.4  # metres; parked cars are passed at one


# mean colour, mean depth in metres and share of valid pixels of a small frame: what VERSION stands for
GOLDEN = {
    "clutter": ((146.4, 124.1, 139.3), 8.263, 0.751),
    "halls": ((69.4, 69.4, 65.9), 3.331, 1.000),
    "rooms": ((130.6, 111.3, 118.1), 4.261, 1.000),
    "street": ((81.8, 90.1, 91.7), 13.262, 0.892),
    "terrain": ((142.8, 149.0, 133.2), 12.697, 0.659),
}


@EVERY_FAMILY
def test_a_seeds_pictures_change_only_with_the_version(family) -> None:
    """Where this fails on purpose, raise `worlds.VERSION` and put the new numbers here."""
    colour, depth, valid = GOLDEN[family]
    shown = World(family, seed=1, size=(24, 32))[3]
    assert worlds.VERSION == 4
    assert shown.rgb.mean((0, 1)) == pytest.approx(colour, abs=1.0)
    assert shown.depth[shown.valid].mean() == pytest.approx(depth, rel=0.01)
    assert shown.valid.mean() == pytest.approx(valid, abs=0.01)


@EVERY_FAMILY
def test_only_the_sky_is_not_valid(family) -> None:
    """Nothing but a ray that meets nothing has no depth; indoors every ray meets something."""
    shown = World(family, seed=7, size=SIZE)
    for frame in (shown[20], shown[200]):
        assert np.array_equal(frame.valid, frame.depth > 0)
        if family in ("rooms", "halls"):
            assert frame.valid.mean() > 0.999


def test_rooms_without_shadows_have_none() -> None:
    """A zone whose lamp throws no shadows looks the same with and without anything between."""
    shown = World("rooms", seed=1, size=(24, 32))
    shot = make_shot([(shown, 3)])
    shot.tables.zones[:, ZoneColumn.SHADOW] = 0.0
    without = render_fast(shot).rgb
    shot.tables.solids[:, Column.CASTS] = 0.0
    shot.clusters.casts[:] = False
    assert torch.equal(without, render_fast(shot).rgb)


def some_pictures(folder) -> None:
    """A package like miniworld, with pictures of one colour and a stripe."""
    image = pytest.importorskip("PIL.Image")
    (folder / "miniworld" / "textures").mkdir(parents=True)
    (folder / "miniworld" / "__init__.py").write_text("raise RuntimeError('its code is never run')")
    for number, name in enumerate(photos.picture_names()):
        picture = np.full((32, 32, 3), 40 + 8 * number, dtype=np.uint8)
        picture[8:16] = 255 - picture[8:16]
        image.fromarray(picture).save(folder / "miniworld" / "textures" / f"{name}.png")


@pytest.fixture
def miniworld(tmp_path, monkeypatch):
    """The package with those pictures, and nothing of them left behind."""
    kept = (photos._folder, photos.mean_colours, textures.atlas_with_photos)
    some_pictures(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for cache in kept:
        cache.cache_clear()
    yield
    for cache in kept:
        cache.cache_clear()


@pytest.mark.usefixtures("miniworld")
def test_photographs_change_colours_and_nothing_else() -> None:
    drawn = World("rooms", seed=1, size=(24, 32))
    photographed = World("rooms", seed=1, size=(24, 32), textures="miniworld")
    assert photographed.name == "world:rooms:1:miniworld"
    before, after = drawn[3], photographed[3]
    assert np.array_equal(before.depth, after.depth)
    assert np.abs(before.rgb.astype(int) - after.rgb).mean() > 1
    together = worlds.render_clips([(drawn, [3]), (photographed, [3])])
    assert np.array_equal(together.rgb[0, 0].numpy(), before.rgb)
    assert np.array_equal(together.rgb[1, 0].numpy(), after.rgb)


def test_photographs_that_are_not_there_are_said(monkeypatch) -> None:
    photos._folder.cache_clear()
    photos.mean_colours.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps miniworld"):
        _ = World("rooms", seed=1, size=(24, 32), textures="miniworld")[0]
    with pytest.raises(InputError, match="unknown textures"):
        World("rooms", seed=1, textures="nowhere")


def test_rooms_are_looked_into_wherever_they_are() -> None:
    """No room is left out of what is seen because of its number: the one before the first has it too."""
    plan = Plan(5, 4.0, 2.5)
    for home, there in (((-1, 0), (-1, -1)), ((0, -1), (-1, -1)), ((0, 0), (0, -1)), ((1, 0), (0, 0))):
        if plan.is_open(home, there):
            x, z = plan.middle(home)
            assert there in plan.rooms_seen(home, View(x, z, 0.0, np.pi))
