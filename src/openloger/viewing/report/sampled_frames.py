"""A few frames of a recording, each beside its depth and confidence, as HTML."""

from __future__ import annotations

import html

import numpy as np

from openloger.pages import image_uri, row, section
from openloger.recording import RecordedFrame, Recording
from openloger.viewing.scene.display import GLOW, SPECTRUM, mask_picture, ramp, spread

FRAMES = 6
_WIDEST = 400  # pixels; wider pictures are made smaller
_SMALL = 200  # pixels, below which pixels are to be seen as such
_QUALITY = 82


def sampled_frames(recording: Recording) -> str:
    """An even choice of frames; depth and confidence have one scale for all of them."""
    numbers = np.unique(np.linspace(0, len(recording) - 1, min(FRAMES, len(recording))).round().astype(int))
    frames = [recording.frame(number) for number in numbers.tolist()]
    nearness = np.concatenate([_nearness(frame)[::2, ::2].ravel() for frame in frames])
    confidence = np.concatenate([frame.confidence[::2, ::2][frame.mask[::2, ::2]] for frame in frames])
    far, near = _ends(nearness)
    least, most = _ends(confidence)
    began_s = frames[0].timestamp_s
    cards = [
        _card(
            frame,
            seconds=frame.timestamp_s - began_s,
            nearness=(far, near),
            confidence=(least, most),
            masked=recording.meta.masks is not None,
        )
        for frame in frames
    ]
    small = " small" if recording.meta.width <= _SMALL else ""
    legend = row(
        [
            gradient(f"depth {_inverse(near)}", tuple(reversed(GLOW)), _inverse(far)),
            gradient(f"confidence {least:.2f}", SPECTRUM, f"{most:.2f}"),
        ],
        "plots bare",
    )
    note = "Each frame, its depth and its confidence; depth is coloured evenly in 1 / depth."
    note += "" if recording.meta.masks is None else " What masks hide is red in the picture, and gives no points."
    return section("Frames", [row(cards, f"cards{small}"), legend], note=note)


def gradient(low: str, colours: tuple[tuple[int, int, int], ...], high: str) -> str:
    """A bar of colours between two words."""
    stops = ",".join(f"rgb{colour}" for colour in colours)
    bar = f'<i style="background:linear-gradient(to right,{stops})"></i>'
    return f'<div class="scale"><span>{html.escape(low)}</span>{bar}<span>{html.escape(high)}</span></div>'


def _card(
    frame: RecordedFrame,
    *,
    seconds: float,
    nearness: tuple[float, float],
    confidence: tuple[float, float],
    masked: bool,
) -> str:
    pictures = {
        "picture": mask_picture(frame.rgb, frame.mask) if masked else frame.rgb,
        "depth": ramp(spread(_nearness(frame), *nearness), GLOW),
        "confidence": ramp(spread(frame.confidence.astype(np.float64), *confidence), SPECTRUM),
    }
    images = "".join(
        f'<img alt="frame {frame.number}, {name}" src="{_shrunk_uri(pixels)}">' for name, pixels in pictures.items()
    )
    depth = frame.depth[np.isfinite(frame.depth) & (frame.depth > 0)]
    median = f"{np.median(depth):.3g}" if len(depth) else "none"
    words = f"frame {frame.number} · {seconds:.1f} s · depth {median} · confidence {frame.mean_confidence:.2f}"
    return f"<figure><div>{images}</div><figcaption>{html.escape(words)}</figcaption></figure>"


def _nearness(frame: RecordedFrame) -> np.ndarray:
    known = np.isfinite(frame.depth) & (frame.depth > 0)
    return np.where(known, 1 / np.where(known, frame.depth, 1), np.nan).astype(np.float64)


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Nearly the least and the greatest; 0 and 1 where there is none."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [2, 98]).tolist() if len(known) else (0.0, 1.0)
    return low, high


def _inverse(nearness: float) -> str:
    return f"{1 / nearness:.3g}" if nearness > 0 else "∞"


def _shrunk_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    height, width = pixels.shape[:2]
    if width <= _SMALL:
        return image_uri(pixels)
    if width > _WIDEST:
        image = Image.fromarray(pixels).resize((_WIDEST, round(height * _WIDEST / width)), Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
    return image_uri(pixels, quality=_QUALITY)
