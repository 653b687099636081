"""Findings from the measures of a video's windows, each in a line with the way out.

The thresholds were set on three real clips and on spoiled copies of them: `docs/diagnostics.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from openloger.diagnostics.measures import Peak, WindowMeasures
from openloger.errors import listed_numbers
from openloger.shapes import Float64
from openloger.values import Disagreement

CUT = (0.1, 4.0)  # least difference of neighbouring pictures, and how many times the usual one
CAMERA_JUMP = (0.25, 8.0)  # least motion of the camera, and how many times the usual one
LEAST_PARALLAX = 0.02
LEAST_CONFIDENCE = 0.1
LARGEST_RESIDUAL = 0.02
LARGEST_SEAM = 0.4  # of pictures twice as wide as high
LARGEST_RIM = 0.1
LARGEST_FISHEYE = 0.9
LARGEST_OFFSET = 0.15  # of a principal point from the centre, as a share of the diagonal
SAME_ASPECT = 0.1  # of the pictures that a principal point is in the middle of, and of those that came
LARGEST_FOCAL_RATIO = 1.6
LARGEST_DISAGREEMENT = (0.4, 5.0)  # of depth, and of rotation in degrees
_SHOWN = 3  # runs of frames named of a kind before "and N more"


class Finding(NamedTuple):
    """A property of the input or the result that concerns the user."""

    kind: str
    text: str  # a line


@dataclass(frozen=True)
class Lens:
    """The known facts about the camera and its pictures."""

    source_size: tuple[int, int]  # (height, width) in pixels
    size: tuple[int, int]  # (height, width) of the frames as the network saw them
    known_intrinsics: Float64[np.ndarray, "3 3"] | None = None  # in pixels of `size`
    is_spherical: bool = False  # marked so in the file
    is_view: bool = False  # the pictures are views cut from panoramas, whose camera is exact


@dataclass(frozen=True)
class _Evidence:
    windows: Sequence[WindowMeasures]
    disagreements: Sequence[Disagreement]
    lens: Lens

    def median_of(self, name: str) -> float | None:
        """Over the windows that have it."""
        values = [value for window in self.windows if (value := getattr(window, name)) is not None]
        return median(values) if values else None


def findings(
    windows: Sequence[WindowMeasures], disagreements: Sequence[Disagreement], lens: Lens
) -> tuple[Finding, ...]:
    """All findings, the input's faults first; empty where all is well, or nothing was measured."""
    if not windows:
        return ()
    evidence = _Evidence(windows, disagreements, lens)
    found = ((judge.__name__.removeprefix("_"), judge(evidence)) for judge in _JUDGES)
    return tuple(Finding(kind.replace("_", " "), text) for kind, text in found if text is not None)


def doubt_of_centre(lens: Lens) -> str | None:
    """A line where the principal point that was given does not fit the source's pictures; None where it does."""
    if lens.known_intrinsics is None:
        return None
    height, width = lens.source_size
    x, y = lens.known_intrinsics[:2, 2] * (width / lens.size[1], height / lens.size[0])
    offset = float(np.hypot(x - width / 2, y - height / 2) / np.hypot(height, width))
    if offset <= LARGEST_OFFSET:
        return None
    is_scaled = y > 0 and abs(x / y / (width / height) - 1) < SAME_ASPECT
    fits = f", as in pictures of {round(2 * x)}×{round(2 * y)} pixels" if is_scaled else ""
    given = f"the principal point given lies {100 * offset:.0f} % of the diagonal from the centre{fits}"
    return f"{given}: {_check_camera(lens)}"


def _check_camera(lens: Lens) -> str:
    return f"check that --camera is for pictures of {lens.source_size[1]}×{lens.source_size[0]} pixels"


def _blank_frames(evidence: _Evidence) -> str | None:
    blank = [frame for window in evidence.windows for frame in window.blank]
    whose = "its camera" if len(blank) == 1 else "their cameras"
    return f"{_frames(blank)} blank or black: {whose} and depth are guesses" if blank else None


def _cut(evidence: _Evidence) -> str | None:
    frames = list(_jumps((window.picture for window in evidence.windows), *CUT))
    if not frames:
        return None
    return f"cut before {_named(frames)}: reconstruct each shot by itself (--start, --stop)"


def _camera_jump(evidence: _Evidence) -> str | None:
    cuts = set(_jumps((window.picture for window in evidence.windows), *CUT))
    jumps = _jumps((window.camera for window in evidence.windows), *CAMERA_JUMP)
    frames = [frame for frame in jumps if frame not in cuts]
    if not frames:
        return None
    return f"the camera jumps before {_named(frames)}: frames are missing there, or tracking was lost"


def _no_motion(evidence: _Evidence) -> str | None:
    parallax = [window.parallax for window in evidence.windows if window.parallax is not None]
    if not parallax or max(parallax) >= LEAST_PARALLAX:
        return None
    return (
        f"the camera hardly moves (within a window by {100 * max(parallax):.1f} % of the depth), so depth cannot be "
        "observed and is the network's guess: move the camera sideways, or use more frames (--window)"
    )


