"""Transformer blocks, attention, rotary positions: what network and memory are made of."""
