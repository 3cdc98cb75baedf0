"""The command line, ``zfoo-py``: one file per command; `main` joins them."""
