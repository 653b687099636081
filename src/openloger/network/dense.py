"""Dense heads for a convolutional encoder: depth along the rays of one lens a window, confidence, sky and moving things
at full resolution, with skips from the encoder's pyramid (U-Net, arXiv 1505.04597; DPT, arXiv 2103.13413).

Points are depth times the pinhole ray, so the lens is consistent by construction:
x = z (u − W/2) / f, y = z (v − H/2) / f.

Legend: F frame of the batch, C channel, H×W pixels; levels by stride.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from openloger.geometry import centred_intrinsics, unproject
from openloger.network.fusion import Fused, Pyramid, upsampled
from openloger.network.heads import CameraHead, HeadOutputs, HeadTransformer, TransformerConfig
from openloger.network.patches import KeptPatches
from openloger.shapes import Float, Tensor

_OUTPUTS = 4  # log depth, confidence, sky, moving
_SUBPIXELS = 4  # each cell of stride 2 has 2×2 pixels
_NEIGHBOURS = 9  # a cell and those around it
MAX_LOG_DEPTH = 8.0  # in units of the network, about a scene's depth: no loss binds the depth of the sky


@dataclass(frozen=True)
class DenseHeadsConfig:
    """Channels of the head at strides 16, 8, 4 and 2, and the width of the camera's transformer."""

    channels: tuple[int, int, int, int] = (96, 64, 48, 24)
    camera: TransformerConfig = field(default_factory=lambda: TransformerConfig(width=128, depth=1, heads=4))


class Refinement(nn.Module):
    """A coarser map, upsampled, joined with what its own level brings; one residual 3×3 block."""

    def __init__(self, coarse: int, skip: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, channels, 1)
        self.norm = nn.GroupNorm(1, skip)
        self.skip = nn.Conv2d(skip, channels, 1)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, coarse: Float[Tensor, "batch channel row column"], skip: Float[Tensor, "batch channel2 row2 column2"]
    ) -> Float[Tensor, "batch channel3 row2 column2"]:
        x = F.relu(upsampled(self.coarse(coarse), like=skip) + self.skip(self.norm(skip)))
        return x + self.second(F.relu(self.first(x)))


