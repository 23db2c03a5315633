"""Counting pretokens and tokens; stage `analyze`."""
