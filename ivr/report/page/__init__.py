"""The pages: what they say as plain data, and the templates that make HTML of it."""
