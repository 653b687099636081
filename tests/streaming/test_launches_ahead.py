"""The network one window ahead of placement, beside its serial twin: the same windows and states, to the bit."""

import threading
from dataclasses import replace

import pytest
import torch
from network.reference import open_pocket, small_images, toy_network

from openloger.network import Network
from openloger.streaming import Stream
from openloger.streaming.transfer import fetch, to_device
from openloger.streaming.windows import SizedFrame, images_of
from openloger.values import Frame

SIZE = (24, 32)
RGB = (small_images(frames=14, height=24, width=32)[0] * 255).round().byte().permute(0, 2, 3, 1).numpy()
NETWORKS = {"pocket": open_pocket, "metric": lambda: toy_network(pi3x=True)}
PARTS = ("world_from_cam", "points_cam", "confidence_logit")


def everything(network, source, *, ahead, **options):
    """All that comes out of a run, and the state between all windows."""
    size = SIZE if network.config.encoder.patch == 8 else (42, 56)
    stream = Stream(network, **({"window": 5, "overlap": 2, "size": size} | options))
    return [(placed, stream.state.to_bytes()) for placed in stream.run(source, launches_ahead=ahead)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "options",
    [
        {"placement": "none"},
        {"placement": "sim3"},
        {"placement": "none", "reset_every": 2},
        {"placement": "none", "overlap": 0},
        {"memory": "fresh", "placement": "se3"},
    ],
)
def test_the_same_as_one_after_the_other(network, options):
    network = NETWORKS[network]()
    serial, ahead = (everything(network, RGB, ahead=ahead, **options) for ahead in (False, True))
    assert len(ahead) == len(serial) >= 3
    for (one, state), (other, wanted) in zip(ahead, serial, strict=True):
        assert state == wanted
        for part in PARTS:
            assert torch.equal(getattr(one, part), getattr(other, part)), part
        for part in ("metric_scale", "disagreement", "final_count", "last", "number"):
            assert getattr(one, part) == getattr(other, part), part
        assert torch.equal(one.world_from_window.rigid.matrix(), other.world_from_window.rigid.matrix())


def test_a_window_does_not_wait_for_the_frames_of_the_next():
    """A camera's window is placed as soon as the network is done with it."""
    placed_first = threading.Event()

    def camera():
        for index, rgb in enumerate(RGB[:8]):
            if index == 6:  # a window of 5, and the frame that shows it is not the last
                assert placed_first.wait(60)
            yield Frame(rgb, index, float(index), str(index))

    stream = Stream(open_pocket(), window=5, overlap=2, size=SIZE)
    for _ in stream.run(camera(), launches_ahead=True):
        placed_first.set()
    assert placed_first.is_set()


def test_the_next_window_is_launched_before_one_is_placed(monkeypatch):
    """Placement of the first waits until the network has begun with the second: only a thread ahead gets there."""
    began, network = threading.Event(), open_pocket()
    forward, place = Network.forward, Stream._place

    def watched(self, window, memory=None, **options):
        if memory is not None and memory.keys_values:
            began.set()
        return forward(self, window, memory, **options)

    monkeypatch.setattr(Network, "forward", watched)
    monkeypatch.setattr(Stream, "_place", lambda *given: began.wait(60) and place(*given))
    assert len(everything(network, RGB[:8], ahead=True)) == 2


def test_an_error_comes_through_and_ends_the_thread():
    def broken():
        yield from (Frame(rgb, index, float(index), str(index)) for index, rgb in enumerate(RGB[:7]))
        raise ValueError("the camera is gone")

    before = threading.active_count()
    stream = Stream(open_pocket(), window=5, overlap=2, size=SIZE)
    with pytest.raises(ValueError, match="the camera is gone"):
        list(stream.run(broken(), launches_ahead=True))
    run = stream.run(RGB, launches_ahead=True)
    next(run)
    run.close()
    assert threading.active_count() == before


def test_bytes_make_the_same_picture_as_each_frame_by_itself():
    frames = [Frame(rgb, index, 0.0, "") for index, rgb in enumerate(RGB[:3])]
    together = images_of(frames)
    assert torch.equal(together, torch.stack([SizedFrame(frame).image for frame in frames]))
    assert torch.equal(together, torch.from_numpy(RGB[:3]).permute(0, 3, 1, 2) / 255)
    assert together.is_contiguous()  # a convolution's last bits depend on it
    view = torch.rand(3, *SIZE)
    assert SizedFrame(replace(frames[0]), view).image is view


def test_on_a_cpu_nothing_is_copied():
    one = torch.rand(3)
    assert to_device(one, "cpu") is one
    assert fetch({"one": one, "none": None}).wait() == {"one": one}
    assert fetch({"half": one.half()}).wait()["half"].dtype == torch.float32
