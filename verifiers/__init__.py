"""Verifiers: adapters that turn a judgement into one verb, answers in and as many scores out."""
