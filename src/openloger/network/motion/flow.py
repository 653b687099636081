"""Flow between chosen pairs of frames: coarse matches of frozen features, then Lucas–Kanade at stride 4.

Nothing is trained, and depth plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from openloger.errors import InputError
from openloger.geometry import weighted_median
from openloger.network.motion import lucas_kanade, matching
from openloger.network.motion.lucas_kanade import Flow, Level
from openloger.shapes import Bool, Float, Int, Tensor

STRIDE = lucas_kanade.STRIDE
TEXTURE = 0.01  # smallest eigenvalue at which a cell has half of its weight
RESIDUAL = 0.7  # normalised grey at which its weight falls to 1/e
RETURN_PX, RETURN_SHARE = 1.0, 0.05  # the same of the way back: the distance, and what of the flow's length joins it


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of frames of a window; the flow goes from source to target."""

    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]

    @staticmethod
    def chain(frames: int, *, device: torch.device | None = None) -> Edges:
        """Every frame with the next one."""
        return Edges.gaps(frames, (1,), device=device)

    @staticmethod
    def gaps(frames: int, gaps: tuple[int, ...], *, device: torch.device | None = None) -> Edges:
        """Every frame with those so many frames later, or earlier, in the order of `gaps`."""
        pairs = [(at, at + gap) for gap in gaps for at in range(frames) if 0 <= at + gap < frames]
        index = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2)
        return Edges(index[:, 0], index[:, 1])

    @staticmethod
    def from_ends(frames: int, *, device: torch.device | None = None) -> Edges:
        """The first frame with every frame between it and the last, then the last with the same, in their order."""
        inner = torch.arange(1, frames - 1, device=device)
        return Edges(torch.cat([torch.zeros_like(inner), torch.full_like(inner, frames - 1)]), inner.repeat(2))

    def reversed(self) -> Edges:
        """The same pairs, from target to source."""
        return Edges(self.target, self.source)

    def opposites(self) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
        """The numbers of all edges that have an opposite one, and those of the opposite ones."""
        same = (self.source[:, None] == self.target) & (self.target[:, None] == self.source)
        number, opposite = same.nonzero().unbind(1)
        return number, opposite

    def farthest(self, count: int, *, frames: int) -> list[Int[Tensor, " target"]]:
        """For every frame the targets of at most `count` of its edges: those farthest away first, of two the later."""
        pairs = list(zip(self.source.tolist(), self.target.tolist(), strict=True))
        targets = [
            sorted((to for start, to in pairs if start == at), key=lambda to, at=at: (-abs(to - at), -to))
            for at in range(frames)
        ]
        return [torch.tensor(those[:count], dtype=torch.long, device=self.source.device) for those in targets]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Bool[Tensor, " edge"]) -> Edges:
        return Edges(self.source[index], self.target[index])

    def __add__(self, other: Edges) -> Edges:
        return Edges(torch.cat([self.source, other.source]), torch.cat([self.target, other.target]))


@dataclass(frozen=True, eq=False)
class FlowFeatures:
    """The features of frames that flow is computed from; computed once a frame, for any number of edges."""

    descriptor: Float[Tensor, "batch frame channel rows8 columns8"]
    half: Level  # images are batch · frame
    full: Level


@dataclass(frozen=True, eq=False)
class EdgeFlow:
    """Flow of every edge on cells of stride 4, whose centres are at pixels (4 c + 2, 4 r + 2)."""

    shift_px: Float[Tensor, "batch edge rows columns 2"]  # (x, y) from source to target
    weight: Float[Tensor, "batch edge rows columns"]  # 0 to 1: texture, and how well the pictures agree
    inside: Bool[Tensor, "batch edge rows columns"]  # the match is within the target's picture

    def __add__(self, other: EdgeFlow) -> EdgeFlow:
        """The edges of both, one after the other."""
        return EdgeFlow(
            torch.cat([self.shift_px, other.shift_px], 1),
            torch.cat([self.weight, other.weight], 1),
            torch.cat([self.inside, other.inside], 1),
        )

    def __getitem__(self, edges: slice) -> EdgeFlow:
        """Of some edges."""
        return EdgeFlow(self.shift_px[:, edges], self.weight[:, edges], self.inside[:, edges])

    def reweighted(self, factor: Float[Tensor, "batch edge"]) -> EdgeFlow:
        return replace(self, weight=self.weight * factor[..., None, None])

    def returning(self, edges: Edges) -> EdgeFlow:
        """Weighted by how near the flow of the opposite edge, where there is one, leads back to where a match began.

        What one picture alone shows, and repeated texture that was matched wrongly, count little then.
        """
        forth, back = edges.opposites()
        if not len(forth):
            return self
        batch = self.weight.shape[0]
        height, width = (STRIDE * cells for cells in self.weight.shape[-2:])
        shift = self.shift_px[:, forth].flatten(0, 1)
        matched = cell_centres(height, width, like=shift) + shift
        grid = matched * (2 / matched.new_tensor([width, height])) - 1
        opposite = self.shift_px[:, back].flatten(0, 1).movedim(-1, 1)
        home = F.grid_sample(opposite, grid, mode="bilinear", padding_mode="border", align_corners=False)
        apart = (shift + home.movedim(1, -1)).square().sum(-1)
        allowed = RETURN_PX**2 + RETURN_SHARE**2 * shift.square().sum(-1)
        agreed = torch.ones_like(self.weight)
        agreed[:, forth] = (-apart / allowed).exp().unflatten(0, (batch, len(forth)))
        return replace(self, weight=self.weight * agreed)

    @property
    def motion_px(self) -> Float[Tensor, "batch edge"]:
        """Median length of the flow, weighted."""
        length = torch.linalg.vector_norm(self.shift_px.detach(), dim=-1)
        return weighted_median(length.flatten(2), self.weight.detach().flatten(2))


