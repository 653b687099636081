"""A rig's stream: its views in step, their windows joined along the true path, and cut runs that equal whole ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from network.reference import open_pocket
from torch import Tensor

from openloger.errors import BadFrameError, InputError
from openloger.geometry import SE3, Sim3, rotation_angle, rotation_from_axis_angle
from openloger.geometry.views import CameraRig
from openloger.network import VideoMemory, Window, WindowPrediction, load_network, preset
from openloger.streaming import RigState, RigStream
from openloger.values import Frame, PlacedWindow

VIEWS, INSTANTS, SIZE = 4, 20, (24, 32)
RIG = CameraRig.ring(VIEWS, 90.0).rig_from_view
LENS_PX = (16.0, 16.0, 16.0, 12.0)
LOG_SCALES = (0.2, -0.3, 0.0, 0.1)


class Oracle:
    """A network with the true cameras, found by the number and the view that a picture's first pixel names.

    Each view has its own scale, and `bad` is the view that is told nonsense.
    """

    config = preset("pocket")
    device = torch.device("cpu")
    takes_padding = False

    def __init__(
        self, world_from_rig: SE3, *, log_scales: tuple[float, ...] = LOG_SCALES, bad: int | None = None
    ) -> None:
        self._world_from_rig, self._log_scales, self._bad = world_from_rig, log_scales, bad

    def __call__(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]:
        codes = (window.images[0, :, :2, 0, 0] * 255).round().long()
        view, scale = int(codes[0, 1]), float(np.exp(self._log_scales[int(codes[0, 1])]))
        rotation = self._world_from_rig.rotation[codes[:, 0]] @ RIG[view]
        centre = self._world_from_rig.translation[codes[:, 0]]
        if view == self._bad:
            noise = torch.Generator().manual_seed(int(codes[0, 0]))
            centre = torch.randn(len(codes), 3, generator=noise).double()
            rotation = rotation_from_axis_angle(torch.randn(len(codes), 3, generator=noise).double())
        world_from_cam = SE3(rotation, centre / scale)
        first = SE3(rotation[0], centre[0] / scale)
        points = torch.tensor([0.0, 0.0, 2.0]).expand(1, len(codes), *SIZE, 3) / scale
        prediction = WindowPrediction(
            (first.inverse() @ world_from_cam).matrix().float()[None], points, torch.full(points.shape[:-1], 3.0), None
        )
        return prediction, memory or VideoMemory()

    def carried_place(self, memory: VideoMemory, size: tuple[int, int]) -> None:
        return None

    def weights_hash(self) -> None:
        return None

    def run_settings(self) -> dict[str, Any]:
        return {}

    def parameter_count(self) -> int:
        return 0


def path() -> SE3:
    random = torch.Generator().manual_seed(1)
    turns, steps = (torch.randn(INSTANTS, 3, generator=random).double() for _ in range(2))
    return SE3(rotation_from_axis_angle(0.05 * turns.cumsum(0)), (0.1 * steps + torch.tensor([0, 0, 0.3])).cumsum(0))


def frames(instants: int = INSTANTS, *, seed: int = 0) -> list[Frame]:
    """Noise, but for the first pixel."""
    random, found = np.random.default_rng(seed), []
    for index in range(instants):
        for view in range(VIEWS):
            rgb = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            rgb[0, 0] = index, view, 0
            found.append(Frame(rgb, index, index / 10, f"{index}_view{view}"))
    return found


def rig_stream(network: Any, **settings: Any) -> RigStream:
    return RigStream(network, rig_from_view=RIG, **{"window": 6, "overlap": 2, "size": SIZE, **settings})


def run(stream: RigStream, given: list[Frame]) -> Iterator[PlacedWindow]:
    return stream.run(given, known_intrinsics_px=LENS_PX)


def recorded(windows: list[PlacedWindow]) -> tuple[Tensor, Tensor, list[str]]:
    """Cameras, depth and names of all frames, as a recording keeps them."""
    cameras = torch.cat([one.world_from_cam[: one.final_count] for one in windows])
    depth = torch.cat([one.depth[: one.final_count] for one in windows])
    return cameras, depth, [frame.name for one in windows for frame in one.frames[: one.final_count]]


@pytest.mark.parametrize("bad", [None, 0, 2])
def test_the_true_path_comes_out_whatever_scales_the_views_have(bad: int | None) -> None:
    truth = path()
    windows = list(run(rig_stream(Oracle(truth, bad=bad)), frames()))
    cameras, depth, names = recorded(windows)
    assert names == [frame.name for frame in frames()]
    of_rig = SE3.from_matrix(cameras.unflatten(0, (INSTANTS, VIEWS)))
    assert torch.equal(of_rig.translation, of_rig.translation[:, :1].expand(-1, VIEWS, 3))
    between = of_rig.rotation[:, :1].mT @ of_rig.rotation
    assert float(rotation_angle((RIG[:1].mT @ RIG).mT @ between).max()) < 1e-6
    wanted = SE3(truth.rotation[0], truth.translation[0]).inverse() @ truth
    scale = of_rig.translation[-1, 0].norm() / wanted.translation[-1].norm()
    assert torch.allclose(of_rig.translation[:, 0], scale * wanted.translation, atol=2e-3)
    assert float(rotation_angle(wanted.rotation.mT @ of_rig.rotation[:, 0] @ RIG[0].mT).max()) < 1e-3
    good = [view for view in range(VIEWS) if view != bad]
    assert torch.allclose(depth.unflatten(0, (INSTANTS, VIEWS))[:, good], 2 * scale.float(), rtol=2e-3)


def test_windows_have_all_views_and_their_overlap() -> None:
    first, *_, last = windows = list(run(rig_stream(Oracle(path())), frames()))
    assert [(len(one.frames), one.final_count) for one in windows] == [(24, 16)] * 4 + [(16, 16)]
    assert (first.views, first.last, last.last) == (VIEWS, False, True)
    assert [frame.name for frame in first.first_view.frames] == [f"{index}_view0" for index in range(6)]
    assert first.first_view.final_count == 4
    assert first.disagreement is None
    assert windows[1].disagreement is not None
    assert windows[1].disagreement.translation < 1e-3


def test_a_window_is_where_its_first_view_is() -> None:
    """Its world is moved with the view's first camera, and scaled with its depth."""
    for placed in run(rig_stream(Oracle(path())), frames()):
        window_from_cam = placed.world_from_window.inverse() @ Sim3.from_matrix(placed.world_from_cam[0])
        assert torch.allclose(window_from_cam.translation, torch.zeros(3).double(), atol=1e-4)
        assert float(rotation_angle(window_from_cam.rotation)) < 1e-3
        own_depth = 2 / np.exp(LOG_SCALES[0])
        assert float(placed.world_from_window.scale) * own_depth == pytest.approx(
            float(placed.depth[0, 0, 0]), rel=1e-4
        )


