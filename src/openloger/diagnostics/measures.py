"""Measures of each window: its pictures, its cameras, its lens and its confidence.

A few numbers a window, so it takes no memory that grows, and a run that is continued has those of its first part.
Pictures are compared as thumbnails of their brightness, each without its mean, so that a change of exposure is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from openloger.geometry import fit_intrinsics, rotation_angle
from openloger.shapes import Float32, Float64, Tensor
from openloger.values import Frame, PlacedWindow

THUMBNAIL = (24, 32)  # height, width
LEAST_CONTRAST = 0.02  # standard deviation of a thumbnail, as a share of white, below which a picture may be blank:
LEAST_TEXTURE = 0.007  # where that of means of 2×2 pixels is small, too, as of noise but not of sand seen from near
BLACK = 0.06  # or where the brightest pixel of its thumbnail is darker, as a share of white
_RIM = 1.15  # radii of the largest circle, from where a thumbnail's areas lie outside it
_RING = (0.7, 0.95)  # the part inside that they are compared with
PIXEL_STRIDE = 8  # of depth and confidence, for their medians


@dataclass(frozen=True)
class Peak:
    """The largest of some values of neighbouring frames."""

    value: float
    frame: int  # the source's number of the later of the two frames
    usual: float  # the median of the others


@dataclass(frozen=True)
class WindowMeasures:
    """Of the frames that a window wrote and the one after them. None: it cannot be measured of this window."""

    blank: tuple[int, ...]  # the source's numbers of the frames that show nothing
    picture: Peak | None  # mean difference of neighbouring thumbnails, as a share of white
    camera: Peak | None  # from camera to camera: the angle in radians plus the distance as a share of the depth
    parallax: float | None  # how far cameras are from the window's first, at most, as a share of the depth
    confidence: float | None  # median over pixels
    residual: float | None  # of the fitted camera, as a share of the picture's diagonal; median over frames
    seam: float | None  # difference of the outermost columns, as a share of that of the left one and the middle one
    rim: float | None  # brightest part outside the largest circle, as a share of the darkest inside; median over frames
    fisheye: float | None  # the error of its matches under a fisheye, by that under a pinhole
    focal_ratio: float | None  # the focal length as predicted, or fitted to predicted points, by the known one


def measure(placed: PlacedWindow) -> WindowMeasures:
    """Measure a window, of a rig its first view. What a blank frame is part of is no change and no motion."""
    placed = placed.first_view
    count = placed.final_count
    frames = placed.frames[: count + 1]
    indices = [frame.index for frame in frames]
    thumbnails = brightness_thumbnails(frames)
    is_blank = torch.tensor([_is_blank(*pair) for pair in zip(frames, thumbnails, strict=True)])
    hidden = is_blank[1:] | is_blank[:-1]
    depths = placed.depth.detach()[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE].contiguous()
    shown = depths != 0  # masks hide the others
    depth = depths[shown].median().item() if bool(shown.any()) else 0.0
    cameras = placed.world_from_cam.detach().cpu()
    motions = _motions(cameras[: len(frames)], depth) if depth > 0 else cameras.new_zeros(0)
    confidence = placed.confidence_logit.detach()[:count, ::PIXEL_STRIDE, ::PIXEL_STRIDE].contiguous().sigmoid()
    return WindowMeasures(
        blank=tuple(index for index, blank in zip(indices[:count], is_blank.tolist(), strict=False) if blank),
        picture=_peak(_changes(thumbnails).masked_fill(hidden, 0.0), indices),
        camera=_peak(motions.masked_fill(hidden, 0.0), indices) if len(motions) else None,
        parallax=_parallax(cameras, depth) if depth > 0 and len(cameras) > 1 else None,
        confidence=confidence[shown[:count]].median().item() if bool(shown[:count].any()) else None,
        residual=_residual(placed),
        seam=_seam(frames),
        rim=_rim(thumbnails[~is_blank], aspect=frames[0].rgb.shape[1] / frames[0].rgb.shape[0]),
        fisheye=placed.fisheye_error,
        focal_ratio=None if is_blank.float().mean() > 0.5 else _focal_ratio(placed),
    )


def measures_from_json(value: dict[str, Any]) -> WindowMeasures:
    """The inverse of `dataclasses.asdict`; recordings once had no `rim` and no `fisheye`."""
    arguments: dict[str, Any] = {"rim": None, "fisheye": None} | value | {"blank": tuple(value["blank"])}
    for name in ("picture", "camera"):
        arguments[name] = None if value[name] is None else Peak(**value[name])
    return WindowMeasures(**arguments)


def _is_blank(frame: Frame, thumbnail: Float32[Tensor, "row column"]) -> bool:
    """Whether a picture shows nothing that could be followed, beside noise."""
    if thumbnail.std() >= LEAST_CONTRAST:
        return False
    texture = F.avg_pool2d(_brightness(frame)[None], 2)[0].std()
    return bool(texture < LEAST_TEXTURE) or bool(thumbnail.max() < BLACK)


def brightness_thumbnails(frames: Sequence[Frame]) -> Float32[Tensor, "frame row column"]:
    """Means of the brightness over areas that cover each picture, as `adaptive_avg_pool2d` of torch has them.

    Sums of lines, which are integers, and then a product of matrices take a tenth of its time.
    """
    (height, width), (rows, columns) = frames[0].rgb.shape[:2], THUMBNAIL
    lines = _parts(height, rows)
    level = np.uint16 if 255 * (height // rows + 2) < 1 << 16 else np.uint32
    sums = np.empty((len(frames), rows, width, 3), level)
    for frame, of_frame in zip(frames, sums, strict=True):
        for part, of_part in zip(lines, of_frame, strict=True):
            np.add.reduce(frame.rgb[part], axis=0, dtype=level, out=of_part)
    counts = torch.tensor([part.stop - part.start for part in lines])[:, None]
    channels = torch.from_numpy(sums.reshape(len(frames), rows, -1).astype(np.float32))
    return channels @ _areas(width, columns).repeat_interleave(3, 1).T / (3 * 255 * counts)


def _parts(size: int, parts: int) -> list[slice]:
    """Those of a line of `size` pixels; they overlap where they do not divide it."""
    return [slice(part * size // parts, -(-(part + 1) * size // parts)) for part in range(parts)]


@lru_cache(maxsize=8)
def _areas(size: int, parts: int) -> Float32[Tensor, "part size"]:
    """By which a line of `size` pixels is multiplied for the means of its `parts`."""
    areas = torch.zeros(parts, size)
    for row, part in zip(areas, _parts(size, parts), strict=True):
        row[part] = 1 / (part.stop - part.start)
    return areas


def _brightness(frame: Frame) -> Float32[Tensor, "height width"]:
    """As a share of white."""
    red, green, blue = (frame.rgb[..., channel] for channel in range(3))
    total = np.add(red, green, dtype=np.uint16)  # numpy's mean over an axis of three takes ten times as long
    total += blue
    return torch.from_numpy(total * np.float32(1 / (3 * 255)))


def _changes(thumbnails: Float32[Tensor, "frame row column"]) -> Float32[Tensor, " pair"]:
    level = thumbnails - thumbnails.mean(dim=(1, 2), keepdim=True)
    return (level[1:] - level[:-1]).abs().mean(dim=(1, 2))


def _motions(world_from_cam: Float64[Tensor, "frame 4 4"], depth: float) -> Float64[Tensor, " pair"]:
    angle = rotation_angle(world_from_cam[:-1, :3, :3].mT @ world_from_cam[1:, :3, :3])
    return angle + (world_from_cam[1:, :3, 3] - world_from_cam[:-1, :3, 3]).norm(dim=-1) / depth


def _peak(values: Tensor, indices: Sequence[int]) -> Peak | None:
    """None where there are fewer than three: nothing is usual then."""
    if len(values) < 3:
        return None
    place = int(values.argmax())
    others = torch.cat([values[:place], values[place + 1 :]])
    return Peak(values[place].item(), indices[place + 1], others.median().item())


def _parallax(world_from_cam: Float64[Tensor, "frame 4 4"], depth: float) -> float:
    return (world_from_cam[:, :3, 3] - world_from_cam[0, :3, 3]).norm(dim=-1).max().item() / depth


def _residual(placed: PlacedWindow) -> float | None:
    if placed.known_intrinsics is not None:
        return None
    diagonal = sum(side**2 for side in placed.depth.shape[1:]) ** 0.5
    residual = placed.residual_px.detach()[: placed.final_count]
    finite = residual[residual.isfinite()]
    return finite.median().item() / diagonal if len(finite) else None


def _seam(frames: Sequence[Frame]) -> float | None:
    """By single columns of pixels: in a panorama those at the edges are neighbours, those of a thumbnail 11° apart."""
    height, width = frames[0].rgb.shape[:2]
    outermost = np.stack([frame.rgb[:, [0, width // 2, -1]] for frame in frames]).mean(-1, dtype=np.float32)
    left, middle, right = (_areas(height, THUMBNAIL[0]) @ torch.from_numpy(outermost)).unbind(-1)
    across = (left - middle).abs().mean().item()
    return (left - right).abs().mean().item() / across if across > 0 else None


def _rim(thumbnails: Float32[Tensor, "frame row column"], *, aspect: float) -> float | None:
    """Near 0 for pictures of a circular fisheye; None where a side of the circle is black, as of pictures with bars."""
    rows, columns = THUMBNAIL
    y = ((torch.arange(rows) + 0.5) / rows - 0.5)[:, None].expand(THUMBNAIL)
    x = (((torch.arange(columns) + 0.5) / columns - 0.5) * aspect).expand(THUMBNAIL)
    half = min(0.5, 0.5 * aspect)
    radius = torch.hypot(y, x) / half
    ring = (radius > _RING[0]) & (radius < _RING[1])
    sides = (ring & (way > _RING[0] * half) for way in (x, -x, y, -y))
    darkest = torch.stack([thumbnails[:, side].mean(dim=1) for side in sides]).amin(dim=0)
    lit = darkest > BLACK
    return (thumbnails[lit][:, radius > _RIM].amax(dim=1) / darkest[lit]).median().item() if bool(lit.any()) else None


def _focal_ratio(placed: PlacedWindow) -> float | None:
    if placed.known_intrinsics is None:
        return None
    if placed.predicted_focal_px is not None:  # the points lie on the rays of the known camera, which they repeat
        return placed.predicted_focal_px / placed.known_intrinsics[[0, 1], [0, 1]].mean().item()
    points, confidence = placed.points_cam[:1].detach(), placed.confidence[:1].detach()
    fit = fit_intrinsics(points, confidence, pixel_aspect=placed.frames[0].pixel_aspect)
    if not fit.residual_px.isfinite().all():
        return None
    return (fit.intrinsics[0, 0, 0] / placed.known_intrinsics[0, 0]).item()
