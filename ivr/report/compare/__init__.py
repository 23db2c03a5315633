"""Several runs on one page, and their table for a paper."""