@pytest.mark.parametrize("cut_after", [1, 3])
@pytest.mark.parametrize("network", ["pocket", "compact"])
def test_a_run_that_is_cut_equals_a_whole_one(network: str, cut_after: int, one_thread: None) -> None:
    """With `compact` windows are made of keyframes, which the views choose together."""
    loaded = open_pocket() if network == "pocket" else load_network("compact", device="cpu", dtype="float32")
    size = {"size": SIZE} if network == "pocket" else {"size": (32, 48)}
    given = frames(16)
    whole = list(run(rig_stream(loaded, **size), given))
    cut = rig_stream(loaded, **size)
    begun = []
    for placed in run(cut, given):
        begun.append(placed)
        if len(begun) == cut_after:
            break
    rest = rig_stream(loaded, **size)
    rest.state = RigState.from_bytes(cut.state.to_bytes(made_for="this"), made_for="this")
    assert rest.state.final_frames == sum(one.final_count for one in begun)
    both = begun + list(run(rest, given))
    for one, other in zip(whole, both, strict=True):
        assert torch.equal(one.world_from_cam, other.world_from_cam)
        assert torch.equal(one.points_cam, other.points_cam)
        assert [frame.name for frame in one.frames] == [frame.name for frame in other.frames]


def test_the_state_does_not_grow() -> None:
    stream = rig_stream(open_pocket())
    sizes = [len(stream.state.to_bytes()) for _ in run(stream, frames(40))]
    assert max(sizes[1:-1]) - min(sizes[1:-1]) < 200  # digits of numbers


def test_a_state_of_another_kind_is_refused() -> None:
    stream = rig_stream(open_pocket())
    next(iter(run(stream, frames())))
    with pytest.raises(InputError, match="another run"):
        RigState.from_bytes(stream.state.to_bytes(made_for="one"), made_for="other")
    with pytest.raises(InputError, match="no state of a run"):
        RigState.from_bytes(stream.state.views[0].to_bytes())


def test_what_is_no_rig_is_refused() -> None:
    with pytest.raises(InputError, match="overlap is 0"):
        rig_stream(open_pocket(), overlap=0, placement="none")
    with pytest.raises(InputError, match="known camera"):
        next(rig_stream(open_pocket()).run(frames(), known_intrinsics_px=None))
    with pytest.raises(BadFrameError, match="instant 3 has not a frame of each of the 4 views"):
        list(run(rig_stream(open_pocket()), frames()[:15]))
    with pytest.raises(InputError, match="no frames"):
        list(run(rig_stream(open_pocket()), []))
