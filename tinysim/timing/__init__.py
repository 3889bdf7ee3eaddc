"""Prices Counts for a Core: what each key costs in cycles, and why."""
