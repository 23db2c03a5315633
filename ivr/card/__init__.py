"""The model card: what the trained model is, what it was made of, what was measured, where it does not work."""
