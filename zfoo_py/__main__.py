"""``python -m zfoo_py``: the command line, without the script that an installation puts into PATH."""

import sys

from zfoo_py.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
