"""Text-to-image pipelines of diffusers: where they lie, what each family wants, and one loaded copy in a process."""
