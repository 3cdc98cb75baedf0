"""Bytes ↔ packets: sans-IO, tested by calling it (no socket, loop or thread)."""
