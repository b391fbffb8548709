"""Adapters: a network becomes a few verbs over blocks of rows."""
