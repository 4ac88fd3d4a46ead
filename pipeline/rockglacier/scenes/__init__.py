"""Which scenes are used, with what offset, and why."""
