"""The curriculum: stages, each a plan for clips, windows, losses and the learning rate.

The published curriculum (LoGeR, arXiv 2603.03269) for the big networks, and a from-scratch one for the small ones:
pairs of frames first, with the token-correspondence loss, until depth and relative motion work; then longer windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from openloger import worlds
from openloger.datasets import is_chosen
from openloger.errors import InputError
from openloger.streaming.sizing import published_size
from openloger.training.losses import LossWeights

BYTES_A_PIXEL = 10  # of a clip: 3 of colour, 4 of depth, 3 masks
FAMILIES = ("rooms", "street", "terrain", "clutter")  # of worlds, where a plan names none


@dataclass(frozen=True)
class DatasetPlan:
    """A folder of real or rendered video with truth, beside the worlds."""

    name: str  # a key of datasets.DATASETS: "tartanair", "scannet", "folder", …
    folder: str
    odds: float = 1.0  # how likely a clip is from here; the worlds together have `world_odds`
    stride: tuple[int, int] = (1, 3)  # frames from one to the next, drawn for a clip between these
    include: tuple[str, ...] = ("*",)  # sequences whose name matches one of these (as a shell does; * takes / too) …
    exclude: tuple[str, ...] = ()  # … and none of these
    by_length: bool = True  # every clip as likely as the next: all sequences are opened once; False: every sequence
    normals: bool | None = None  # whether depth is dense and clean, so that normals are learnt; None: as its reader has
    sky: bool | None = None  # whether what has no depth is sky; else nothing is learnt there
    metric: bool | None = None  # whether its unit is the metre

    def __post_init__(self) -> None:
        if not 1 <= self.stride[0] <= self.stride[1]:
            raise InputError(f"dataset {self.name!r}: stride is {self.stride}; give two numbers of frames in order")

    def takes(self, sequence: str) -> bool:
        """Whether a sequence of this name belongs to it."""
        return is_chosen(sequence, self.include, self.exclude)


@dataclass(frozen=True)
class ClipPlan:
    """The clips of a step. A step is made of `lanes` batches, shared out among the processes that train."""

    size: tuple[int, int]  # height and width in pixels
    rendered: int  # frames rendered a clip, in a row
    frames: tuple[int, ...]  # how many of them one step uses; one number is drawn a step
    odds: tuple[float, ...] = (1.0,)  # how likely each of those numbers is
    batch: int = 16  # clips a lane
    lanes: int = 1  # the gradient is the mean over lanes
    least_overlap: float = 0.0  # part of a frame that the next one shows too, where the clip has such frames
    least_baseline: float = 0.0  # how far the next one was taken from it, by the mean depth, where the clip has such
    fps: tuple[float, float] = (8.0, 12.0)  # a clip's frame rate is drawn between these, evenly in its logarithm
    families: tuple[str, ...] = FAMILIES
    family_odds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    datasets: tuple[DatasetPlan, ...] = ()
    world_odds: float = 1.0  # how likely a clip is from a world, beside the datasets' odds
    textures: str = worlds.PROCEDURAL  # of the worlds' surfaces, one of `worlds.TEXTURES`
    per_world: int = 4  # clips taken from a world
    reuse: float = 4.0  # how often a rendered clip is used, on average
    pool: int = 256  # rendered clips a lane keeps to draw from
    ready: int = 0  # clips of it that are there before the first step: worth it where they are kept on disk
    other_sizes: tuple[tuple[int, int], ...] = ()  # what clips may be instead of `size`; a batch is of one size
    other_odds: float = 0.5  # how likely the clips of a world are of one of these, each as likely as the next
    pixels: tuple[int, int] = (0, 0)  # instead of all of these a clip's size is drawn: its pixels between these …
    aspect: tuple[float, float] = (0.5, 2.0)  # … and its width : height, evenly in the logarithm
    multiple: int = 14  # of which both of its sides are multiples: the network's patch
    augment: bool = True  # flips, channel swaps, time reversal, exposure
    swaps: float = 1.0  # part of the clips whose colour channels are swapped; few where features are pretrained
    faults: float = 0.0  # part of the clips seen through a worse camera: blur, vignetting, noise, compression

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.odds):
            raise InputError(f"clips: {len(self.frames)} frame counts but {len(self.odds)} odds; give one for each")
        if len(self.families) != len(self.family_odds):
            raise InputError(
                f"clips: {len(self.families)} families but {len(self.family_odds)} odds; give one for each"
            )
        unknown = [name for name in self.families if name not in worlds.FAMILIES]
        if unknown:
            raise InputError(f"clips: unknown family of worlds {unknown[0]!r}; there are {', '.join(worlds.FAMILIES)}")
        if self.textures not in worlds.TEXTURES:
            raise InputError(f"clips: textures are {self.textures!r}; they are one of {', '.join(worlds.TEXTURES)}")
        if min(self.source_odds) < 0 or sum(self.source_odds) <= 0:
            raise InputError("clips: the odds of worlds and datasets are at least 0, and not all 0")
        if max(self.frames) > self.rendered:
            raise InputError(f"clips: a step uses {max(self.frames)} frames but only {self.rendered} are rendered")
        if not 0 <= self.least_overlap <= 1:
            raise InputError(f"clips: least_overlap is {self.least_overlap}; it is a part of a frame, 0 to 1")
        if self.least_baseline < 0:
            raise InputError(
                f"clips: least_baseline is {self.least_baseline}; it is a part of the mean depth, 0 or more"
            )
        if self.pixels != (0, 0):
            self._check_drawn_sizes()
        if not 0 <= self.other_odds <= 1:
            raise InputError(f"clips: other_odds is {self.other_odds}; it is a part of the worlds, 0 to 1")
        if not 0 <= self.faults <= 1:
            raise InputError(f"clips: faults is {self.faults}; it is a part of the clips, 0 to 1")
        if self.pool < self.batch:
            raise InputError(f"clips: a pool of {self.pool} cannot fill a batch of {self.batch}")

    def _check_drawn_sizes(self) -> None:
        if self.batch > 1 or self.other_sizes:
            raise InputError("clips: where `pixels` are given a batch is one clip (more `lanes`), without other_sizes")
        if not (0 < self.aspect[0] <= self.aspect[1] and 0 < self.pixels[0] <= self.pixels[1] and self.multiple > 0):
            raise InputError(f"clips: pixels {self.pixels} and aspect {self.aspect} are two numbers each, in order")
        if self.pixels[0] < self.multiple**2:
            raise InputError(f"clips: pixels begin at {self.pixels[0]}; a patch has {self.multiple}×{self.multiple}")

    @property
    def largest_size(self) -> tuple[int, int]:
        """Height and width of the clips that take most memory; of drawn ones, at 4:3."""
        if self.pixels == (0, 0):
            return max((self.size, *self.other_sizes), key=math.prod)
        return published_size(300, 400, patch=self.multiple, max_pixels=self.pixels[1])

    @property
    def clip_bytes(self) -> int:
        """Of a clip as it waits to be used: at the most, as sizes differ."""
        return BYTES_A_PIXEL * self.rendered * math.prod(self.largest_size)

    @property
    def source_odds(self) -> tuple[float, ...]:
        """Of the worlds together, then of each dataset."""
        return (self.world_odds, *(dataset.odds for dataset in self.datasets))


@dataclass(frozen=True)
class WindowPlan:
    """Windows of a clip; both numbers move linearly from the first to the second over the stage. 0: one window."""

    window: tuple[int, int] = (0, 0)
    overlap: tuple[int, int] = (0, 0)
    truncate: int = 0  # cut the gradient through the memory every so many windows; 0: never
    memory: bool = True  # False: the memory layers are left out
    scale_noise: float = 0.0  # of a window's log depth before the memory of scale: windows of real video agree less
    measured: bool = False  # run the geometric camera, as in inference, to train the refinement behind it

    def at(self, progress: float) -> tuple[int, int]:
        """Window size and overlap at a stage's progress 0..1; (0, 0) where the clip is one window."""
        (w0, w1), (o0, o1) = self.window, self.overlap
        return round(w0 + (w1 - w0) * progress), round(o0 + (o1 - o0) * progress)


