"""Camera models with distortion: the pixel that a ray falls on.

A ray (X, Y, Z) in camera axes has x = X / Z, y = Y / Z, r² = x² + y². It falls on (fx x' + cx, fy y' + cy), where

    pinhole         x' = x,  y' = y
    opencv          x' = x s + 2 p1 x y + p2 (r² + 2 x²),  y' = y s + p1 (r² + 2 y²) + 2 p2 x y,
                    s = (1 + k1 r² + k2 r⁴ + k3 r⁶) / (1 + k4 r² + k5 r⁴ + k6 r⁶)
    opencv_fisheye  x' = x θd / r,  y' = y θd / r,  θd = θ + k1 θ³ + k2 θ⁵ + k3 θ⁷ + k4 θ⁹,  θ the angle off the axis
    equirect        column (λ / 2π + ½) width, row (½ − φ / π) height,  λ the longitude, φ the latitude upward

as in OpenCV (https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html and its `fisheye` group) and COLMAP. Pixel centres
are at + 0.5, as in COLMAP and in all of this package; OpenCV's are at whole numbers, so that its cx and cy are less by
½.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from openloger.errors import InputError
from openloger.shapes import Float, Tensor

CameraName = Literal["pinhole", "opencv", "opencv_fisheye", "equirect"]
VIEW_FOV_DEG = 90.0  # across a view that is cut from a panorama
_PINHOLE = ("fx", "fy", "cx", "cy")
_OPENCV = (*_PINHOLE, "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
PARAMETERS: dict[str, tuple[tuple[str, ...], ...]] = {  # of each model; those left out are 0
    "pinhole": (_PINHOLE,),
    "opencv": (_OPENCV[:8], _OPENCV[:9], _OPENCV),
    "opencv_fisheye": ((*_PINHOLE, "k1", "k2", "k3", "k4"),),
    "equirect": ((), ("yaw", "pitch"), ("yaw", "pitch", "fov")),  # degrees: the view that is cut from the panorama
}
_STEEPEST = 20.0  # r of the steepest ray that is searched for a picture in front of a camera: 87°
_LIMIT_SAMPLES = 4096


@dataclass(frozen=True)
class CameraModel:
    """A camera by name and parameters, in pixels of its pictures. Raises InputError for what is none."""

    name: CameraName
    params: tuple[float, ...] = ()
    size: tuple[int, int] | None = None  # (height, width) of the pictures that the parameters are for; None: not known

    def __post_init__(self) -> None:
        if len(self.params) not in map(len, PARAMETERS[self.name]):
            forms = " or ".join(f"{self.name}:{','.join(names)}".rstrip(":") for names in PARAMETERS[self.name])
            raise InputError(f"camera {self.text} has {len(self.params)} values; give {forms}")
        if not all(map(math.isfinite, self.params)):
            raise InputError(f"camera {self.text} has a value that is not finite")
        if self.name != "equirect" and min(self.params[:2]) <= 0:
            raise InputError(f"camera {self.text}: focal lengths must be positive")
        if self.name == "equirect" and not (abs(self.view_deg[1]) <= 90 and 10 <= self.view_deg[2] <= 150):
            raise InputError(f"camera {self.text}: pitch is from -90 to 90 degrees, fov from 10 to 150")

    @property
    def text(self) -> str:
        """As `frames.lenses.read_camera` takes it, with every digit."""
        return f"{self.name}:{','.join(map(repr, self.params))}".removesuffix(":")

    @property
    def is_pinhole(self) -> bool:
        """Whether straight lines are straight in its pictures."""
        return self.name == "pinhole" or (self.name == "opencv" and not any(self.params[4:]))

    @property
    def view_deg(self) -> tuple[float, float, float]:
        """Yaw (to the right), pitch (upward) and field of view across, of the view of an equirect camera."""
        yaw, pitch, fov = (*self.params, *(0.0, 0.0, VIEW_FOV_DEG)[len(self.params) :])
        return yaw, pitch, fov

    def project(self, rays_cam: Float[Tensor, "*axes 3"], *, size: tuple[int, int]) -> Float[Tensor, "*axes 2"]:
        """The pixel (x, y) of a picture of (height, width) that each ray, of any length, falls on.

        nan where the camera sees nothing: behind all but fisheye and equirect cameras, and past the radius from which
        a distortion would fold the picture back.
        """
        if self.name == "equirect":
            return _on_panorama(rays_cam, size)
        coefficients = self.params[4:]
        distort = _fisheye if self.name == "opencv_fisheye" else _opencv
        distorted = distort(rays_cam, coefficients)
        return distorted * distorted.new_tensor(self.params[:2]) + distorted.new_tensor(self.params[2:4])


def _opencv(rays_cam: Tensor, coefficients: Sequence[float]) -> Tensor:
    xy = torch.where(rays_cam[..., 2:] > 0, rays_cam[..., :2] / rays_cam[..., 2:], torch.nan)
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, *(0.0,) * (8 - len(coefficients)))

    def radial(r2: Tensor) -> Tensor:
        return (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))

    r2 = xy.square().sum(-1, keepdim=True)
    across = 2 * xy.prod(-1, keepdim=True)
    tangential = across * xy.new_tensor([p1, p2]) + xy.new_tensor([p2, p1]) * (r2 + 2 * xy.square())
    limit = _limit(lambda r: r * radial(r * r), end=_STEEPEST)
    return torch.where(r2 <= limit**2, xy * radial(r2) + tangential, torch.nan)


def _fisheye(rays_cam: Tensor, coefficients: Sequence[float]) -> Tensor:
    off_axis = torch.linalg.vector_norm(rays_cam[..., :2], dim=-1, keepdim=True)
    theta = torch.atan2(off_axis, rays_cam[..., 2:])
    k1, k2, k3, k4 = coefficients

    def distorted(angle: Tensor) -> Tensor:
        a2 = angle * angle
        return angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))

    direction = torch.where(off_axis > 0, rays_cam[..., :2] / off_axis, 0.0)
    return torch.where(theta <= _limit(distorted, end=math.pi), direction * distorted(theta), torch.nan)


def _limit(distorted: Callable[[Tensor], Tensor], *, end: float) -> float:
    """Up to where a radial function grows, of [0, `end`]."""
    radius = torch.linspace(0, end, _LIMIT_SAMPLES, dtype=torch.float64)
    falls = ~(distorted(radius).diff() > 0)
    return float(radius[int(falls.int().argmax())]) if bool(falls.any()) else end


def _on_panorama(rays_cam: Tensor, size: tuple[int, int]) -> Tensor:
    longitude = torch.atan2(rays_cam[..., 0], rays_cam[..., 2])
    latitude = torch.atan2(-rays_cam[..., 1], torch.linalg.vector_norm(rays_cam[..., [0, 2]], dim=-1))
    x, y = (longitude / (2 * math.pi) + 0.5) * size[1], (0.5 - latitude / math.pi) * size[0]
    return torch.stack([x, y], -1)
