"""OpenAI's doors: their requests become jobs, and what the jobs select their replies."""
