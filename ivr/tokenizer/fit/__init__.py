"""Fitting merge weights to text and to strings likely to differ."""
