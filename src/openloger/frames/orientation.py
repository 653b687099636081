"""Turning a picture upright by the display matrix that cameras put into their files."""

from __future__ import annotations

from typing import Any

import numpy as np

from openloger.shapes import UInt8


def upright(
    rgb: UInt8[np.ndarray, "height width 3"], matrix: tuple[int, int, int, int] | None
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """The picture as it is meant to be seen.

    `matrix` = (a, b, c, d) of ISO 14496-12: the pixel (x, y) is shown at (a·x + c·y, b·x + d·y), up to a shift. Quarter
    turns and mirrorings are applied; an angle in between goes to the nearest of them.
    """
    if matrix is None:
        return rgb
    a, b, c, d = matrix
    if abs(b) > abs(a):
        rgb, x_sign, y_sign = rgb.swapaxes(0, 1), c, b
    else:
        x_sign, y_sign = a, d
    return np.ascontiguousarray(rgb[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1])


def display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """The (a, b, c, d) of a PyAV frame, where it carries one."""
    from av.sidedata import sidedata

    # `frame.side_data` keeps what it makes, a circle: the frame would stay, with all it holds, until circles are sought
    container: Any = sidedata.SideDataContainer
    found = container(frame).get("DISPLAYMATRIX")
    if found is None:
        return None
    a, b, _, c, d, *_ = np.frombuffer(bytes(found), np.int32).tolist()
    return a, b, c, d