@dataclass(frozen=True)
class RatePlan:
    """The learning rate over a stage: a linear warm-up, then flat or cosine, then a linear decay to `floor`."""

    peak: float = 1e-3
    warmup_steps: int = 200
    shape: str = "wsd"  # "wsd" | "cosine"
    decay: float = 0.3  # the last part of the stage that wsd spends decaying
    floor: float = 0.02  # part of the peak that is left at the end
    encoder: float = 1.0  # the encoder's rate, as a part of the others'

    def __post_init__(self) -> None:
        if self.shape not in ("wsd", "cosine"):
            raise InputError(f"rate: shape is {self.shape!r}; it is wsd or cosine")


@dataclass(frozen=True)
class Stage:
    """One part of a run."""

    name: str
    steps: int
    clips: ClipPlan
    windows: WindowPlan = field(default_factory=WindowPlan)
    losses: LossWeights = field(default_factory=LossWeights)
    rate: RatePlan = field(default_factory=RatePlan)
    trainable: tuple[str, ...] = ()  # weights whose names begin so; (): all of them
    initial_gate: float = 0.0  # of memory layers that join in this stage (initialise.py); 0: closed, as published


SCRATCH_LOSSES = LossWeights(rotation=1.0, translation=10.0, direction=0.3, match=1.0, shift=0.5)
CONFIDENCE_ALONE = LossWeights(
    local=0.0,
    world=0.0,
    rotation=0.0,
    translation=0.0,
    normal=0.0,
    anchor=0.0,
    confidence=1.0,
    trusted_error=0.2,  # what a network as coarse as pocket can hope for
)


