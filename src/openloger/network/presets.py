"""The named networks: the published ones at their published size, and the small ones in the box."""

from __future__ import annotations

from dataclasses import replace

from openloger.errors import InputError
from openloger.memory.hybrid import MemoryConfig
from openloger.network.decoder import DecoderConfig
from openloger.network.dense import DenseHeadsConfig
from openloger.network.efficientnet import EfficientNetConfig
from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.network.network import NetworkConfig
from openloger.network.pi3x import Pi3XConfig
from openloger.network.refinement import RefinementConfig


def loger() -> NetworkConfig:
    """LoGeR (arXiv 2603.03269): windows share one frame through memory alone."""
    return NetworkConfig(
        name="loger",
        encoder=EncoderConfig(width=1024, depth=24, heads=16),
        decoder=DecoderConfig(width=1024, depth=36, heads=16),
        heads=HeadsConfig(width=1024, depth=5, heads=16, output_width=1024, camera_width=512),
        memory=MemoryConfig(ttt_after=tuple(range(0, 36, 2)), swa_after=(10, 18, 26, 34), ttt_head_dim=512),
        max_pixels=255_000,
        window=32,
        overlap=3,
        placement="none",
        reset_every=5,
    )


def loger_star() -> NetworkConfig:
    """LoGeR*: no norm before TTT, and windows chained rigidly over their overlap."""
    base = loger()
    assert base.memory is not None
    return replace(base, name="loger-star", memory=replace(base.memory, ttt_pre_norm=False), placement="se3")


def pi3() -> NetworkConfig:
    """π³ (arXiv 2507.13347): the same network without memory; windows are chained by similarity."""
    return replace(loger(), name="pi3", memory=None, placement="sim3", reset_every=None)


def pi3x() -> NetworkConfig:
    """π³ with the π³X heads."""
    return with_pi3x_heads(replace(pi3(), name="pi3x"))


def compact() -> NetworkConfig:
    """The model in the box: pretrained convolutional features, small enough for a laptop's CPU."""
    return NetworkConfig(
        name="compact",
        encoder=EfficientNetConfig(),
        decoder=DecoderConfig(width=192, depth=4, heads=6, registers=2, layer_scale=1.0),
        heads=DenseHeadsConfig(),
        memory=MemoryConfig(ttt_after=(1, 2), swa_after=(2,), ttt_head_dim=64, mlp_ratio=2),
        max_pixels=120 * 16**2,
        window=8,
        overlap=2,
        placement="se3",
        camera="geometric",
        keyframes="auto",
        refinement=RefinementConfig(),
    )


def pocket() -> NetworkConfig:
    """A network that two CPU cores can train: coarse depth and a camera path; the fast preset of the tests."""
    return NetworkConfig(
        name="pocket",
        encoder=EncoderConfig(width=128, depth=2, heads=4, patch=8, registers=1, position_grid=10, layer_scale=1.0),
        decoder=DecoderConfig(width=128, depth=4, heads=4, registers=2, layer_scale=1.0),
        heads=HeadsConfig(width=96, depth=1, heads=3, output_width=96, camera_width=96),
        memory=MemoryConfig(ttt_after=(1,), swa_after=(3,), ttt_head_dim=64, mlp_ratio=2),
        max_pixels=64 * 80,
        window=8,
        overlap=2,
        placement="se3",
    )


PRESETS = {"loger": loger, "loger-star": loger_star, "pi3": pi3, "pi3x": pi3x, "compact": compact, "pocket": pocket}


def preset(name: str) -> NetworkConfig:
    """The configuration of a named network; raises InputError for a name that is none."""
    if name not in PRESETS:
        raise InputError(f"there is no network {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]()


def with_pi3x_heads(config: NetworkConfig) -> NetworkConfig:
    """The same network with the convolutional point head and the metric scale of π³X."""
    return replace(config, heads=replace(config.heads, pi3x=Pi3XConfig()))
