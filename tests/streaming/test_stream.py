"""A Stream's inputs, its refusals, and its log."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from network.reference import distance, open_pocket, small_images, toy_network

from openloger.errors import BadFrameError, InputError
from openloger.network import preset
from openloger.streaming import Stream, network_size
from openloger.values import Frame, PlacedWindow

HEIGHT, WIDTH = 24, 32
IMAGES = small_images(frames=8, height=HEIGHT, width=WIDTH)[0]
ARRAYS = (IMAGES * 255).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def network():
    return open_pocket()


def frames():
    return [Frame(rgb, index, float(index), f"{index:06d}") for index, rgb in enumerate(ARRAYS)]


class Source:
    """A FrameSource that counts what is asked of it."""

    name = "a source"

    def __init__(self, length=8, *, told=True):
        self.length = length if told else None
        self.asked = []

    def frames(self, first=0):
        self.asked.append(first)
        return iter(frames()[first:])

    def __iter__(self):
        return self.frames()


def run(network, source, **options):
    return list(Stream(network, **({"window": 5, "overlap": 2, "size": (HEIGHT, WIDTH)} | options)).run(source))


KINDS = {
    "frames": frames,
    "a FrameSource": Source,
    "a generator": lambda: (frame for frame in frames()),
    "arrays": lambda: list(ARRAYS),
    "one array": lambda: ARRAYS,
    "uint8 tensors": lambda: torch.from_numpy(ARRAYS),
    "not contiguous": lambda: list(np.ascontiguousarray(ARRAYS[:, :, ::-1])[:, :, ::-1]),
    "float tensors": lambda: list(torch.from_numpy(ARRAYS).permute(0, 3, 1, 2) / 255),
    "half tensors": lambda: list((torch.from_numpy(ARRAYS).permute(0, 3, 1, 2) / 255).half()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same(kind, network):
    wanted = run(network, frames())
    placed = run(network, KINDS[kind]())
    for one, other in zip(placed, wanted, strict=True):
        assert [frame.index for frame in one.frames] == [frame.index for frame in other.frames]
        assert [frame.name for frame in one.frames] == [frame.name for frame in other.frames]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(one.frames, other.frames, strict=True))
        assert distance(one.points_cam, other.points_cam) < (2e-2 if kind == "half tensors" else 1e-6)


def test_float_tensors_are_not_rounded(network):
    """The network sees what it was given; only the frame's picture has 256 levels."""
    placed = run(network, IMAGES)
    assert distance(placed[0].points_cam, run(network, frames())[0].points_cam) > 1e-6
    assert np.array_equal(placed[0].frames[3].rgb, ARRAYS[3])


def test_a_placed_window(network):
    first, last = run(network, Source())
    assert isinstance(first, PlacedWindow)
    assert (first.number, last.number) == (0, 1)
    assert [frame.index for frame in first.frames] == [0, 1, 2, 3, 4]
    assert (first.final_count, first.last) == (3, False)
    assert (last.final_count, last.last) == (5, True)
    assert first.world_from_cam.shape == (5, 4, 4)
    assert first.world_from_cam.dtype == torch.float64
    assert first.points_cam.shape == (5, HEIGHT, WIDTH, 3)
    assert torch.equal(first.depth, first.points_cam[..., 2])
    assert torch.equal(first.confidence, first.confidence_logit.sigmoid())
    rotation, centre = first.world_from_cam[1, :3, :3].float(), first.world_from_cam[1, :3, 3].float()
    assert torch.allclose(first.points_world[1], first.points_cam[1] @ rotation.T + centre, atol=1e-4)
    assert first.disagreement is None
    assert last.disagreement is not None
    assert first.metric_scale is None


def test_se3_puts_the_shared_camera_where_it_was(network):
    first, last = run(network, frames(), placement="se3")
    assert torch.allclose(last.world_from_cam[0], first.world_from_cam[3], atol=1e-9)
    assert last.world_from_window.scale == 1


def test_sim3_scales_points_and_centres_alike(network):
    first, last = run(network, frames(), placement="sim3")
    assert torch.allclose(last.world_from_cam[0], first.world_from_cam[3], atol=1e-9)
    ratio = first.depth[3] / last.depth[0]
    assert ratio.median().item() == pytest.approx(1, abs=1e-5)
    raw = run(network, frames(), placement="none")[1]
    scale = last.world_from_window.scale
    assert torch.allclose(last.points_cam, raw.points_cam * scale.float(), rtol=1e-5)
    steps, raw_steps = (w.world_from_cam[1:, :3, 3] - w.world_from_cam[:1, :3, 3] for w in (last, raw))
    assert torch.allclose(steps.norm(dim=-1), scale * raw_steps.norm(dim=-1), rtol=1e-5)


