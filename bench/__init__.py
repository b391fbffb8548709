"""Measurements: ratios in one run, printed as JSON. Never a test."""
