"""Triangulation: exact flow and cameras give the depth back, a bad edge does not, and what is not seen is left.

Then what neighbouring frames have: on one wall they agree with a frame's depth, or give what it is wrong by.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import (
    HEIGHT,
    WIDTH,
    cell_world,
    exact_flow,
    generator,
    intrinsics,
    motion,
    wall,
    worlds_and_flow,
)
from openloger.geometry import SE3
from openloger.network.motion import (
    EdgeFlow,
    Edges,
    NeighbouringDepth,
    Triangulated,
    TriangulationSettings,
    neighbouring_depth,
    triangulate,
)

FRAMES = 4
ALL = Edges.gaps(FRAMES, (1, -1, 2))
CELLS = HEIGHT // 4, WIDTH // 4
CLEAR = 1 / 0.03**2  # information of a cell whose log depth is known to 0.03


def walk(length: float) -> SE3:
    """(1, frame) cameras."""
    cameras = [SE3.identity()]
    for seed in range(1, FRAMES):
        cameras.append(cameras[-1] @ motion(seed, angle=0.05, length=length))
    return SE3(torch.stack([c.rotation for c in cameras])[None], torch.stack([c.translation for c in cameras])[None])


def scene(cameras: SE3) -> tuple[EdgeFlow, Tensor]:
    return worlds_and_flow(cameras, ALL)


def wrong_by(size: float) -> Tensor:
    """Log factors (1, frame, rows, columns), one a cell."""
    return size * torch.randn(1, FRAMES, *CELLS, generator=generator(3))


def pixels(cells: Tensor) -> Tensor:
    return cells.repeat_interleave(4, -1).repeat_interleave(4, -2)


def measured(flow: EdgeFlow, cameras: SE3, depth: Tensor, **settings: float) -> Triangulated:
    return triangulate(flow, ALL, cameras, depth, intrinsics(FRAMES), settings=TriangulationSettings(**settings))


def test_depth_that_is_wrong_is_given_back() -> None:
    cameras = walk(0.8)
    flow, depth = scene(cameras)
    wrong = wrong_by(0.1)
    found = measured(flow, cameras, depth * pixels(wrong).exp(), depth_sigma=10.0)
    clear = found.information > CLEAR
    assert float(clear.float().mean()) > 0.3
    assert_close(found.log_depth[clear], -wrong[clear], atol=1e-3, rtol=0)
    assert float(found.residual_px[clear].max()) < 0.02


def test_the_information_is_the_inverse_variance_of_what_is_found() -> None:
    cameras = walk(0.8)
    flow, depth = scene(cameras)
    noise = TriangulationSettings().flow_sigma_px * torch.randn(flow.shift_px.shape, generator=generator(8))
    noisy = EdgeFlow(flow.shift_px + noise, flow.weight, flow.inside)
    found = measured(noisy, cameras, depth, depth_sigma=10.0, flow_sigma_px=0.25)
    clear = found.information > CLEAR / 4
    spread = (found.log_depth.square() * found.information)[clear].quantile(0.5).item()
    assert 0.25 < spread < 0.8  # the median of χ² with one degree of freedom is 0.455


def test_one_bad_edge_of_three_does_not_move_it() -> None:
    cameras = walk(0.8)
    flow, depth = scene(cameras)
    shift = flow.shift_px.clone()
    shift[:, 0] += 6.0  # pixels, of the edge 0 → 1; frame 0 has the edge 0 → 2, too
    bad = EdgeFlow(shift, flow.weight, flow.inside)
    found = measured(bad, cameras, depth)
    clear = (found.information > CLEAR)[:, 0]
    assert int(clear.sum()) > 50
    assert float(found.log_depth[:, 0][clear].abs().quantile(0.9)) < 0.02
    assert float(found.residual_px[:, 0][clear].median()) < 1.0


def test_a_camera_that_turns_on_the_spot_measures_nothing() -> None:
    cameras = walk(0.0)
    flow, depth = scene(cameras)
    found = measured(flow, cameras, depth * 1.2)
    assert float(found.information.max()) < 1e-3
    assert float(found.log_depth.abs().max()) < 1e-6


def test_what_has_no_depth_is_left_alone() -> None:
    cameras = walk(0.8)
    flow, depth = scene(cameras)
    holed = depth.clone()
    holed[:, :, :16] = torch.nan
    found = measured(flow, cameras, holed)
    assert not found.information[:, :, :4].any()
    assert not found.log_depth[:, :, :4].any()
    whole = measured(flow, cameras, depth)
    assert_close(found.log_depth[:, :, 4:], whole.log_depth[:, :, 4:], atol=1e-6, rtol=0)


def test_a_window_of_one_frame_measures_nothing() -> None:
    flow = EdgeFlow(
        torch.zeros(1, 0, *CELLS, 2), torch.zeros(1, 0, *CELLS), torch.zeros(1, 0, *CELLS, dtype=torch.bool)
    )
    alone = SE3.identity()
    cameras = SE3(alone.rotation[None, None], alone.translation[None, None])
    found = triangulate(flow, Edges.chain(1), cameras, cell_world(0), intrinsics(1))
    assert found.log_depth.shape == (1, 1, *CELLS)
    assert not found.information.any()
    alone = neighbouring_depth(flow, Edges.chain(1), cameras, cell_world(0), intrinsics(1), found)
    assert alone.log_depth.shape == (1, 1, *CELLS)
    assert not alone.information.any()


def test_gradients_reach_depth() -> None:
    cameras = walk(0.8)
    flow, depth = scene(cameras)
    scale = torch.zeros(1, FRAMES, 1, 1, requires_grad=True)
    found = measured(flow, cameras, depth * scale.exp(), depth_sigma=10.0)
    clear = found.information > CLEAR
    (found.log_depth * clear).sum().backward()
    assert scale.grad is not None
    by_frame = clear[0].sum((1, 2)).clamp_min(1)
    assert_close(scale.grad[0, :3, 0, 0] / by_frame[:3], -torch.ones(3), atol=0.05, rtol=0)  # what depth has too much


def of_wall(cameras: SE3) -> tuple[EdgeFlow, Tensor]:
    """The exact flow of all edges, and the depth of one wall that all frames see."""
    frames = [SE3(cameras.rotation[0, frame], cameras.translation[0, frame]) for frame in range(FRAMES)]
    depth = wall(frames)[3]
    pairs = zip(ALL.source.tolist(), ALL.target.tolist(), strict=True)
    flows = [exact_flow(depth[0, source], frames[target].inverse() @ frames[source]) for source, target in pairs]
    shift, weight, inside = ([getattr(flow, part) for flow in flows] for part in ("shift_px", "weight", "inside"))
    return EdgeFlow(torch.cat(shift, 1), torch.cat(weight, 1), torch.cat(inside, 1)), depth


def of_neighbours(flow: EdgeFlow, cameras: SE3, depth: Tensor, **settings: float) -> NeighbouringDepth:
    found = measured(flow, cameras, depth, **settings)
    return neighbouring_depth(flow, ALL, cameras, depth, intrinsics(FRAMES), found)


def test_neighbours_agree_on_one_wall() -> None:
    cameras = walk(0.4)
    flow, depth = of_wall(cameras)
    found = of_neighbours(flow, cameras, depth)
    assert float((found.information > CLEAR).float().mean()) > 0.3
    for map in (found.log_depth, found.measured, found.spread):
        inner = map[..., 1:-1, 1:-1].abs()
        assert float(inner.quantile(0.95)) < 0.005  # depth is a pixel off the middle of a cell, on a slope
        assert float(inner.max()) < 0.05  # beyond the middles of the outermost cells it is taken from there


def test_they_give_what_one_frame_is_wrong_by() -> None:
    cameras = walk(0.4)
    flow, depth = of_wall(cameras)
    wrong = torch.tensor([0.0, 0.0, 0.2, 0.0])[:, None, None]
    found = of_neighbours(flow, cameras, depth * wrong.exp())
    seen = found.information[0, 2] > CLEAR
    assert int(seen.sum()) > 50
    assert_close(found.log_depth[0, 2][seen], torch.full_like(found.log_depth[0, 2][seen], -0.2), atol=0.01, rtol=0)
    of_first = found.information[0, 0] > 0  # it has the edges to the frames 1 and 2
    assert 0.05 < float(found.spread[0, 0][of_first].median()) < 0.11


def test_their_measured_depth_is_right_where_all_predicted_depth_is_wrong() -> None:
    cameras = walk(0.8)
    flow, depth = of_wall(cameras)
    wrong = (0.2 * torch.linspace(-1, 1, WIDTH)).expand_as(depth)
    found = of_neighbours(flow, cameras, depth * wrong.exp(), depth_sigma=10.0)
    cells = wrong[..., 2::4, 2::4]
    clear = found.information > 10 * CLEAR
    assert float(clear.float().mean()) > 0.2
    off = (found.measured + cells)[clear].abs()
    assert float(off.quantile(0.9)) < 0.25 * float(cells[clear].abs().quantile(0.9))


def test_where_flow_leads_nowhere_no_neighbour_has_depth() -> None:
    cameras = walk(0.4)
    flow, depth = of_wall(cameras)
    found = of_neighbours(flow.reweighted(torch.zeros(1, len(ALL))), cameras, depth)
    assert not found.log_depth.any()
    assert not found.measured.any()
    assert not found.information.any()
