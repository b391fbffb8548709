"""The search engine: numpy and pydantic only. Networks, queues and databases live above it."""
