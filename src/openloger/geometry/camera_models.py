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
_BISECTIONS = 60  # to the last bits of float64
_TANGENTIAL_STEPS = 12


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

    def unproject(self, pixels_xy: Float[Tensor, "*axes 2"], *, size: tuple[int, int]) -> Float[Tensor, "*axes 3"]:
        """The unit ray that falls on each pixel (x, y) of a picture of (height, width): the inverse of `project`.

        Where no ray falls on a pixel, the outermost one in its direction.
        """
        if self.name == "equirect":
            return _from_panorama(pixels_xy, size)
        plane = (pixels_xy - pixels_xy.new_tensor(self.params[2:4])) / pixels_xy.new_tensor(self.params[:2])
        straighten = _fisheye_inverse if self.name == "opencv_fisheye" else _opencv_inverse
        return torch.nn.functional.normalize(straighten(plane, self.params[4:]), dim=-1)


def _opencv(rays_cam: Tensor, coefficients: Sequence[float]) -> Tensor:
    xy = torch.where(rays_cam[..., 2:] > 0, rays_cam[..., :2] / rays_cam[..., 2:], torch.nan)
    r2 = xy.square().sum(-1, keepdim=True)
    distorted = xy * _radial(r2, coefficients) + _tangential(xy, coefficients)
    return torch.where(r2 <= _limit(_opencv_radius(coefficients), end=_STEEPEST) ** 2, distorted, torch.nan)


def _opencv_inverse(xy: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Rays of places on the image plane: the radial part is inverted, the small tangential one by iteration."""
    steps = _TANGENTIAL_STEPS if any(coefficients[2:4]) else 1
    plane = torch.zeros_like(xy)
    for _ in range(steps):
        radial = xy - _tangential(plane, coefficients)
        plane = _along(radial, _inverse(_opencv_radius(coefficients), _length(radial), end=_STEEPEST))
    return torch.cat([plane, torch.ones_like(plane[..., :1])], -1)


def _opencv_radius(coefficients: Sequence[float]) -> Callable[[Tensor], Tensor]:
    return lambda r: r * _radial(r * r, coefficients)


def _radial(r2: Tensor, coefficients: Sequence[float]) -> Tensor:
    k1, k2, _, _, k3, k4, k5, k6 = (*coefficients, *(0.0,) * (8 - len(coefficients)))
    return (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))


def _tangential(xy: Tensor, coefficients: Sequence[float]) -> Tensor:
    p1, p2 = (*coefficients, *(0.0,) * 4)[2:4]
    r2 = xy.square().sum(-1, keepdim=True)
    across = 2 * xy.prod(-1, keepdim=True)
    return across * xy.new_tensor([p1, p2]) + xy.new_tensor([p2, p1]) * (r2 + 2 * xy.square())


def _fisheye(rays_cam: Tensor, coefficients: Sequence[float]) -> Tensor:
    theta = torch.atan2(_length(rays_cam[..., :2]), rays_cam[..., 2:])
    distorted = _fisheye_radius(coefficients)
    return torch.where(theta <= _limit(distorted, end=math.pi), _along(rays_cam[..., :2], distorted(theta)), torch.nan)


def _fisheye_inverse(xy: Tensor, coefficients: Sequence[float]) -> Tensor:
    theta = _inverse(_fisheye_radius(coefficients), _length(xy), end=math.pi)
    return torch.cat([_along(xy, theta.sin()), theta.cos()], -1)


def _fisheye_radius(coefficients: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """The distance from the principal point, in focal lengths, of an angle off the axis."""
    k1, k2, k3, k4 = coefficients

    def distorted(angle: Tensor) -> Tensor:
        a2 = angle * angle
        return angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))

    return distorted


def _length(xy: Tensor) -> Tensor:
    return torch.linalg.vector_norm(xy, dim=-1, keepdim=True)


def _along(xy: Tensor, length: Tensor) -> Tensor:
    """`xy` at another length."""
    own = _length(xy)
    return torch.where(own > 0, xy / own, 0.0) * length


def _inverse(distorted: Callable[[Tensor], Tensor], wanted: Tensor, *, end: float) -> Tensor:
    """The radius of each distorted radius, by bisection; the limit for what lies beyond."""
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, _limit(distorted, end=end))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        short = distorted(middle) < wanted
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return high


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


def _from_panorama(pixels_xy: Tensor, size: tuple[int, int]) -> Tensor:
    longitude = (pixels_xy[..., 0] / size[1] - 0.5) * (2 * math.pi)
    latitude = (0.5 - pixels_xy[..., 1] / size[0]) * math.pi
    x, y, z = longitude.sin() * latitude.cos(), -latitude.sin(), longitude.cos() * latitude.cos()
    return torch.stack([x, y, z], -1)
