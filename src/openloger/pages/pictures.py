"""Pictures within the page, and depth in colours."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np

from openloger.shapes import Float, UInt8

# Of a colour map from near (yellow) to far (dark violet), in even steps
DEPTH_COLOURS = ((253, 231, 37), (122, 209, 81), (34, 168, 132), (42, 120, 142), (65, 68, 135), (68, 1, 84))


def depth_colours(
    depth: Float[np.ndarray, "height width"], *, near: float, far: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Inverse depth in colours, yellow near and violet far; black where there is none."""
    known = np.isfinite(depth) & (depth > 0)
    inverse = 1 / np.where(known, depth, 1)
    share = ((1 / near - inverse) / max(1 / near - 1 / far, 1e-12)).clip(0, 1) * (len(DEPTH_COLOURS) - 1)
    low = np.floor(share).astype(int).clip(0, len(DEPTH_COLOURS) - 2)
    table = np.array(DEPTH_COLOURS, dtype=np.float64)
    mixed = table[low] + (share - low)[..., None] * (table[low + 1] - table[low])
    return np.where(known[..., None], mixed.round(), 0).astype(np.uint8)


def image_uri(pixels: UInt8[np.ndarray, "height width channel"], *, quality: int | None = None) -> str:
    """A picture as the address of itself, RGB or RGBA: PNG, or WebP of a quality from 0 to 100."""
    from PIL import Image

    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    else:
        Image.fromarray(pixels).save(buffer, format="WEBP", quality=quality, method=4)
    return _uri(buffer.getvalue(), "png" if quality is None else "webp")


def image_tag(rgb: UInt8[np.ndarray, "height width 3"], title: str) -> str:
    """A picture within the page, with its title under it."""
    title_html = html.escape(title, quote=True)
    return f'<figure><img alt="{title_html}" src="{image_uri(rgb)}"><figcaption>{title_html}</figcaption></figure>'


def spin_tag(pictures: Sequence[UInt8[np.ndarray, "height width 3"]], title: str, *, fps: float, quality: int) -> str:
    """An animation that begins anew for ever; on paper, and for those who want no motion, its first picture."""
    from PIL import Image

    buffer = io.BytesIO()
    first, *others = [Image.fromarray(picture) for picture in pictures]
    first.save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=others,
        duration=round(1000 / fps),
        loop=0,
        quality=quality,
        method=3,
    )
    still = image_uri(pictures[0], quality=quality)
    title_html, (height, width) = html.escape(title, quote=True), pictures[0].shape[:2]
    return (
        f'<picture><source media="print" srcset="{still}">'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img alt="{title_html}" width="{width}" height="{height}" src="{_uri(buffer.getvalue(), "webp")}"></picture>'
    )


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
