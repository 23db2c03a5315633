"""Bits per byte and what models write, on text that was held out; stage `evaluate`."""
