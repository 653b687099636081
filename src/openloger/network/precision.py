"""Which type a network multiplies in: bfloat16 where the device has instructions for it.

On a CPU that is what a calibration (`kernels`) begins with, as such instructions may still be slow.
"""

from __future__ import annotations

import torch

from openloger.errors import InputError

_DTYPES = {
    ("float32", "fp32"): torch.float32,
    ("bfloat16", "bf16"): torch.bfloat16,
    ("float16", "fp16"): torch.float16,
}


DEFAULT_NAMES = ("float32", "bfloat16", "float16")  # of what "auto" can stand for


def resolve_dtype(dtype: torch.dtype | str, device: torch.device) -> torch.dtype:
    """The precision of the transformers: "auto", a name ("float32", "fp16", "bf16", …) or a torch dtype.

    "auto" is bfloat16 where `multiplies_bfloat16`, float16 on other CUDA cards, and float32 elsewhere.
    """
    if dtype == "auto":
        if multiplies_bfloat16(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    for names, known in _DTYPES.items():
        if dtype == known or dtype in names:
            return known
    raise InputError(f"dtype {str(dtype)!r} is none of auto, {', '.join(name for names in _DTYPES for name in names)}")


def training_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The same for the autocast of training, whose gradients float16 is too narrow for: float32 instead."""
    resolved = resolve_dtype(dtype, device)
    return torch.float32 if resolved == torch.float16 else resolved


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it that torch uses; without them it is far slower than float32.

    torch multiplies by AVX2 alone on CPUs without AVX-512, and where `ATEN_CPU_CAPABILITY` says so.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX", "AVX2"):
            return False
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False
