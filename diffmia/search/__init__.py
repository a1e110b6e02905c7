"""The heart: questions about a sample, and the searches of its noise that answer them. No files, no config."""
