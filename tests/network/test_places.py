"""Descriptors of places: the same by way of the memory as by themselves, and kept in a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from network.reference import small_images
from openloger.network import load_network
from openloger.network.places import MOST_NUMBERS, in_bytes, pooled_places
from openloger.recording import RecordingMeta, create_recording, open_recording
from openloger.streaming import Stream
from openloger.values import Frame

SIZE = (64, 80)


@pytest.mark.parametrize("name", ["pocket", "compact"])
def test_a_window_has_the_descriptor_of_its_first_frame_and_it_is_kept(name: str, tmp_path: Path) -> None:
    network = load_network(name, device="cpu", dtype="float32")
    images = small_images(frames=9, height=SIZE[0], width=SIZE[1])[0]
    arrays = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    frames = [Frame(rgb, index, float(index), str(index)) for index, rgb in enumerate(arrays)]
    placed = list(Stream(network, window=5, overlap=2, size=SIZE, keyframes="all").run(frames))
    alone = network.place_descriptors(torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255)
    assert [window.place is None for window in placed] == [True, False, False]
    for window in placed[1:]:
        assert window.place is not None
        torch.testing.assert_close(window.place, alone[window.frames[0].index], rtol=0, atol=1)  # by one of rounding
    meta = RecordingMeta(
        height=SIZE[0], width=SIZE[1], source="clip", network=name, weights_hash=None, settings={"window": 5}
    )
    with create_recording(tmp_path / "clip", meta) as writer:
        for window in placed:
            writer.append(window)
    kept = [window.place_descriptor for window in open_recording(tmp_path / "clip").windows]
    assert kept[0] is None
    for window, numbers in zip(placed[1:], kept[1:], strict=True):
        assert window.place is not None
        assert numbers is not None
        np.testing.assert_array_equal(numbers, window.place.numpy())


def test_left_and_right_are_told_apart_and_many_numbers_are_folded() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, 4 * 6, 1000, generator=generator)
    mirrored = tokens.unflatten(1, (4, 6)).flip(2).flatten(1, 2)
    one, other = (pooled_places((maps,), size=(4, 6)) for maps in (tokens, mirrored))
    assert one.shape == (3, MOST_NUMBERS)
    assert torch.nn.functional.cosine_similarity(one, other).max() < 0.9
    torch.testing.assert_close(pooled_places((tokens[:1],), size=(4, 6)), one[:1])
    assert in_bytes(one).abs().amax(-1).tolist() == [127.0] * 3
    whole = torch.stack([tokens.mean((1, 2)), tokens.std((1, 2))], -1)
    small = pooled_places((whole[:, None].expand(3, 24, 2),), size=(4, 6))
    torch.testing.assert_close(small, whole.repeat_interleave(3, -1))
