"""What the command `diffmia` does, a file for each of its verbs."""
