"""The hybrid memory: sliding-window attention for neighbours, test-time training for the whole video."""

from openloger.network.memory.hybrid import HybridMemory, MemoryConfig

__all__ = ["HybridMemory", "MemoryConfig"]
