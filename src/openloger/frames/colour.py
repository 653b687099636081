"""A decoded video picture as upright 8-bit sRGB with square pixels, of standard or high dynamic range.

The matrix (BT.601, BT.709, BT.2020) and the range are the stream's. Where it names no matrix, it is the one that
players take: BT.709 above standard definition, else BT.601.

High dynamic range (PQ and HLG of ITU-R BT.2100, BT.2020 primaries): code values become light in cd/m² by the standard's
curve; what is brighter than SDR white, 203 cd/m² (BT.2408), is rolled off by the curve of BT.2390, §5.4.1, from a
source of 1,000 cd/m²; the primaries are converted by BT.2087 and encoded by IEC 61966-2-1. The roll-off goes by the
brightest of the three components, which keeps the hue.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any, Literal

import numpy as np

from openloger.frames.container import display_matrix, upright
from openloger.shapes import Float32, UInt8

Curve = Literal["pq", "hlg", "sdr"]
PQ, HLG, SDR_2020 = "pq", "hlg", "sdr"
WHITE_NITS, PEAK_NITS, PQ_NITS = 203.0, 1000.0, 10_000.0
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
_A, _HLG_GAMMA, _SDR_GAMMA = 0.17883277, 1.2, 2.4
_B, _C = 1 - 4 * _A, 0.5 - _A * float(np.log(4 * _A))
_LUMA_2020 = np.array((0.2627, 0.6780, 0.0593), np.float32)
_BT709_FROM_BT2020 = np.array(
    ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)), np.float32
)
_CODES = 1 << 16


def pq_nits(code: np.ndarray) -> np.ndarray:
    """Light of a PQ signal 0..1, in cd/m²."""
    power = np.power(code, 1 / _M2)
    return PQ_NITS * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1)


def pq_code(nits: np.ndarray) -> np.ndarray:
    """The inverse of `pq_nits`."""
    power = np.power(np.maximum(nits, 0) / PQ_NITS, _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def hlg_scene(code: np.ndarray) -> np.ndarray:
    """Light of the scene, 0..1, of an HLG signal 0..1."""
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)


def roll_off(nits: np.ndarray) -> np.ndarray:
    """BT.2390's curve from a display of PEAK_NITS to one of WHITE_NITS, in cd/m²."""
    peak, most = pq_code(np.array((PEAK_NITS, WHITE_NITS)))
    code, most = np.minimum(pq_code(nits) / peak, 1), most / peak
    knee = 1.5 * most - 0.5
    t = np.maximum(code - knee, 0) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_nits(np.where(code > knee, bent, code) * peak)


def to_srgb(
    rgb: np.ndarray,  # (height, width, 3) uint16
    curve: str,
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture whose 16-bit components have BT.2020's primaries and the given curve."""
    light = _light(curve)[rgb]  # white is 1
    if curve == HLG:  # the display's part of the curve, which goes by luminance
        luminance = light @ _LUMA_2020
        light *= np.power(luminance, _HLG_GAMMA - 1, where=luminance > 0, out=np.zeros_like(luminance))[..., None]
        light *= PEAK_NITS / WHITE_NITS
    if curve != SDR_2020:
        brightest = light.max(axis=2)
        light *= np.interp(brightest, *_gains()).astype(np.float32)[..., None]
    np.clip(light @ _BT709_FROM_BT2020.T, 0, 1, out=light)
    return _srgb_codes()[(light * (_CODES - 1) + 0.5).astype(np.uint16)]


@cache
def _light(curve: str) -> Float32[np.ndarray, " code"]:
    """Of each 16-bit component; 1 is SDR white, and for HLG the scene's brightest."""
    code = np.linspace(0, 1, _CODES)
    if curve == PQ:
        return (pq_nits(code) / WHITE_NITS).astype(np.float32)
    return (hlg_scene(code) if curve == HLG else code**_SDR_GAMMA).astype(np.float32)


@cache
def _gains() -> tuple[np.ndarray, np.ndarray]:
    """(light, what it is multiplied by to be rolled off); dense where light is low, as PQ is."""
    nits = pq_nits(np.linspace(0, 1, 4096))[1:]
    return nits / WHITE_NITS, roll_off(nits) / nits


@cache
def _srgb_codes() -> UInt8[np.ndarray, " code"]:
    light = np.linspace(0, 1, _CODES)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


# ITU-T H.273's numbers, as FFmpeg has them
_UNSPECIFIED, _BT601, _BT709 = 2, 5, 1
_BT2020_PRIMARIES = 9
_CURVES = {16: PQ, 18: HLG}
STANDARD_DEFINITION = 1280, 576  # width and height that it stays below, or at
SQUARE = 0.005  # a pixel's sides that differ by less are taken as equal


def square_size(height: int, width: int, aspect: Fraction | None) -> tuple[int, int]:
    """(height, width) that gives a picture square pixels and no fewer; they were `aspect` times as wide as high."""
    if not aspect or aspect <= 0 or abs(float(aspect) - 1) < SQUARE or not 1 / 8 <= aspect <= 8:
        return height, width
    return (height, round(width * aspect)) if aspect > 1 else (round(height / aspect), width)


def rgb_of(
    image: Any, reformatter: Any, *, aspect: Fraction | None = None
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """`image` is a PyAV frame, `aspect` its pixels' width over their height. `reformatter` is shared by all frames:
    of its own, each would set up tables and start threads.
    """
    height, width = square_size(image.height, image.width, aspect)
    curve = _CURVES.get(int(image.color_trc or 0))
    if curve is None and int(image.color_primaries or 0) == _BT2020_PRIMARIES and not _is_rgb(image):
        curve = SDR_2020
    shown = reformatter.reformat(
        image, width, height, format="rgb48le" if curve else "rgb24", src_colorspace=_guessed_matrix(image)
    )
    rgb = to_srgb(shown.to_ndarray(), curve) if curve else shown.to_ndarray()
    return upright(rgb, display_matrix(image))


def _is_rgb(image: Any) -> bool:
    return bool(image.format.is_rgb)


def _guessed_matrix(image: Any) -> int | None:
    """None where the stream names one."""
    if int(image.colorspace) != _UNSPECIFIED or _is_rgb(image):
        return None
    most_width, most_height = STANDARD_DEFINITION
    return _BT709 if image.width >= most_width or image.height > most_height else _BT601
