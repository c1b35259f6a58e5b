"""The command line: `python -m core train`, `resume`, `generate` and more, and the worker behind the app."""

import os
import sys

# How long torch's threads spin while they wait for each other before they go to sleep. By default without end, which
# beside a browser on two cores makes training twenty times slower; never at all costs a sixth of the speed on a quiet
# machine. Read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from core.cli import main

if __name__ == "__main__":
    sys.exit(main())
