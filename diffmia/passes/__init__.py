"""Passes: what attacks ask of a target about every sample, in shards that resume, kept as a table."""
