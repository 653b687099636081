"""Networks that are small enough to be traced in a test, and their export by the program, in a process of its own.

The checks of shapes that run with the tests would fix every free size while a network is traced.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace

import torch

from openloger.memory import MemoryConfig
from openloger.network import Network, NetworkConfig, save_network, with_pi3x_heads
from openloger.network.decoder import DecoderConfig
from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.outputs import FileLock

WINDOW, OVERLAP, PATCH = 5, 2, 14


def small_config(name):
    """ "loger": the layers of LoGeR, with all kinds of memory; "pi3" and "pi3x": of π³, none but the features."""
    config = NetworkConfig(
        name=name,
        encoder=EncoderConfig(width=16, depth=1, heads=2, patch=PATCH, layer_scale=1.0, position_grid=7),
        decoder=DecoderConfig(width=16, depth=2, heads=2, registers=2, layer_scale=1.0),
        heads=HeadsConfig(width=16, depth=1, heads=2, output_width=16, camera_width=16),
        memory=MemoryConfig(ttt_after=(0,), swa_after=(1,), ttt_head_dim=8, mlp_ratio=2),
        max_pixels=20 * PATCH**2,
        window=WINDOW,
        overlap=OVERLAP,
        placement="se3",
    )
    if name == "loger":
        return config
    config = replace(config, memory=None)
    return with_pi3x_heads(config) if name == "pi3x" else config


def save_small(name, path):
    """Random weights, and gates of the memory open."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(small_config(name))
        for layer in (*network.decoder.memory.ttt, *network.decoder.memory.swa) if network.decoder.memory else ():
            torch.nn.init.normal_(layer.gate.weight, std=0.2)
            torch.nn.init.ones_(layer.gate.bias)
    save_network(network, path)
    return path


def export_small(home, name, to="onnx"):
    """The weights file and the exported folder of a small network, to be read alone: the first that asks writes them.

    Workers that share `home` wait for each other: an export takes a minute of processor time.
    """
    weights, folder = home / f"{name}-{to}.safetensors", home / f"{name}-{to}"
    lock = wait_for_lock(home / f"{name}-{to}.lock")
    try:
        if not folder.is_dir():  # it is put in place whole
            save_small(name, weights)
            done = run("export-network", name, "--weights", weights, "--to", to, "--out", folder)
            assert done.returncode == 0, done.stderr
    finally:
        lock.release()
    return weights, folder


def wait_for_lock(path):
    while True:
        try:
            return FileLock(path)
        except BlockingIOError:
            time.sleep(0.1)


def run(*arguments, **options):
    """The program, in a process of its own."""
    command = [sys.executable, "-m", "openloger", *map(str, arguments)]
    environment = os.environ | {"PYTHONWARNINGS": "default"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)