def _spherical_pictures(evidence: _Evidence) -> str | None:
    height, width = evidence.lens.source_size
    seam = evidence.median_of("seam")
    seamless = abs(width / height - 2) < 0.02 and seam is not None and seam < LARGEST_SEAM
    if not evidence.lens.is_spherical and not seamless:
        return None
    return (
        "these are 360° panoramas, not pictures of a pinhole camera: cut a view from them (--camera "
        "equirect:YAW,PITCH), or several that are one rig (--camera equirect:rig)"
    )


def _bright_circle(evidence: _Evidence) -> str | None:
    rim = evidence.median_of("rim")
    if rim is None or rim > LARGEST_RIM or evidence.lens.known_intrinsics is not None:
        return None
    return (
        "only a circle in the middle of the pictures shows something, as with a fisheye lens: give that (--camera), or "
        "hide the dark corners (--mask-static)"
    )


def _fisheye_lens(evidence: _Evidence) -> str | None:
    error = evidence.median_of("fisheye")
    if error is None or error > LARGEST_FISHEYE:
        return None
    return (
        f"the pictures move as a fisheye's (with one, their matches err {error:.2f} times as much as with a pinhole), "
        "and are taken for a pinhole's, so that path and depth are bent: give the lens (--camera)"
    )


def _no_pinhole_camera(evidence: _Evidence) -> str | None:
    residual = evidence.median_of("residual")
    if residual is None or residual <= LARGEST_RESIDUAL:
        return None
    return (
        f"no pinhole camera explains the points (they miss by {100 * residual:.1f} % of the diagonal): give the "
        "lens of fisheye pictures (--camera)"
    )


def _known_lens(evidence: _Evidence) -> str | None:
    if evidence.lens.known_intrinsics is None:
        return None
    if doubt := doubt_of_centre(evidence.lens):
        return doubt
    ratio = evidence.median_of("focal_ratio")
    if ratio is None or 1 / LARGEST_FOCAL_RATIO < ratio < LARGEST_FOCAL_RATIO:
        return None
    if evidence.lens.is_view:
        return _unusual_view(evidence.lens, ratio)
    given = f"the focal length given is {1 / ratio:.2g} times what the pictures suggest"
    return f"{given}: {_check_camera(evidence.lens)}"


def _unusual_view(lens: Lens, ratio: float) -> str:
    assert lens.known_intrinsics is not None, "a view's camera is known"
    half = lens.size[1] / 2 / lens.known_intrinsics[0, 0]
    across, taken = (round(2 * float(np.degrees(np.arctan(tangent)))) for tangent in (half, half / ratio))
    return (
        f"the views are {across}° across, and the network takes them for views of {taken}°: it was not made for such, "
        "and path and depth are off; take another network (--network), or views of another field (--camera "
        "equirect:YAW,PITCH,FOV, or equirect:rig,VIEWS,FOV)"
    )


def _low_confidence(evidence: _Evidence) -> str | None:
    confidence = evidence.median_of("confidence")
    if confidence is None or confidence >= LEAST_CONFIDENCE:
        return None
    return (
        f"confidence is low ({confidence:.2f} in the median): the network was not made for such pictures, or they show "
        "too little (blur, darkness, bare walls)"
    )


def _windows_disagree(evidence: _Evidence) -> str | None:
    if not evidence.disagreements:
        return None
    depth = median(one.depth for one in evidence.disagreements)
    rotation_deg = median(one.rotation_deg for one in evidence.disagreements)
    if depth <= LARGEST_DISAGREEMENT[0] and rotation_deg <= LARGEST_DISAGREEMENT[1]:
        return None
    return (
        f"neighbouring windows disagree by {100 * depth:.0f} % of the depth and {rotation_deg:.1f}° on the frames that "
        "they share: do not measure in this reconstruction"
    )


_JUDGES: tuple[Callable[[_Evidence], str | None], ...] = (
    _blank_frames,
    _cut,
    _camera_jump,
    _no_motion,
    _spherical_pictures,
    _bright_circle,
    _fisheye_lens,
    _no_pinhole_camera,
    _known_lens,
    _low_confidence,
    _windows_disagree,
)


def _jumps(peaks: Iterator[Peak | None], least: float, times: float) -> Iterator[int]:
    for peak in peaks:
        if peak is not None and peak.value > max(least, times * peak.usual):
            yield peak.frame


def _frames(numbers: Sequence[int]) -> str:
    return f"{_named(numbers)} {'is' if len(numbers) == 1 else 'are'}"


def _named(numbers: Sequence[int]) -> str:
    return f"frame{'' if len(numbers) == 1 else 's'} {listed_numbers(numbers, most=_SHOWN)}"
