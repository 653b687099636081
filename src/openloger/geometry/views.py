"""The undistorted view of a camera: a pinhole camera with the same centre, all of whose pixels the picture covers.

A distorted picture of (height, width) gives a view of the same size that looks along the optical axis, with square
pixels and its principal point in the middle. Its focal length is the shortest with which every pixel's ray falls
inside the picture (the view has no blank border), and of which the longer side sees at most `WIDEST_DEG`. A panorama
gives the view of the direction that its camera names, as fine as the panorama in the middle. A pinhole camera is its
own view. Several views of one panorama are a rig: they have one centre, and their directions are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from openloger.errors import InputError
from openloger.geometry.camera_models import VIEW_FOV_DEG, CameraModel
from openloger.geometry.cameras import (
    centred_intrinsics,
    intrinsics_matrix,
    pixel_grid,
    scale_intrinsics,
    unproject,
)
from openloger.geometry.rotations import rotation_from_axis_angle
from openloger.shapes import Float64, Tensor

WIDEST_DEG = 100.0  # wider perspective pictures stretch their corners beyond use
NARROWEST_DEG = 2.0
PANORAMA_VIEW = (3, 4)  # height : width of a view cut from a panorama
RIG_VIEWS = 5  # of a rig that is not described further
MOST_VIEWS = 12
_SHARED_DEG = 18.0  # that neighbours of a ring see both, where their field is not given
_STEPS = 40

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class CameraRig:
    """Views that are cut from each picture of a 360° video: pinhole cameras that share their centre and their size.

    Raises InputError where they are fewer than two or more than `MOST_VIEWS`, differ in their field, or look in the
    same direction.
    """

    views: tuple[CameraModel, ...]  # equirect

    def __post_init__(self) -> None:
        fields = sorted({view.view_deg[2] for view in self.views})
        if not 2 <= len(self.views) <= MOST_VIEWS:
            raise InputError(f"a rig of {len(self.views)} views: give 2 to {MOST_VIEWS}")
        if any(view.name != "equirect" for view in self.views):
            raise InputError("a rig's views are cut from panoramas: give equirect cameras")
        if len(fields) > 1:
            raise InputError(
                f"camera {self.text}: views of one rig have one field, not {fields[0]:g} and {fields[1]:g}"
            )
        axes = self.rig_from_view[:, :, 2]
        if bool(((axes @ axes.mT).triu(1) > math.cos(math.radians(1))).any()):
            raise InputError(f"camera {self.text}: two views look in the same direction; leave one out")

    @staticmethod
    def ring(count: int = RIG_VIEWS, fov_deg: float | None = None) -> CameraRig:
        """`count` level views, evenly around from straight ahead to the right.

        `fov_deg` is across each; by default 90, or what lets neighbours share 18°.
        """
        if not 3 <= count <= MOST_VIEWS:
            raise InputError(f"a ring of {count} views: give 3 to {MOST_VIEWS}, or one direction (equirect:YAW,PITCH)")
        fov_deg = max(VIEW_FOV_DEG, 360 / count + _SHARED_DEG) if fov_deg is None else fov_deg
        return CameraRig(tuple(CameraModel("equirect", (360 * n / count, 0.0, fov_deg)) for n in range(count)))

    def __len__(self) -> int:
        return len(self.views)

    @property
    def text(self) -> str:
        """As `frames.lenses.read_camera` takes it, with every digit."""
        return "equirect:" + "/".join(",".join(map(repr, view.view_deg)) for view in self.views)

    @property
    def is_pinhole(self) -> bool:
        """No: its views are cut."""
        return False

    @property
    def rig_from_view(self) -> Float64[Tensor, "view 3 3"]:
        """The rotation of each view; the rig has the panorama's axes, z to its middle."""
        return torch.stack([_picture_from_view(view) for view in self.views])


def view_size(camera: CameraModel, size: Size) -> Size:
    """(height, width) of the view of pictures of (height, width)."""
    if camera.name != "equirect":
        return size
    width = size[1] / math.pi * math.tan(math.radians(camera.view_deg[2]) / 2)
    return max(1, round(width * PANORAMA_VIEW[0] / PANORAMA_VIEW[1])), max(1, round(width))


def view_intrinsics(camera: CameraModel, size: Size) -> Float64[Tensor, "3 3"]:
    """The camera matrix of a view of (height, width), in its pixels.

    Raises InputError where no view of a picture of that size is without a blank border: the parameters are for
    pictures of another size, or no lens.
    """
    if camera.is_pinhole:
        params = torch.tensor(camera.params[:4], dtype=torch.float64)
        return intrinsics_matrix(params[:2], params[2:])
    if camera.name == "equirect":
        focal = size[1] / 2 / math.tan(math.radians(camera.view_deg[2]) / 2)
        return centred_intrinsics(torch.tensor(focal, dtype=torch.float64), size=size)
    wide, narrow = (max(size) / 2 / math.tan(math.radians(fov) / 2) for fov in (WIDEST_DEG, NARROWEST_DEG))
    if not _is_covered(camera, size, narrow):
        raise InputError(
            f"camera {camera.text} sees nothing in the middle of pictures of {size[1]}×{size[0]}: "
            "give it in pixels of these pictures"
        )
    if _is_covered(camera, size, wide):
        narrow = wide
    for _ in range(_STEPS):
        middle = math.sqrt(wide * narrow)
        wide, narrow = (wide, middle) if _is_covered(camera, size, middle) else (middle, narrow)
    return centred_intrinsics(torch.tensor(narrow, dtype=torch.float64), size=size)


def view_map(
    camera: CameraModel, size: Size, *, to_size: Size | None = None
) -> Float64[Tensor, "view_height view_width 2"]:
    """The pixel (x, y) of a picture of (height, width) that each pixel of its view sees; the view at `to_size`."""
    own = view_size(camera, size)
    to_size = to_size or own
    intrinsics = scale_intrinsics(view_intrinsics(camera, own), from_size=own, to_size=to_size)
    rays = unproject(torch.ones(to_size, dtype=torch.float64), intrinsics)
    if camera.name == "equirect":
        rays = rays @ _picture_from_view(camera).mT
    return camera.project(rays, size=size)


def _picture_from_view(camera: CameraModel) -> Float64[Tensor, "3 3"]:
    yaw, pitch, _ = (math.radians(angle) for angle in camera.view_deg)
    turns = [torch.tensor([0.0, yaw, 0.0]), torch.tensor([pitch, 0.0, 0.0])]  # y is down: a positive turn is rightward
    around_y, around_x = (rotation_from_axis_angle(turn.double()) for turn in turns)
    return around_y @ around_x


def _is_covered(camera: CameraModel, size: Size, focal_px: float) -> bool:
    """Whether the border of a view falls inside the picture, which then covers all that it encloses."""
    height, width = size
    grid = pixel_grid(height, width, dtype=torch.float64)
    border = torch.cat([grid[0], grid[-1], grid[:, 0], grid[:, -1]])
    plane = (border - border.new_tensor([width / 2, height / 2])) / focal_px
    seen = camera.project(torch.cat([plane, torch.ones_like(plane[:, :1])], -1), size=size)
    return bool(((seen >= 0.5) & (seen <= seen.new_tensor([width - 0.5, height - 0.5]))).all())
