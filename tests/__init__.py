"""The tests; this file makes `tests.` name this folder and no other of that name."""
