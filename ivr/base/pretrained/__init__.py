"""Pretrained models that come from a package registry, converted to model directories that transformers loads."""