def test_the_windows_of_a_block_share_their_motion(network):
    fifteen = [replace(frame, index=index) for index, frame in enumerate((frames() * 2)[:15])]
    placed = run(network, fifteen, window=4, overlap=1, placement="none", reset_every=2)
    assert len(placed) == 5
    transforms = [window.world_from_window.rigid.matrix() for window in placed]
    assert torch.equal(transforms[0], torch.eye(4, dtype=torch.float64))
    assert torch.equal(transforms[0], transforms[1])
    assert torch.equal(transforms[2], transforms[3])
    assert not torch.allclose(transforms[1], transforms[2])
    assert not torch.allclose(transforms[3], transforms[4])
    assert torch.allclose(placed[2].world_from_cam[0], placed[1].world_from_cam[3], atol=1e-9)


@pytest.mark.parametrize("part", ["heads", "camera"])
def test_a_network_that_predicts_no_numbers_is_refused(part):
    """Cameras of NaN are a matrix that has no nearest rotation; depth of NaN reaches the stream."""
    broken = open_pocket()
    with torch.no_grad():
        for name, value in broken.named_parameters():
            if name.startswith("heads") and (("camera" in name) == (part == "camera")):
                value.fill_(torch.nan)
    with pytest.raises(InputError, match="predicts NaN or infinity"):
        run(broken, frames())


def test_metric_scale_is_told():
    images = small_images(frames=6)[0]
    placed = run(toy_network(pi3x=True), images, size=(28, 42))
    assert all(window.metric_scale > 0 for window in placed)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_frames_than_a_window_or_an_overlap(count, network):
    (only,) = run(network, frames()[:count], window=16, overlap=3, placement="sim3")
    assert (only.final_count, only.last, len(only.frames)) == (count, True, count)
    assert torch.isfinite(only.points_cam).all()


def test_no_frames_at_all(network):
    with pytest.raises(InputError, match=r"^the source gives no frames$"):
        run(network, [])


def test_defaults_are_what_the_network_is_made_for(network):
    stream = Stream(network)
    assert (stream.window, stream.overlap) == (network.config.window, network.config.overlap)
    assert stream.placement.kind == network.config.placement
    assert Stream(network, window=2).overlap == 1
    assert Stream(network, window=1, placement="none").overlap == 0


@pytest.mark.parametrize(("options", "complaint"), [
    ({"window": 0}, "a window of 0 frames is none; at least 1"),
    ({"window": 5, "overlap": 5}, "overlap 5 must be at least 0 and less than the window, 5"),
    ({"window": 5, "overlap": 6}, "overlap 6 must be at least 0 and less than the window, 5"),
    ({"overlap": -1}, "overlap -1 must be at least 0 and less than the window, 8"),
    ({"reset_every": -1}, "reset_every -1 is negative; 0 is never"),
    ({"overlap": 0, "placement": "se3"}, "placement se3 needs frames shared between windows; overlap is 0"),
    ({"overlap": 0, "placement": "none", "reset_every": 2}, "reset_every 2 needs frames shared between windows; "),
    ({"placement": "sim4"}, "placement 'sim4' is none of auto, none, se3, sim3, "),
    ({"size": (25, 32)}, "size 25 32 is not whole patches of 8 pixels; the nearest is 24 32"),
])  # fmt: skip
def test_settings_that_cannot_be(options, complaint, network):
    with pytest.raises(InputError) as caught:
        Stream(network, **options)
    assert str(caught.value).startswith(complaint)


def test_a_frame_of_another_size_is_named(network):
    odd = Frame(np.zeros((HEIGHT, WIDTH + 8, 3), np.uint8), 6, 6.0, "odd.png")
    stream = Stream(network, window=5, overlap=2, size=(HEIGHT, WIDTH))
    placed = stream.run([*frames()[:6], odd, *frames()[7:]])
    assert next(placed).number == 0  # what came before it is not lost
    with pytest.raises(BadFrameError, match=r"\b6\b.*40×24.*32×24") as caught:
        list(placed)
    assert caught.value.index == 6


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, 255.0])
def test_values_that_are_no_colours(value, network):
    images = IMAGES.clone()
    images[2, 1, 5, 5] = value
    with pytest.raises(InputError, match=r"item 2.*\[0, 1\]"):
        run(network, images)