PAIRS = ClipPlan(
    size=(64, 80),
    rendered=4,
    frames=(2,),
    fps=(1.0, 3.0),  # so slow that a pair turns by about ten degrees: a patch sees seven
    family_odds=(1.0, 1.0, 0.5, 1.0),
    least_overlap=0.4,
    least_baseline=0.1,
)
# what `pocket` sees of videos of 3:2, 16:9, 10:3 (a car), upright 4:5, 9:16
OTHER_SIZES = ((56, 88), (48, 96), (40, 128), (80, 64), (96, 48))
SHORT = replace(
    PAIRS,
    rendered=8,
    frames=(2, 3, 4),
    odds=(1.0, 1.0, 1.0),
    fps=(2.5, 12.0),  # so that a window lasts about as long as in use
    least_baseline=0.05,
)


def pocket_stages() -> tuple[Stage, ...]:
    """A recipe for two CPU cores: pairs and triples at most three frames apart, then windows of up to eight, then of
    up to sixteen in every shape that videos have, the same with rotation weighing more, then the memory between the
    windows of a chain, all of it on chains, and what to think of it."""
    pairs = replace(
        PAIRS,
        frames=(2, 3),
        odds=(0.88, 0.12),
        lanes=2,
        pool=2048,  # so that a clip's uses lie far apart: it is not learnt by heart
        reuse=8.0,
    )
    short = replace(SHORT, frames=(2, 3, 4, 8), odds=(4.0, 1.0, 2.0, 2.0), lanes=2, pool=1536, reuse=8.0)
    windows = replace(
        short,
        rendered=16,
        frames=(2, 4, 8, 16),
        odds=(3.0, 2.0, 2.0, 1.5),
        fps=(4.0, 16.0),
        pool=1024,
        reuse=12.0,
        other_sizes=OTHER_SIZES,
        other_odds=0.65,
    )
    chained = replace(windows, rendered=24, frames=(24,), odds=(1.0,), per_world=1, batch=4, pool=512, reuse=4.0)
    unmatched = replace(SCRATCH_LOSSES, match=0.0, shift=0.0)
    return (
        Stage(
            "pairs",
            steps=2650,
            clips=pairs,
            windows=WindowPlan(memory=False),
            losses=SCRATCH_LOSSES,
            rate=RatePlan(peak=1e-3, warmup_steps=150, decay=0.85),
        ),
        Stage(
            "short",
            steps=1700,
            clips=short,
            windows=WindowPlan(memory=False),
            losses=SCRATCH_LOSSES,
            rate=RatePlan(peak=5e-4, warmup_steps=50, decay=0.95),
        ),
        Stage(
            "windows",
            steps=2400,
            clips=windows,
            windows=WindowPlan(memory=False),
            losses=SCRATCH_LOSSES,
            rate=RatePlan(peak=5e-4, warmup_steps=50, decay=0.95),
        ),
        Stage(
            "rotations",
            steps=1800,
            clips=windows,
            windows=WindowPlan(memory=False),
            losses=replace(SCRATCH_LOSSES, rotation=3.0),
            rate=RatePlan(peak=5e-4, warmup_steps=30, decay=0.95),
        ),
        Stage(
            "memory",
            steps=400,
            clips=chained,
            windows=WindowPlan(window=(10, 8), overlap=(2, 2)),
            losses=unmatched,
            rate=RatePlan(peak=6e-4, warmup_steps=20, decay=0.95),
            trainable=("decoder.memory", "decoder.roles"),
            initial_gate=0.2,
        ),
        Stage(
            "chained",  # of what it does to single windows, seven tenths are taken back: `initialise.blend`
            steps=250,
            clips=chained,
            windows=WindowPlan(window=(12, 8), overlap=(2, 2)),
            losses=unmatched,
            rate=RatePlan(peak=2.5e-4, warmup_steps=20, decay=0.9),
        ),
        Stage(
            "confidence",
            steps=200,
            clips=chained,
            windows=WindowPlan(window=(8, 8), overlap=(2, 2)),
            losses=CONFIDENCE_ALONE,
            rate=RatePlan(peak=1e-3, warmup_steps=20, decay=0.7),
            trainable=("heads.confidence",),
        ),
    )


