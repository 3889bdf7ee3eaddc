"""Renode as an engine: found, started headless, driven through its robot server, its block counts brought home."""
