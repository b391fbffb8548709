"""Everything that knows HTTP, Redis, SQL or a disk."""