DENSE_LOSSES = LossWeights(  # of networks with dense heads, as measured for `compact`
    local=0.5,
    world=0.5,
    rotation=1.0,
    translation=10.0,
    direction=0.3,
    normal=0.0,
    match=1.0,
    shift=0.5,
    depth=1.0,
    gradient=1.0,
    focal=0.3,
    flow=0.5,
    sky=0.2,
    moving=0.1,
)
MEASURED_LOSSES = replace(  # of the refinement of depth: the terms that it changes
    CONFIDENCE_ALONE, depth=1.0, gradient=1.0, confidence=0.2, trusted_error=0.1
)
COMPACT_CLIPS = ClipPlan(
    size=(128, 176),
    other_sizes=((112, 208), (80, 256), (176, 128), (208, 112)),  # 16:9, a car's strip, upright phones
    other_odds=0.45,
    rendered=8,
    frames=(1,),
    fps=(1.5, 10.0),
    families=("rooms", "halls", "street", "terrain", "clutter"),
    family_odds=(1.5, 1.0, 1.0, 0.5, 0.7),
    textures="miniworld",
    per_world=2,
    lanes=2,
    pool=4096,
    ready=224,
    reuse=64.0,
    faults=0.4,
    swaps=0.15,
)
LEARNT = ("fusion", "decoder", "heads")  # what learns while the pretrained encoder is frozen


def compact_stages() -> tuple[Stage, ...]:
    """On a frozen pretrained encoder: single images until depth works, then windows, then windows whose losses count
    depth more than the camera, which the geometric one replaces in use, and confidence; then the memory alone, with
    open gates, on chains of windows that have to agree on one scale; then the refinement of depth alone, behind the
    geometric camera."""
    alone = WindowPlan(memory=False)
    still = replace(DENSE_LOSSES, world=0.0, rotation=0.0, translation=0.0, direction=0.0)
    unmatched = replace(still, match=0.0, shift=0.0, flow=0.0)
    windows = replace(
        COMPACT_CLIPS, frames=(2, 3, 4, 8), odds=(1.0, 1.0, 1.5, 1.5), batch=5, least_overlap=0.4, least_baseline=0.05
    )
    return (
        Stage(
            "single",
            steps=400,
            clips=COMPACT_CLIPS,
            windows=alone,
            losses=unmatched,
            rate=RatePlan(peak=1e-3, warmup_steps=50, decay=0.7, floor=0.2),
            trainable=LEARNT,
        ),
        Stage(
            "windows",
            steps=900,
            clips=windows,
            windows=alone,
            losses=DENSE_LOSSES,
            rate=RatePlan(peak=8e-4, warmup_steps=30, decay=0.8),
            trainable=LEARNT,
        ),
        Stage(
            "depth",
            steps=1800,
            clips=replace(windows, ready=160, reuse=6.0),  # new worlds all the time: 900 clips are learnt by heart
            windows=alone,
            losses=replace(
                DENSE_LOSSES, match=0.5, shift=0.25, rotation=0.5, moving=0.3, confidence=0.2, trusted_error=0.2
            ),
            rate=RatePlan(peak=8e-4, warmup_steps=20, decay=0.85),
            trainable=LEARNT,
        ),
        Stage(
            "memory",
            steps=160,
            clips=replace(
                windows,
                rendered=16,
                frames=(16,),
                odds=(1.0,),
                batch=2,
                fps=(1.5, 5.0),
                per_world=1,
                ready=48,
                reuse=12.0,
            ),
            windows=WindowPlan(window=(5, 5), overlap=(2, 2), scale_noise=0.1),
            losses=replace(unmatched, local=0.25, focal=0.0, sky=0.0, moving=0.0, scale=2.0),
            rate=RatePlan(peak=1e-3, warmup_steps=10, decay=0.8),
            trainable=("decoder.memory", "decoder.roles", "scale"),
            initial_gate=0.2,
        ),
        Stage(
            "refinement",
            steps=1500,
            clips=replace(windows, frames=(3, 4, 8), odds=(1.0, 1.5, 2.5), batch=2, ready=160, reuse=3.0),
            windows=WindowPlan(measured=True),
            losses=MEASURED_LOSSES,
            rate=RatePlan(peak=2e-3, warmup_steps=30, decay=0.7),
            trainable=("refinement",),
        ),
    )


def published_stages() -> tuple[Stage, ...]:
    """Stages 1 and 2 for `loger` and `loger-star`, from π³ weights."""
    first = ClipPlan(
        size=(280, 378),  # of validation
        pixels=(100_000, 255_000),
        rendered=48,
        frames=(48,),
        batch=1,
        lanes=32,
        pool=16,
        reuse=1.0,
    )
    second = replace(first, rendered=128, frames=(128,))
    rate = RatePlan(peak=5e-5, warmup_steps=500, shape="cosine", encoder=0.1)
    return (
        Stage("stage1", 25_000, first, WindowPlan(window=(12, 4), overlap=(3, 1)), LossWeights(), rate),
        Stage(
            "stage2",
            15_000,
            second,
            WindowPlan(window=(12, 8), overlap=(3, 2)),
            LossWeights(confidence=0.05),
            rate,
        ),
    )
