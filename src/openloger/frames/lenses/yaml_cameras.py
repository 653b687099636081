"""Calibrations in YAML: OpenCV's FileStorage, ROS's camera_info, EuRoC's sensor.yaml and Kalibr's camchain.

All count a principal point from the centre of the first pixel, half a pixel less than this package does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from openloger.errors import InputError, in_a_line
from openloger.geometry.camera_models import PARAMETERS, CameraModel

_BROWN = {"radtan", "radial-tangential", "plumb_bob", "rational_polynomial", "opencv"}
_FISHEYE = {"equidistant", "fisheye", "opencv_fisheye", "kannala_brandt"}
_DISTORTIONS = ("distortion_coeffs", "distortion_coefficients", "Distortion_Coefficients", "dist_coeffs", "D", "d")
_MATRICES = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "K", "k")  # k, d: ROS 2's messages
_SIZES = (("image_width", "image_height"), ("image_Width", "image_Height"), ("width", "height"))


def yaml_camera(path: str, content: str, entry: str = "") -> CameraModel:
    """The camera of a calibration; `entry` names one of several ("cam1"). `path` is named in messages.

    Raises InputError where there is none, it is not clear which, or its model is another.
    """
    value = _entry(path, _parsed(path, content), entry)
    model = str(value.get("camera_model", "pinhole"))
    if model not in ("pinhole", "perspective"):
        raise InputError(
            f"{path}: camera model {model!r} is not supported; calibrate with pinhole, or its fisheye form"
        )
    distortion = _distortion(path, value)
    coefficients = _list(path, next((value[name] for name in _DISTORTIONS if name in value), []))
    fx, fy, cx, cy = _pinhole(path, value)
    params = (fx, fy, cx + 0.5, cy + 0.5)
    size = _size(path, value)
    if not any(coefficients):
        return CameraModel("pinhole", params, size)
    if distortion == "opencv_fisheye":
        return CameraModel("opencv_fisheye", (*params, *coefficients), size)
    counts = [len(names) - len(params) for names in PARAMETERS["opencv"]]
    count = next((count for count in counts if not any(coefficients[count:])), None)
    if count is None:
        raise InputError(f"{path}: has {len(coefficients)} distortion coefficients; at most 8 are supported")
    padded = [*coefficients, *(0.0,) * count][:count]
    return CameraModel("opencv", (*params, *padded), size)


def _parsed(path: str, content: str) -> Mapping[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Takes OpenCV's own tags for plain values, and no aliases: a few lines of them hold a billion values."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases (*name), which no calibration needs; write the values out")
            return super().compose_node(parent, index)

    def plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None

    Loader.add_multi_constructor("tag:yaml.org,2002:opencv-", plain)
    lines = content.splitlines()
    if lines and lines[0].startswith("%YAML"):  # OpenCV writes "%YAML:1.0", which is none
        lines = lines[1:]
    while lines and lines[-1].strip() in ("", "---"):  # `ros2 topic echo --once` ends in a separator
        lines = lines[:-1]
    try:
        value = yaml.load("\n".join(lines), Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no YAML: {in_a_line(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no calibration: a YAML mapping is needed")
    return value


def _entry(path: str, value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The camera's own mapping: the whole, or one of Kalibr's cam0, cam1, ..."""
    cameras = {key: one for key, one in value.items() if isinstance(one, dict) and ("intrinsics" in one or "K" in one)}
    if name:
        if name not in cameras:
            raise InputError(f"{path} has no camera {name!r}; it has {', '.join(cameras) or 'one, without a name'}")
        return cameras[name]
    if len(cameras) > 1:
        raise InputError(f"{path} has {', '.join(cameras)}: name one, as {path}#{next(iter(cameras))}")
    return next(iter(cameras.values()), value)


def _distortion(path: str, value: Mapping[str, Any]) -> str:
    name = value.get("distortion_model", "fisheye" if value.get("fisheye_model") else "plumb_bob")
    if name in _FISHEYE:
        return "opencv_fisheye"
    if name in _BROWN or name in ("none", None):
        return "opencv"
    raise InputError(f"{path}: distortion model {name!r} is none of {', '.join(sorted(_BROWN | _FISHEYE))}")


def _pinhole(path: str, value: Mapping[str, Any]) -> tuple[float, float, float, float]:
    if "intrinsics" in value:
        four = _list(path, value["intrinsics"])
    else:
        nine = _list(path, next((value[name] for name in _MATRICES if name in value), []))
        four = [nine[at] for at in (0, 4, 2, 5)] if len(nine) == 9 else []
    if len(four) != 4:
        raise InputError(f"{path}: has no intrinsics (fx, fy, cx, cy) and no camera_matrix of 9 values")
    return four[0], four[1], four[2], four[3]


def _size(path: str, value: Mapping[str, Any]) -> tuple[int, int] | None:
    pair = value.get("resolution") or next(
        ([value[width], value[height]] for width, height in _SIZES if width in value and height in value), None
    )
    if pair is None:
        return None
    sides = _list(path, pair)
    if len(sides) != 2 or not all(1 <= side < math.inf for side in sides):
        raise InputError(f"{path}: pictures of {str(pair)[:60]} are of no size; give a width and a height in pixels")
    width, height = map(int, sides)
    return height, width


def _list(path: str, value: Any) -> list[float]:
    """The numbers of a list, of a list of rows, or of the `data` of a matrix."""
    if isinstance(value, dict):
        value = value.get("data", [])
    rows = value if isinstance(value, list) else [value]
    try:
        return [float(one) for one in itertools.chain(*(row if isinstance(row, list) else [row] for row in rows))]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {str(value)[:60]!r} should be numbers") from error
