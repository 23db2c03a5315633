"""Packing, fine-tuning and bits per byte; stages `train`, `evaluate`."""
