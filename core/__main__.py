"""The command line: `python -m core train`, `resume`, `generate` and more, and the worker of the app."""

import os
import sys

# How long torch's threads spin while they wait for each other. By default without end, which makes training twenty
# times slower next to a browser on two cores; no spinning costs a sixth of the speed on an idle machine. Read when
# torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from core.cli import main

if __name__ == "__main__":
    sys.exit(main())
