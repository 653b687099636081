"""The browser viewer: the viser server, its nodes and its controls."""
