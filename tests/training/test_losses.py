"""The objective against brute force, by its invariances and by finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openloger.errors import InputError
from openloger.geometry import SE3, nearest_rotation, rotation_angle, rotation_from_axis_angle, unproject
from openloger.network import WindowPrediction
from openloger.training.chaining import Chain
from openloger.training.clips import ClipBatch
from openloger.training.losses import (
    LossWeights,
    align,
    confidence_loss,
    direction_loss,
    inverse_depth_weight,
    local_loss,
    measure,
    normal_loss,
    pair_mean,
    relative_motion,
    sample_valid,
    solve_scale,
    world_loss,
)
from openloger.training.objective import chain_metric_loss

EVERYTHING = LossWeights(confidence=0.05, direction=0.3)


def rigid(draw: torch.Generator, *shape: int) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    matrix[..., :3, :3] = rotation_from_axis_angle(torch.randn(*shape, 3, generator=draw, dtype=torch.float64) * 0.4)
    matrix[..., :3, 3] = torch.randn(*shape, 3, generator=draw, dtype=torch.float64)
    return matrix


def clips(seed: int = 0, *, batch: int = 2, frames: int = 3, height: int = 8, width: int = 10) -> ClipBatch:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.linspace(-0.5, 0.5, height, dtype=torch.float64)[:, None]
    depth = 2 + torch.rand(batch, frames, 1, 1, generator=draw, dtype=torch.float64) + rows + 0 * torch.zeros(width)
    depth = depth * torch.empty_like(depth).uniform_(0.97, 1.03, generator=draw)
    intrinsics = torch.tensor([[9.0, 0, 5.2], [0, 9.0, 3.9], [0, 0, 1]], dtype=torch.float64)
    valid = torch.rand(depth.shape, generator=draw) > 0.1
    return ClipBatch(
        images=torch.rand(batch, frames, 3, height, width, generator=draw),
        depth=depth,
        valid=valid,
        moving=torch.zeros(depth.shape, dtype=torch.bool),
        intrinsics=intrinsics.expand(batch, frames, 3, 3),
        world_from_cam=rigid(draw, batch, frames),
        sky=~valid,
        has_normals=torch.ones(batch, dtype=torch.bool),
        has_moving=torch.ones(batch, dtype=torch.bool),
        is_metric=torch.ones(batch, dtype=torch.bool),
        names=("a",) * batch,
    )


def perfect(truth: ClipBatch) -> WindowPrediction:
    return WindowPrediction(
        truth.world_from_cam.float(),
        unproject(truth.depth, truth.intrinsics).float(),
        torch.zeros(truth.depth.shape),
        None,
    )


def noisy(truth: ClipBatch, seed: int = 1) -> WindowPrediction:
    draw = torch.Generator().manual_seed(seed)
    exact = perfect(truth)
    shape = exact.points_cam.shape
    moved = exact.points_cam * torch.empty(shape[:4]).uniform_(0.8, 1.3, generator=draw)[..., None]
    turn = rotation_from_axis_angle(torch.randn(*shape[:2], 3, generator=draw) * 0.2)
    world_from_cam = exact.world_from_cam.clone()
    world_from_cam[..., :3, :3] = turn @ world_from_cam[..., :3, :3]
    return replace(exact, points_cam=moved, world_from_cam=world_from_cam)


@pytest.mark.parametrize("seed", range(5))
def test_scale_beats_brute_force(seed):
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randn(3, 40, 3, generator=draw).abs() + 0.1
    prediction = 1.7 * truth * torch.empty(3, 40, 1).uniform_(0.3, 2.0, generator=draw) + 0.2 * torch.randn(
        3, 40, 3, generator=draw
    )
    weight = torch.rand(3, 40, generator=draw)

    def cost(scale):
        return (weight[..., None] * (scale[:, None, None] * prediction - truth).abs()).sum((1, 2))

    candidates = (truth / prediction).flatten(1).T  # the minimum of a piecewise linear function is at a corner
    best = torch.stack([cost(candidate) for candidate in candidates]).min(dim=0).values
    torch.testing.assert_close(cost(solve_scale(prediction, truth, weight)), best)
    assert (best > 0.1).all()


def test_scale_ignores_points_of_weight_zero():
    truth = torch.rand(1, 30, 3) + 0.5
    prediction, weight = truth * 4, torch.ones(1, 30)
    prediction[:, :20], weight[:, :20] = 100.0, 0.0
    torch.testing.assert_close(solve_scale(prediction, truth, weight), torch.tensor([0.25]))


def test_samples_are_valid_distinct_and_spread():
    valid = torch.rand(4, 1000) > 0.4
    valid[3] = False
    valid[3, 500:503] = True
    index, filled = sample_valid(valid, limit=200)
    assert index.shape == (4, 200)
    assert filled.sum(1).tolist() == [200, 200, 200, 3]
    for chosen, use, mask in zip(index, filled, valid, strict=True):
        assert mask[chosen[use]].all()
        assert chosen[use].unique().numel() == use.sum()
    assert index[0].max() > 950
    assert index[0].min() < 50


def test_weight_is_clamped_at_a_tenth_of_the_mean_depth():
    depth = torch.tensor([[1.0, 1.0, 0.001, 2.0, 50.0]])
    valid = torch.tensor([[True, True, True, True, False]])
    weight = inverse_depth_weight(depth, valid)
    torch.testing.assert_close(weight, torch.tensor([[1.0, 1.0, 1 / (0.1 * 4.001 / 4), 0.5, 0.0]]))


def test_truth_itself_costs_nothing():
    truth = clips()
    losses = measure(perfect(truth), truth, EVERYTHING)
    for name in ("local", "world", "rotation", "translation", "normal"):
        assert float(getattr(losses, name)) < 2e-3, name
    wrong = measure(noisy(truth), truth, EVERYTHING)
    for name in ("local", "world", "rotation", "translation", "normal"):
        assert float(getattr(wrong, name)) > 1e-3, name


def test_local_loss_is_its_formula():
    truth = clips(3)
    prediction = noisy(truth)
    aligned = align(prediction, truth)
    pixels = aligned.valid
    error = (aligned.predicted_cam - aligned.truth_cam).abs().sum(-1) / aligned.truth_cam[..., 2]
    torch.testing.assert_close(local_loss(aligned), error[pixels].mean())


def as_numbers(losses):
    return torch.stack(
        [losses.local, losses.world, losses.rotation, losses.translation, losses.normal, losses.confidence]
    )


def test_a_similarity_of_the_truth_changes_nothing():
    truth, draw = clips(), torch.Generator().manual_seed(7)
    moved = rigid(draw, 1, 1) @ truth.world_from_cam
    moved[..., :3, 3] *= 3.7
    similar = replace(truth, depth=truth.depth * 3.7, world_from_cam=moved)
    prediction = noisy(truth)
    before, after = (as_numbers(measure(prediction, side, EVERYTHING)) for side in (truth, similar))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-5)


def test_a_similarity_of_the_prediction_changes_nothing():
    truth, draw = clips(), torch.Generator().manual_seed(8)
    prediction = noisy(truth)
    moved = rigid(draw, 1, 1).float() @ prediction.world_from_cam
    moved[..., :3, 3] *= 0.2
    similar = replace(prediction, points_cam=prediction.points_cam * 0.2, world_from_cam=moved)
    before, after = (as_numbers(measure(side, truth, EVERYTHING)) for side in (prediction, similar))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-5)


def test_the_free_scale_gets_no_gradient_but_the_anchors():
    truth = clips()
    prediction = noisy(truth)
    stretch = torch.ones((), requires_grad=True)
    matrix = prediction.world_from_cam.clone()
    upper = torch.cat([matrix[..., :3, :3], matrix[..., :3, 3:] * stretch], dim=-1)
    scaled = replace(
        prediction,
        points_cam=prediction.points_cam * stretch,
        world_from_cam=torch.cat([upper, matrix[..., 3:, :]], dim=-2),
    )
    losses = measure(scaled, truth, EVERYTHING)
    (pull,) = torch.autograd.grad(losses.total(replace(EVERYTHING, anchor=0.0)), stretch, retain_graph=True)
    assert abs(float(pull)) < 1e-4
    (pull,) = torch.autograd.grad(losses.anchor, stretch)
    torch.testing.assert_close(pull, 2 * losses.log_depth, rtol=0.05, atol=0.0)


def test_gradients_are_those_of_finite_differences():
    truth = clips(batch=1, frames=2, height=4, width=4)
    aligned = align(noisy(truth), truth)
    start = aligned.predicted_cam.double() * 1.013  # at the solved scale one error is exactly 0: a kink
    truth_cam, motion = aligned.truth_cam.double(), aligned.predicted_first_from_cam.to(torch.float64)

    def of_points(points):
        changed = replace(
            aligned,
            predicted_cam=points,
            truth_cam=truth_cam,
            weight=aligned.weight.double(),
            predicted_first_from_cam=motion,
            truth_first_from_cam=aligned.truth_first_from_cam.to(torch.float64),
        )
        return local_loss(changed), world_loss(changed), normal_loss(points, truth_cam, aligned.valid)

    assert torch.autograd.gradcheck(of_points, (start.clone().requires_grad_(),))


def test_pose_gradients_are_those_of_finite_differences():
    truth = SE3.from_matrix(clips(batch=1).world_from_cam)
    found = SE3.from_matrix(clips(1, batch=1).world_from_cam)

    def of_pose(nine, translation):
        pair, wanted = relative_motion(SE3(nearest_rotation(nine), translation)), relative_motion(truth)
        return pair_mean(rotation_angle((pair.inverse() @ wanted).rotation)), pair_mean(
            pair.translation.square().sum(-1)
        )

    assert torch.autograd.gradcheck(
        of_pose, (found.rotation.clone().requires_grad_(), found.translation.clone().requires_grad_())
    )


def test_gradients_stay_finite_at_the_truth():
    truth = clips()
    exact = perfect(truth)
    nine = exact.world_from_cam[..., :3, :3].clone().requires_grad_()
    points = exact.points_cam.clone().requires_grad_()
    upper = torch.cat([nearest_rotation(nine), exact.world_from_cam[..., :3, 3:]], dim=-1)
    prediction = replace(
        exact, points_cam=points, world_from_cam=torch.cat([upper, exact.world_from_cam[..., 3:, :]], dim=-2)
    )
    measure(prediction, truth, EVERYTHING).total(EVERYTHING).backward()
    assert nine.grad is not None
    assert torch.isfinite(nine.grad).all()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()


def test_a_turned_camera_costs_its_angle():
    truth = clips(batch=1, frames=2)
    prediction = perfect(truth)
    turned = prediction.world_from_cam.clone()
    turned[:, 1, :3, :3] = turned[:, 1, :3, :3] @ rotation_from_axis_angle(torch.tensor([0.0, 0.3, 0.0]))
    losses = measure(replace(prediction, world_from_cam=turned), truth, LossWeights())
    torch.testing.assert_close(losses.rotation, torch.tensor(0.3), rtol=1e-4, atol=1e-5)


def test_direction_costs_one_minus_the_cosine_of_pairs_that_moved():
    truth = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.06, 0.0], [0.0, 0.0, 0.0]]).reshape(1, 2, 2, 3)
    right = direction_loss(3 * truth, truth)
    backwards = direction_loss(-0.5 * truth, truth)
    aside = direction_loss(truth[..., [1, 2, 0]], truth)
    assert [float(cost) for cost in (right, backwards, aside)] == pytest.approx([0.0, 2.0, 1.0], abs=1e-6)
    hesitant = direction_loss(0.1 * truth, truth)  # half of the shortest step and a third of it
    assert float(hesitant) == pytest.approx(1 - (0.5 + 0.3) / 2, abs=1e-6)


def test_direction_has_a_finite_gradient_where_nothing_moves():
    still = torch.zeros(1, 2, 2, 3, requires_grad=True)
    direction_loss(still, torch.full((1, 2, 2, 3), 0.1)).backward()
    assert still.grad is not None
    assert bool(torch.isfinite(still.grad).all())
    assert float(still.grad.abs().sum()) > 0


def test_confidence_is_wanted_where_the_error_is_small_and_never_in_the_sky():
    truth = clips()
    aligned = align(perfect(truth), truth)
    sure = torch.where(aligned.valid, 9.0, -9.0)
    assert float(confidence_loss(sure, aligned, truth.sky, 0.02)) < 1e-3
    assert float(confidence_loss(torch.full_like(sure, 9.0), aligned, truth.sky, 0.02)) > 0.3


def test_pairs_are_counted_without_the_diagonal():
    value = torch.full((2, 3, 3), 5.0)
    value[:, range(3), range(3)] = 100.0
    assert float(pair_mean(value)) == 5.0
    assert float(pair_mean(torch.full((2, 1, 1), 5.0))) == 0.0


def sensor(seed: int = 0) -> tuple[ClipBatch, ClipBatch]:
    """A smooth wall, and the same with a sensor's noise of 1 % and its holes, which are no sky."""
    clean = clips(seed, height=24, width=32)
    smooth = clean.depth[..., :1, :1].expand_as(clean.depth) + torch.linspace(0, 0.5, 24, dtype=torch.float64)[:, None]
    draw = torch.Generator().manual_seed(seed + 1)
    noise = 1 + 0.01 * torch.randn(smooth.shape, generator=draw, dtype=torch.float64)
    sky = torch.zeros_like(clean.valid)
    lens = torch.tensor([[400.0, 0, 16], [0, 400.0, 12], [0, 0, 1]], dtype=torch.float64)
    clean = replace(
        clean, intrinsics=lens.expand(clean.intrinsics.shape), depth=smooth.contiguous(), valid=~sky, sky=sky
    )
    holes = torch.rand(smooth.shape, generator=draw) < 0.4
    none = torch.zeros(len(smooth), dtype=torch.bool)
    return clean, replace(
        clean, depth=torch.where(holes, 0.0, smooth * noise), valid=~holes, has_normals=none, is_metric=none
    )


