"""Curves: what a finished pool of samples says about coverage, selection and cost, as pure functions."""
