"""The stages that write score files: of attacks that only read answers, and of attacks that learn."""
