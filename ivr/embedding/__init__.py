"""Extracting, reordering and initialising embedding rows; stage `align`."""
