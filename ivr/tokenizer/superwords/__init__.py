"""Superwords: new tokens that span several pretokens. What one may hold, where it is placed, what it saves."""
