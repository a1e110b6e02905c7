"""A job while it runs: its device, its log and progress, and in what ways it may end."""