def test_noise_of_a_sensor_is_not_taught_as_normals():
    """With normals of such depth the term is many times that of the points, whatever the network finds."""
    clean, noisy_truth = sensor()
    exact = perfect(clean)  # the wall as it is, which no network could improve
    points = float(measure(exact, noisy_truth, LossWeights()).local)
    taught = measure(exact, replace(noisy_truth, has_normals=torch.tensor([True, True])), LossWeights())
    assert float(taught.normal) > 50 * points
    assert float(measure(exact, noisy_truth, LossWeights()).normal) == 0
    one = replace(noisy_truth, depth=torch.cat([clean.depth[:1], noisy_truth.depth[1:]]))
    one = replace(
        one, valid=torch.cat([clean.valid[:1], noisy_truth.valid[1:]]), has_normals=torch.tensor([True, False])
    )
    assert float(measure(exact, one, LossWeights()).normal) < 0.01  # that of the clean clip alone


def test_holes_leave_every_gradient_finite():
    """A triangle over a hole has no normal; its angle is left out, and with it a gradient that is none."""
    clean, noisy_truth = sensor()
    truth = replace(noisy_truth, has_normals=torch.tensor([True, True]))
    exact = perfect(clean)
    found = replace(exact, points_cam=exact.points_cam.clone().requires_grad_())
    measure(found, truth, LossWeights()).normal.backward()
    assert found.points_cam.grad is not None
    assert torch.isfinite(found.points_cam.grad).all()
    assert found.points_cam.grad.any()