def flow_features(
    images: Float[Tensor, "batch frame 3 height width"],
    stride8: Float[Tensor, "image c8 rows8 columns8"],
    stride16: Float[Tensor, "image c16 rows16 columns16"],
    used: Bool[Tensor, "image height width"] | None = None,
) -> FlowFeatures:
    """Of sRGB pictures in [0, 1] and their feature maps of strides 8 and 16, frames of all batches in a row.

    Pixels that are not `used` match nothing and have no weight.
    Raises InputError where height or width is not a multiple of 8.
    """
    batch, frames, _, height, width = images.shape
    if height % 8 or width % 8:
        raise InputError(f"flow needs pictures whose sides are multiples of 8, not {height} × {width}; resize them")
    with torch.autocast(images.device.type, enabled=False):
        half, full = lucas_kanade.prepare(images.flatten(0, 1).float(), used)
        descriptor = matching.describe(stride8, stride16)
        if used is not None:
            descriptor = descriptor * (F.max_pool2d((~used[:, None]).float(), matching.STRIDE) == 0)
    return FlowFeatures(descriptor.unflatten(0, (batch, frames)), half, full)


def flow_between(features: FlowFeatures, edges: Edges) -> EdgeFlow:
    """The flow of every edge."""
    batch, frames = features.descriptor.shape[:2]
    first = torch.arange(batch, device=edges.source.device)[:, None] * frames
    source, target = ((first + side).flatten() for side in (edges.source, edges.target))
    descriptor, half, full = features.descriptor.flatten(0, 1), features.half, features.full
    with torch.autocast(descriptor.device.type, enabled=False):
        coarse = matching.match(descriptor[source], descriptor[target])
        flow = lucas_kanade.refine((half[source], full[source]), (half[target], full[target]), coarse)
    return edge_flow(flow, shape=(batch, len(edges)))


def edge_flow(flow: Flow, *, shape: tuple[int, int]) -> EdgeFlow:
    """Flow at full size of pairs that are (batch, edge) in a row, weighted by texture and agreement."""
    shift = flow.shift_px.movedim(1, -1)
    height, width = (STRIDE * cells for cells in shift.shape[1:3])
    matched = cell_centres(height, width, like=shift) + shift
    inside = ((matched > 0) & (matched < matched.new_tensor([width, height]))).all(-1)
    weight = textured(flow) * agreement(flow)
    weight = weight if flow.shared is None else weight * flow.shared
    return EdgeFlow(shift.unflatten(0, shape), weight.unflatten(0, shape), inside.unflatten(0, shape))


def textured(flow: Flow) -> Float[Tensor, "pair rows columns"]:
    """0 to 1, by the texture of the source."""
    return flow.texture / (flow.texture + TEXTURE)


def agreement(flow: Flow) -> Float[Tensor, "pair rows columns"]:
    """0 to 1, by how well the pictures agree where the flow takes them."""
    return (-(flow.residual / RESIDUAL).square()).exp()


def cell_centres(height: int, width: int, *, like: Tensor) -> Float[Tensor, "rows columns 2"]:
    """Pixels (x, y) in the middle of the cells of stride 4."""
    y = torch.arange(height // STRIDE, dtype=like.dtype, device=like.device) * STRIDE + STRIDE / 2
    x = torch.arange(width // STRIDE, dtype=like.dtype, device=like.device) * STRIDE + STRIDE / 2
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
