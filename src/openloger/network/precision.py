"""Which type a run multiplies in: bfloat16 where that is fast, with weights that stay float32."""

from __future__ import annotations

import torch


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type of that name; "auto" is bfloat16 where `multiplies_bfloat16`, float32 elsewhere."""
    if precision == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it; without them it is far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False
