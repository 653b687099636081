"""A whole run as one typed value, from a preset's name or a TOML file; a key that is not known is an error."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openloger.errors import InputError
from openloger.training.curriculum import DatasetPlan, Stage, compact_stages, pocket_stages, published_stages

_MOST_BYTES = 1 << 24  # of a TOML file


@dataclass(frozen=True)
class OptimiserConfig:
    """Optimiser settings."""

    kind: str = "adamw"  # "adamw" | "muon": Muon for the matrices, AdamW for the rest
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    clip: float = 1.0  # gradient norm
    ema: float = 0.999
    muon_rate: float = 20.0  # Muon's learning rate, as a multiple of AdamW's

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon"):
            raise InputError(f"optimiser: kind is {self.kind!r}; it is adamw or muon")


@dataclass(frozen=True)
class ValidationConfig:
    """Validation settings; its seeds are never trained on."""

    every: int = 500  # steps; 0: never
    clips: int = 64  # a family
    frames: int = 2
    paths: int = 4  # of them, whose whole clip is run as a chain of windows
    most_frames: int = 4096  # rendered for it, whatever `clips` is: long clips are fewer, one a family at least
    datasets: tuple[DatasetPlan, ...] = ()  # each is scored as a family more; no sequence of it may be trained on
    pictures: int = 4  # clips of all families drawn into a picture, where pillow is installed


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns."""

    preset: str
    stages: tuple[Stage, ...]
    seed: int = 0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    precision: str = "float32"  # "float32" | "bfloat16": autocast of the network, its heads stay in float32 | "auto"
    compile: bool = False  # torch.compile a block
    parallel: str = "ddp"  # among torchrun's processes: "ddp" | "fsdp" (FSDP2, sharded weights)
    shard_over: int = 0  # of fsdp: processes that share one copy of the weights, as those of a node (HSDP); 0: all
    context_parallel: int = 1  # processes that share the frames of every window; lanes go to so many together
    recompute: bool = False  # activation checkpointing a block
    render_workers: int = 1  # processes that render ahead; 0: render in this one
    render_device: str = "cpu"  # of worlds: "cpu" | "cuda", the card of each training process
    render_compiled: bool = False  # worlds by fused kernels, equal up to rounding; compiled at first, for minutes
    queue_gb: float = 16.0  # of each training process: 10⁹ bytes that rendered clips may take while they wait
    log_every: int = 20
    save_every: int = 500
    keep_every: int = 0  # checkpoints of the steps that are a multiple of it stay for ever; 0: the last two alone
    small_state: bool = False  # checkpoints of about five bytes a weight, which go on nearly alike

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16", "auto"):
            raise InputError(f"precision is {self.precision!r}; it is float32, bfloat16 or auto")
        if self.parallel not in ("ddp", "fsdp"):
            raise InputError(f"parallel is {self.parallel!r}; it is ddp or fsdp")
        if self.render_device not in ("cpu", "cuda"):
            raise InputError(f"render_device is {self.render_device!r}; it is cpu or cuda")
        if min(self.shard_over, self.keep_every) < 0 or self.queue_gb <= 0:
            raise InputError("shard_over and keep_every are 0 or more, queue_gb is more than 0")
        if self.context_parallel < 1:
            raise InputError(f"context_parallel is {self.context_parallel}; it is 1 or more processes")

    def stage(self, name: str) -> Stage:
        """The stage of this name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = ", ".join(stage.name for stage in self.stages)
        raise InputError(f"no stage {name!r} in this run; it has {known}")


def recipe(preset: str) -> TrainConfig:
    """The run that is known to work for a preset."""
    if preset == "pocket":
        return TrainConfig(
            "pocket", pocket_stages(), optimiser=OptimiserConfig(kind="muon", clip=4.0, ema=0.995), precision="auto"
        )
    if preset == "compact":
        return TrainConfig(
            "compact",
            compact_stages(),
            seed=1,
            optimiser=OptimiserConfig(clip=3.0, ema=0.995),
            validation=ValidationConfig(clips=24, every=500),
            log_every=10,
            save_every=100,
        )
    if preset in ("loger", "loger-star"):
        return TrainConfig(preset, published_stages(), precision="bfloat16", recompute=True)
    raise InputError(f"no training recipe for {preset!r}; there is one for pocket, compact, loger and loger-star")


def load_config(preset_or_toml: str | Path) -> TrainConfig:
    """A recipe by name, or a TOML file; what the file leaves out comes from its `preset`'s recipe.

    Raises:
        InputError: no such file or recipe, an unknown key, or a value of the wrong type.
    """
    path = Path(preset_or_toml)
    if path.suffix != ".toml":
        return recipe(str(preset_or_toml))
    if not path.is_file():
        raise InputError(f"no training config at {path}")
    table = _read_toml(path)
    if not isinstance(table.get("preset"), str):
        raise InputError(f"{path}: `preset` is missing; name the network to train, e.g. preset = 'pocket'")
    try:
        return typing.cast(TrainConfig, _overlay(recipe(table["preset"]), table, ""))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def as_dict(config: TrainConfig) -> dict[str, typing.Any]:
    """The config in plain JSON values, to keep beside a run."""
    return dataclasses.asdict(config)


def _read_toml(path: Path) -> dict[str, typing.Any]:
    try:
        import tomllib  # pyright: ignore[reportMissingImports]
    except ImportError:
        try:
            import tomli as tomllib  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise InputError(f"{path}: reading TOML needs Python 3.11, or `pip install tomli` on 3.10") from None
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise InputError(f"{path} has {size / 1e6:.0f} MB, as no training config has; give the TOML file of a run")
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text, from byte {error.start} on; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None


def _overlay(base: typing.Any, table: Mapping[str, typing.Any], where: str) -> typing.Any:
    hints = typing.get_type_hints(type(base))
    _refuse_unknown(table, hints, where)
    changes = {key: _convert(value, hints[key], f"{where}{key}", getattr(base, key)) for key, value in table.items()}
    return dataclasses.replace(base, **changes)


def _create(kind: type, table: Mapping[str, typing.Any], where: str) -> typing.Any:
    hints = typing.get_type_hints(kind)
    _refuse_unknown(table, hints, where)
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in table]
    if missing:
        raise InputError(f"{where}{missing[0]} is missing")
    return kind(**{key: _convert(value, hints[key], f"{where}{key}", None) for key, value in table.items()})


def _refuse_unknown(table: Mapping[str, typing.Any], hints: Mapping[str, typing.Any], where: str) -> None:
    for key in table:
        if key not in hints:
            raise InputError(f"unknown key `{where}{key}`; known here: {', '.join(hints)}")


def _convert(value: typing.Any, hint: typing.Any, where: str, base: typing.Any) -> typing.Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"`{where}` is {value!r}; it is a table")
        return _overlay(base, value, f"{where}.") if base is not None else _create(hint, value, f"{where}.")  # type: ignore[arg-type]
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(value, typing.get_args(hint), where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and bool not in (hint, *typing.get_args(hint))):
        raise InputError(f"`{where}` is {value!r}; it is a {getattr(hint, '__name__', hint)}")
    return value


def _convert_tuple(value: typing.Any, kinds: tuple[typing.Any, ...], where: str) -> tuple[typing.Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"`{where}` is {value!r}; it is a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise InputError(f"`{where}` has {len(value)} entries; it has {len(kinds)}")
    return tuple(_convert(v, kind, f"{where}[{i}]", None) for i, (v, kind) in enumerate(zip(value, kinds, strict=True)))
