"""Scripts that made the committed weights; nothing here is imported by the service."""
