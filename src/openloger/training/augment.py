"""Augmentation of clips: mirrored, in other colours, or seen through a worse camera.

Geometry stays true: a mirrored clip is the mirrored world's, and everything else touches colours alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.training.clips import Clip

Images = Float32[np.ndarray, "frame height width 3"]  # sRGB in 0..1


def augment(clip: Clip, draw: np.random.Generator, *, faults: float = 0.0, swaps: float = 1.0) -> Clip:
    """Mirror half of the clips, recolour all, swap the channels of a part `swaps` of them, give a part `faults` a
    camera's faults."""
    clip = recolour(mirror(clip) if draw.random() < 0.5 else clip, draw, swaps=swaps)
    return camera_faults(clip, draw) if faults > 0 and draw.random() < faults else clip


def mirror(clip: Clip) -> Clip:
    """The mirror world: x ↦ −x in image, camera and world."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    intrinsics = clip.intrinsics.copy()
    intrinsics[:, 0, 2] = clip.rgb.shape[2] - intrinsics[:, 0, 2]
    images = {
        name: np.ascontiguousarray(getattr(clip, name)[:, :, ::-1])
        for name in ("rgb", "depth", "valid", "moving", "sky")
    }
    return replace(clip, **images, intrinsics=intrinsics, world_from_cam=flip @ clip.world_from_cam @ flip)


def recolour(clip: Clip, draw: np.random.Generator, *, swaps: float = 1.0) -> Clip:
    """As another camera would show it: channels swapped, gain, gamma and contrast drawn for the clip, colour taken away
    from three in ten, and a slight drift of exposure over its frames."""
    order = draw.permutation(3)
    swapped = swaps >= 1 or draw.random() < swaps
    rgb = (clip.rgb[..., order] if swapped else clip.rgb).astype(np.float32) / 255
    gain = draw.uniform(0.75, 1.25, size=3) * draw.uniform(0.95, 1.05, size=(len(rgb), 1))
    rgb = rgb ** draw.uniform(0.6, 1.6) * gain[:, None, None].astype(np.float32)
    mean = rgb.mean()
    rgb = mean + (rgb - mean) * np.float32(draw.uniform(0.7, 1.7))
    grey = min(1.0, draw.uniform(0, 2)) if draw.random() < 0.3 else 0.0  # half of these have no colour left
    return _with_rgb(clip, rgb + np.float32(grey) * (rgb.mean(axis=-1, keepdims=True) - rgb))


def camera_faults(clip: Clip, draw: np.random.Generator) -> Clip:
    """The degradations of a phone camera, in the order in which they occur: motion blur, a lens darker at its rim,
    exposure and white balance that wander, noise, and compression; each of a strength of its own."""
    rgb = clip.rgb.astype(np.float32) / 255
    blurred = np.stack([motion_blur(image, draw.normal(0, 0.8, size=2)) for image in rgb])
    exposed = vignette(blurred, draw.uniform(0, 0.35)) * _wandering(len(rgb), draw)
    noisy = exposed + draw.normal(0, draw.uniform(0, 0.03), size=rgb.shape).astype(np.float32)
    quality = draw.integers(30, 95, size=len(rgb))
    return _with_rgb(clip, np.stack([compress(image, int(q)) for image, q in zip(noisy, quality, strict=True)]))


def motion_blur(
    image: Float32[np.ndarray, "height width 3"], across: Float64[np.ndarray, "2"]
) -> Float32[np.ndarray, "height width 3"]:
    """The mean over five moments while the image shifts by `across` pixels (x, y), bilinearly; rims are repeated."""
    parts = np.linspace(-0.5, 0.5, 5)
    moments = np.stack([_shifted(_shifted(image, 1, across[0] * part), 0, across[1] * part) for part in parts])
    return np.asarray(moments.mean(axis=0), dtype=np.float32)


def vignette(images: Images, strength: float) -> Images:
    """Corners darker by the part `strength`, by the square of the distance from the middle."""
    height, width = images.shape[1:3]
    y, x = np.mgrid[0:height, 0:width]
    radius = ((2 * y + 1 - height) / height) ** 2 + ((2 * x + 1 - width) / width) ** 2
    return images * (1 - strength * radius / 2).astype(np.float32)[..., None]


def compress(image: Float32[np.ndarray, "height width 3"], quality: int) -> Float32[np.ndarray, "height width 3"]:
    """JPEG compression of an image: cosine coefficients of 8×8 blocks, rounded to steps that grow with frequency.

    ITU-T T.81, with one ramp of steps in place of its example tables: 100 rounds to a 255th, 30 to about a tenth.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // 8, padded.shape[1] // 8
    blocks = padded.reshape(rows, 8, columns, 8, 3).transpose(0, 2, 4, 1, 3)
    cosines, steps = _cosines(), _steps(quality)
    kept = np.round(cosines @ blocks @ cosines.T / steps) * steps
    back = (cosines.T @ kept @ cosines).transpose(0, 3, 1, 4, 2).reshape(padded.shape)
    return back[:height, :width].astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Float32[np.ndarray, "8 8"]:
    """The orthonormal cosine transform of eight samples."""
    frequency, sample = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * sample + 1) * frequency * np.pi / 16) * np.where(frequency == 0, np.sqrt(1 / 8), 0.5)
    return basis.astype(np.float32)


def _steps(quality: int) -> Float32[np.ndarray, "8 8"]:
    frequency = np.add.outer(np.arange(8), np.arange(8))
    coarseness = (50 / quality if quality < 50 else 2 - quality / 50) / 255
    return np.maximum(coarseness * (14 + 7 * frequency), 1 / 255).astype(np.float32)


def _wandering(frames: int, draw: np.random.Generator) -> Float32[np.ndarray, "frame 1 1 3"]:
    """Exposure and white balance that walk from frame to frame."""
    exposure = np.cumsum(draw.normal(0, 0.04, size=(frames, 1)), axis=0)
    balance = np.cumsum(draw.normal(0, 0.01, size=(frames, 3)), axis=0)
    return np.exp(exposure + balance).astype(np.float32)[:, None, None]


def _shifted(image: np.ndarray, axis: int, by: float) -> np.ndarray:
    length = image.shape[axis]
    at = np.clip(np.arange(length) - by, 0, length - 1)
    low = np.floor(at).astype(int)
    part = np.expand_dims((at - low).astype(np.float32), tuple(k for k in range(3) if k != axis))
    return image.take(low, axis) * (1 - part) + image.take(np.minimum(low + 1, length - 1), axis) * part


def _with_rgb(clip: Clip, rgb: Images) -> Clip:
    return replace(clip, rgb=(np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))
