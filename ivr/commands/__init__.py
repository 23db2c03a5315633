"""Commands that are no stage of a run: they look, and write nothing."""
