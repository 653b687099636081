"""Shapes are checked while the tests run; the core is deterministic on two threads."""

from jaxtyping import install_import_hook

install_import_hook("openloger", "beartype.beartype")