class ConvexUpsample(nn.Module):
    """Each of a cell's 2×2 pixels as a mean of the 3×3 cells around it, with predicted weights (RAFT, 2003.12039).

    Edges stay sharp, and no grid appears on smooth surfaces. It starts as bilinear interpolation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Conv2d(channels, _SUBPIXELS * _NEIGHBOURS, 1)
        nn.init.zeros_(self.weight.weight)
        with torch.no_grad():
            self.weight.get_parameter("bias").copy_(_bilinear_weights().clamp(min=1e-3).log().flatten())

    def forward(
        self, values: Float[Tensor, "image 1 row column"], features: Float[Tensor, "image channel row column"]
    ) -> Float[Tensor, "image 1 height width"]:
        weights = self.weight(features).unflatten(1, (_SUBPIXELS, _NEIGHBOURS)).softmax(dim=2)
        rows, columns = values.shape[-2:]
        around = F.unfold(F.pad(values, (1, 1, 1, 1), mode="replicate"), 3).unflatten(2, (rows, columns))
        return F.pixel_shuffle((weights * around[:, None]).sum(dim=2), 2)


def _bilinear_weights() -> Float[Tensor, "subpixel neighbour"]:
    """Of the 3×3 cells (row-major), for the 2×2 pixels of the middle one (row-major)."""
    near, far, zero = 0.75, 0.25, 0.0
    first, second = torch.tensor([far, near, zero]), torch.tensor([zero, near, far])
    return torch.stack([torch.outer(y, x).flatten() for y in (first, second) for x in (first, second)])


class DenseHeads(nn.Module):
    """All heads of a convolutional network over one window."""

    def __init__(self, config: DenseHeadsConfig, *, input_width: int, pyramid: tuple[int, ...], motion: int) -> None:
        super().__init__()
        c16, c8, c4, c2 = config.channels
        self.tokens = nn.Linear(input_width, c16)
        self.level16 = nn.Conv2d(c16, c16, 3, padding=1)
        self.level8 = Refinement(c16, pyramid[2] + 2 * motion, c8)
        self.level4 = Refinement(c8, pyramid[1], c4)
        self.level2 = Refinement(c4, pyramid[0] + 3 * _SUBPIXELS, c2)
        self.output = nn.Conv2d(c2, _OUTPUTS, 3, padding=1)
        self.upsample = ConvexUpsample(c2)
        self.focal_norm = nn.LayerNorm(input_width)
        self.focal = nn.Sequential(nn.Linear(input_width, 128), nn.ReLU(), nn.Linear(128, 1))
        self.camera_transformer = HeadTransformer(input_width, config.camera, output_width=config.camera.width)
        self.camera = CameraHead(config.camera.width)

    def forward(
        self,
        tokens: Float[Tensor, "batch frame token channel"],
        positions_yx: Float[Tensor, "place 2"],
        *,
        images: Float[Tensor, "batch frame 3 height width"],
        pyramid: Pyramid,
        fused: Fused,
        kept: KeptPatches | None = None,
    ) -> HeadOutputs:
        """`images` are normalised as the encoder takes them; `positions_yx` are of all of a frame's tokens.

        Of the frames' patches those that are `kept` have tokens.
        """
        batch, frames = tokens.shape[:2]
        count = fused.tokens.shape[2] if kept is None else kept.count
        patches, special = tokens[:, :, -count:], tokens.shape[2] - count
        places = positions_yx if kept is None else kept.positions(positions_yx, special)
        valid = None if kept is None else kept.valid_tokens(special)
        camera = self.camera_transformer(tokens.flatten(0, 1), places, valid)[:, -count:]
        maps = self._maps(patches, images, pyramid, fused, kept).unflatten(0, (batch, frames))
        height, width = images.shape[-2:]
        focal_px = self._focal_px(_window_mean(patches, kept), images.shape[-2:])
        lens = centred_intrinsics(focal_px[:, None], size=(height, width))
        return HeadOutputs(
            world_from_cam=self.camera(camera, kept).unflatten(0, (batch, frames)),
            points_cam=unproject(maps[:, :, 0].clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH).exp(), lens),
            confidence_logit=maps[:, :, 1],
            metric_scale=None,
            sky_logit=maps[:, :, 2],
            moving_logit=maps[:, :, 3],
            focal_px=focal_px[:, None].expand(-1, frames),
            flow_px=fused.flow,
        )

    def _maps(
        self, patches: Tensor, images: Tensor, pyramid: Pyramid, fused: Fused, kept: KeptPatches | None
    ) -> Float[Tensor, "image output height width"]:
        by_frame = [level.flatten(0, 1) for level in pyramid]
        tokens = self.tokens(patches.flatten(0, 1))
        x = (tokens if kept is None else kept.unpack(tokens)).mT.unflatten(2, by_frame[3].shape[-2:])
        x = x + self.level16(F.relu(x))
        x = self.level8(x, torch.cat([by_frame[2], fused.motion.flatten(0, 1)], dim=1))
        x = self.level4(x, by_frame[1])
        x = self.level2(x, torch.cat([by_frame[0], F.pixel_unshuffle(images.flatten(0, 1), 2)], dim=1))
        coarse = self.output(x)
        others = F.interpolate(coarse[:, 1:], scale_factor=2.0, mode="bilinear")
        return torch.cat([self.upsample(coarse[:, :1], x), others], dim=1)

    def _focal_px(self, mean: Float[Tensor, "batch channel"], size: torch.Size) -> Float[Tensor, " batch"]:
        """One number a window: an untrained head gives the picture's diagonal times 0.7 (71° along the diagonal)."""
        height, width = size
        log_focal = self.focal(self.focal_norm(mean))[:, 0]
        return 0.7 * (height**2 + width**2) ** 0.5 * log_focal.exp()


def _window_mean(
    patches: Float[Tensor, "batch frame kept channel"], kept: KeptPatches | None
) -> Float[Tensor, "batch channel"]:
    """Over all patches of a window but padding."""
    if kept is None or kept.valid is None:
        return patches.mean(dim=(1, 2))
    return patches[:, kept.valid].mean(dim=1)
