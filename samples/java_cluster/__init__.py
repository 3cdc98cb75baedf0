"""A provider and a consumer in Python, as members of a cluster of Java zfoo; README.md goes through it."""
