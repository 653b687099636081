"""A camera as text: "model:values", or the path of a calibration file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from openloger.errors import InputError
from openloger.frames.files import open_regular
from openloger.frames.lenses.colmap_cameras import colmap_camera
from openloger.frames.lenses.yaml_cameras import yaml_camera
from openloger.geometry.camera_models import PARAMETERS, CameraModel, CameraName
from openloger.geometry.views import RIG_VIEWS, CameraRig

LARGEST_FILE = 1 << 20  # bytes; calibrations have a few hundred
_YAML = (".yaml", ".yml")


def read_camera(text: str | os.PathLike[str]) -> CameraModel | CameraRig:
    """The camera of "model:values" (pixels of the source, centres at + 0.5; angles in degrees) or of a file.

    Models are those of `PARAMETERS`. Files are COLMAP's cameras.txt, with one camera, and the YAML of OpenCV, ROS,
    EuRoC or Kalibr, whose principal points count from a pixel's centre and are moved to this package's convention;
    FILE#cam1 names one of several. "equirect:rig[,VIEWS[,FOV]]" is a ring of views of a panorama, and
    "equirect:YAW,PITCH[,FOV]/YAW,PITCH[,FOV]/..." any of them, which are one rig.
    Raises InputError for what is neither, and models that are not supported.
    """
    text = os.fspath(text)
    name, colon, values = text.partition(":")
    if name == "equirect" and (values.split(",")[0].strip() == "rig" or "/" in values):
        return _rig(text, values)
    if name in PARAMETERS:
        return CameraModel(cast(CameraName, name), _numbers(text, values) if colon else ())
    path, _, entry = text.partition("#")
    if Path(path).suffix.lower() not in (".txt", *_YAML):
        raise InputError(
            f"camera {text!r} is no model ({', '.join(PARAMETERS)}, as in pinhole:fx,fy,cx,cy) and no calibration file "
            "(cameras.txt, .yaml)"
        )
    content = _content(Path(path))
    return yaml_camera(path, content, entry) if path.lower().endswith(_YAML) else colmap_camera(path, content)


def _rig(text: str, values: str) -> CameraRig:
    if "/" in values:
        return CameraRig(tuple(CameraModel("equirect", _numbers(text, view)) for view in values.split("/")))
    _, *given = values.split(",")
    numbers = _numbers(text, ",".join(given)) if given else (RIG_VIEWS,)
    if len(numbers) not in (1, 2) or not float(numbers[0]).is_integer():
        raise InputError(f"camera {text!r}: give equirect:rig, equirect:rig,VIEWS or equirect:rig,VIEWS,FOV")
    return CameraRig.ring(int(numbers[0]), *numbers[1:])


def _numbers(text: str, values: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values.split(",")) if values.strip() else ()
    except ValueError as error:
        raise InputError(f"camera {text!r}: {error}; give numbers with commas between them") from error


def _content(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content: Any = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path}: the calibration cannot be read ({error.strerror}); check the path") from error
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path} is larger than any calibration; give the file of one camera")
    return content.decode("utf-8", "replace")
