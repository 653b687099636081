"""The hybrid memory: sliding-window attention for neighbours, test-time training for the whole video."""

from openloger.network.memory.hybrid import MEMORY_KINDS, HybridMemory, MemoryConfig

__all__ = ["MEMORY_KINDS", "HybridMemory", "MemoryConfig"]
