"""Patterns of pre-tokenizers as programs over classes of characters, and the compiled machine that runs them."""
