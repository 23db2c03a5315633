"""What a selection is written down as: the table of swaps, which a person may edit, and the log."""