@pytest.mark.parametrize(("item", "complaint"), [
    (torch.rand(HEIGHT, WIDTH, 3), "item 0 is a float tensor (24, 32, 3); it must be (3, height, width)"),
    (np.zeros((HEIGHT, WIDTH, 3), np.float32), "item 0 is float32 (24, 32, 3); a frame is uint8 (height, width, 3)"),
    (np.zeros((HEIGHT, WIDTH), np.uint8), "item 0 is uint8 (24, 32); a frame is uint8 (height, width, 3)"),
    (np.zeros((HEIGHT, WIDTH, 4), np.uint8), "item 0 is uint8 (24, 32, 4); a frame is uint8 (height, width, 3)"),
    ("video.mp4", "item 0 is a str, not a frame; open files with openloger.open_frames"),
])  # fmt: skip
def test_items_that_are_no_frames(item, complaint, network):
    with pytest.raises(InputError) as caught:
        run(network, [item])
    assert str(caught.value) == complaint


@pytest.mark.parametrize("given", [(120, 160), (24, 32)])
def test_frames_have_the_networks_size(given, network):
    """Resized also where their own size would fit the patches, so that every door gives the same input."""
    grey = [np.full((*given, 3), 90, np.uint8)] * 3
    (only,) = run(network, grey, size=None)
    height, width = network_size(*given, network.config)
    assert only.frames[0].native_size == given
    assert only.points_cam.shape == (3, height, width, 3)
    assert only.frames[0].rgb.shape == (height, width, 3)
    assert np.abs(only.frames[0].rgb.astype(int) - 90).max() <= 1


def test_a_size_that_was_asked_for(network):
    (only,) = run(network, frames()[:3], size=(16, 24))
    assert only.points_cam.shape == (3, 16, 24, 3)
    assert only.frames[0].rgb.shape == (16, 24, 3)


@pytest.fixture
def asks_for_resets():
    """The pocket network, as one that is made for resets."""
    asking = open_pocket()
    asking.config = replace(asking.config, reset_every=5)
    return asking


@pytest.mark.parametrize(("source", "wanted"), [
    (Source(1000), 0),
    (Source(1001), 5),
    (Source(told=False), 5),  # a live source may go on for ever
    ([None] * 1000, 0),
    ([None] * 1001, 5),
    (iter([]), 5),
])  # fmt: skip
def test_auto_resets_only_in_long_videos(source, wanted, network, asks_for_resets):
    assert Stream(asks_for_resets, window=5, overlap=2).resets(source) == wanted
    assert Stream(network, window=5, overlap=2).resets(source) == 0  # it does not ask for any
    assert Stream(asks_for_resets, window=5, overlap=2, reset_every=0).resets(source) == 0
    assert Stream(network, window=5, overlap=2, reset_every=7).resets(source) == 7
    assert Stream(asks_for_resets, window=5, overlap=0, placement="none").resets(source) == 0  # nothing to tie them by


def test_what_auto_came_to_is_logged_once(asks_for_resets, caplog):
    stream = Stream(asks_for_resets, window=5, overlap=2)
    with caplog.at_level(logging.INFO, logger="openloger"):
        list(stream.run(Source(told=False)))
    assert caplog.messages == ["windows of 5 frames sharing 2; placement se3; fast weights reset every 5 windows"]


def test_a_short_video_is_logged_as_it_runs(asks_for_resets, caplog):
    with caplog.at_level(logging.INFO, logger="openloger"):
        list(Stream(asks_for_resets, window=5, overlap=2, placement="sim3:median_all").run(Source()))
    assert caplog.messages == ["windows of 5 frames sharing 2; placement sim3:median_all; no resets"]


def test_the_published_networks_ask_for_resets():
    assert {name: preset(name).reset_every for name in ("loger", "loger-star", "pi3", "compact")} == {
        "loger": 5,
        "loger-star": 5,
        "pi3": None,
        "compact": None,
    }


def test_a_source_is_asked_for_what_is_new(network):
    """A continued run does not decode the video's beginning again."""
    source = Source()
    stream = Stream(network, window=5, overlap=2, size=(HEIGHT, WIDTH))
    next(stream.run(source))
    assert stream.state.next_index == 6
    list(stream.run(source))
    assert source.asked == [0, 6]


def test_nothing_accumulates_in_the_stream(network):
    """A run is lazy: a window is worked out when it is asked for."""
    read = []
    placed = Stream(network, window=5, overlap=2, size=(HEIGHT, WIDTH)).run(
        read.append(frame) or frame for frame in frames()
    )
    assert read == []
    next(placed)
    assert len(read) == 6


def test_no_update_follows_the_last_window(network):
    """A window of two learns; the last has nobody to learn for."""
    learned = []
    update = network.decoder.memory.ttt[0].update
    with update.register_forward_hook(lambda *_: learned.append(1)):
        placed = run(network, frames())
    assert (len(placed), len(learned)) == (2, 1)
