"""Presets with a block of each kind: of more of them a cut loses no more, and processes share no less."""

from dataclasses import replace

from openloger.network import NetworkConfig
from openloger.network.encoder import EncoderConfig
from openloger.training.rehearse import small_shape


def shallow(name: str) -> NetworkConfig:
    """`small_shape` with an encoder of one block, a decoder of two, and a layer of each kind of memory."""
    shape = small_shape(name)
    encoder = replace(shape.encoder, depth=1) if isinstance(shape.encoder, EncoderConfig) else shape.encoder
    memory = None if shape.memory is None else replace(shape.memory, ttt_after=(0,), swa_after=(1,))
    return replace(shape, encoder=encoder, decoder=replace(shape.decoder, depth=2), memory=memory)
