"""Options of the stages: declared once, read from the command line and from a file, checked, recorded."""