def test_holes_are_not_taught_as_doubtful_and_sky_is():
    clean, noisy_truth = sensor()
    aligned = align(perfect(clean), noisy_truth)
    sure = torch.full(clean.valid.shape, 9.0)
    doubtful_in_holes = torch.where(noisy_truth.valid, sure, -sure)
    loss = confidence_loss(sure, aligned, noisy_truth.sky, 0.1)
    assert float(loss) < 1e-3
    assert float(confidence_loss(doubtful_in_holes, aligned, noisy_truth.sky, 0.1)) == float(loss)
    assert float(confidence_loss(sure, aligned, ~noisy_truth.valid, 0.1)) > 2  # as if they were sky


def test_metric_scale_learns_from_clips_in_metres_alone_and_nothing_else_from_it():
    truth = replace(clips(batch=2, frames=3), is_metric=torch.tensor([True, False]))
    scale = torch.tensor([1.5, 7.0], requires_grad=True)
    exact = perfect(truth)
    found = replace(exact, points_cam=exact.points_cam * scale[:, None, None, None, None])
    chain = Chain(found, ((0, 1, 2),), (scale,))
    loss = chain_metric_loss(chain, truth)
    assert loss.item() == pytest.approx(np.log(1.5), rel=1e-5)
    loss.backward()
    assert scale.grad is not None
    np.testing.assert_allclose(scale.grad, [1 / 1.5, 0], rtol=1e-5)
    with pytest.raises(InputError, match="metric"):
        chain_metric_loss(replace(chain, metric_scale=()), truth)
