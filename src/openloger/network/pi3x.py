"""The π³X heads (π³, arXiv 2507.13347): a convolutional point head and a metric scale for the window.

Legend: F frame, h×w patch grid, C channel, B batch, M context token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from openloger.shapes import Float, Tensor
from openloger.transformer.attention import Mlp, Rotary

_MAX_LOG_DEPTH = 15.0


@dataclass(frozen=True)
class Pi3XConfig:
    """The π³X variant: a convolutional point head, and a metric scale."""

    stages: tuple[int, ...] = (256, 128, 64)  # widths of the point head's upsampling stages
    metric_width: int = 512
    metric_depth: int = 5
    metric_heads: int = 8
    metric_output_width: int = 512


def view_plane(rows: int, columns: int, *, aspect: float, like: Tensor) -> Float[Tensor, "2 row column"]:
    """Pixel directions (u, v) on a plane whose half diagonal is 1, for an image of this width / height.

    The middle of cell n of N is at (2n + 1 − N) / N of the side's half; it is computed so that sizes may be symbols.
    """
    half_y = (1 + aspect**2) ** -0.5
    u, v = (
        (2 * torch.arange(count, device=like.device, dtype=like.dtype) + (1 - count)) * (half / count)
        for count, half in ((columns, aspect * half_y), (rows, half_y))
    )
    return torch.stack(torch.meshgrid(u, v, indexing="xy"))


def _with_view_plane(x: Tensor, aspect: float) -> Tensor:
    grid = view_plane(*x.shape[-2:], aspect=aspect, like=x)
    return torch.cat([x, grid.expand(x.shape[0], -1, -1, -1)], dim=1)


def _conv3(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="replicate")


class ResidualConvolution(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 2 * width
        self.layers = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.ReLU(),
            _conv3(width, hidden),
            nn.GroupNorm(hidden // 32, hidden),
            nn.ReLU(),
            _conv3(hidden, width),
        )

    def forward(self, x: Float[Tensor, "frame channel row column"]) -> Float[Tensor, "frame channel row column"]:
        return x + self.layers(x)


class ConvolutionalPointHead(nn.Module):
    """Patch features to (x, y, log depth) maps, doubling the resolution stage by stage."""

    def __init__(self, width: int, stages: tuple[int, ...], *, patch: int) -> None:
        super().__init__()
        self.patch = patch
        inputs = (width, *stages[:-1])
        self.stages = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Sequential(nn.ConvTranspose2d(before + 2, after, 2, stride=2), _conv3(after, after)),
                    ResidualConvolution(after),
                    ResidualConvolution(after),
                ]
            )
            for before, after in zip(inputs, stages, strict=True)
        )
        self.outputs = nn.ModuleList(
            nn.Sequential(_conv3(stages[-1] + 2, 32), nn.ReLU(), nn.Conv2d(32, channels, 1)) for channels in (2, 1)
        )

    def forward(
        self, patches: Float[Tensor, "frame patch feature"], rows: int, columns: int
    ) -> Float[Tensor, "frame 3 height width"]:
        aspect = columns / rows
        x = patches.float().mT.unflatten(2, (rows, columns))
        for stage in self.stages:
            x = _with_view_plane(x, aspect)
            for layer in stage:  # type: ignore[reportGeneralTypeIssues]
                x = layer(x)
        x = F.interpolate(x, size=(rows * self.patch, columns * self.patch), mode="bilinear", align_corners=False)
        x = _with_view_plane(x, aspect)
        xy, z = (output(x) for output in self.outputs)
        return torch.cat([xy, z.clamp(max=_MAX_LOG_DEPTH)], dim=1)


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, x_rotary: Rotary, context_rotary: Rotary) -> Tensor:
        q, k, v = (
            project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D)
            for project, tokens in ((self.q_proj, x), (self.k_proj, context), (self.v_proj, context))
        )
        mixed = F.scaled_dot_product_attention(x_rotary(q), context_rotary(k), v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class CrossBlock(nn.Module):
    """x + cross_attention(norm x, norm context), then x + mlp(norm x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.context_norm, self.mlp_norm = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.attention = CrossAttention(width, heads)
        self.mlp = Mlp(width, 4)

    def forward(self, x: Tensor, context: Tensor, x_rotary: Rotary, context_rotary: Rotary) -> Tensor:
        x = x + self.attention(self.attention_norm(x), self.context_norm(context), x_rotary, context_rotary)
        return x + self.mlp(self.mlp_norm(x))


class MetricHead(nn.Module):
    """One learned token that attends to the whole window and predicts the metres per unit of the window."""

    def __init__(self, input_width: int, config: Pi3XConfig) -> None:
        super().__init__()
        width, heads = config.metric_width, config.metric_heads
        self.head_dim = width // heads
        self.token = nn.Parameter(torch.randn(1, 1, input_width) * 0.02)
        self.token_input = nn.Linear(input_width, width)
        self.context_input = nn.Linear(input_width, width)
        self.blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(config.metric_depth))
        self.output = nn.Linear(width, config.metric_output_width)
        self.scale = nn.Linear(config.metric_output_width, 1)

    def forward(
        self, window_tokens: Float[Tensor, "batch token channel"], positions_yx: Float[Tensor, "token 2"]
    ) -> Float[Tensor, " batch"]:
        """Metres per unit, one number a window; `positions_yx` are those of all the window's tokens."""
        context = self.context_input(window_tokens)
        x = self.token_input(self.token.expand(len(window_tokens), -1, -1))
        context_rotary, x_rotary = (Rotary.of(at, self.head_dim) for at in (positions_yx, positions_yx[:1]))
        for block in self.blocks:
            x = block(x, context, x_rotary, context_rotary)
        return self.scale(self.output(x))[:, 0, 0].exp()
