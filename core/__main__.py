"""The command line: `python -m core train`, `resume`, `generate` and more, and the app's worker."""

import os
import sys

# How long torch's threads spin while they wait for each other. By default they never stop, which makes training twenty
# times slower next to a browser on two cores; without spinning an idle machine loses a sixth of its speed. The variable
# is read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from core.cli import main

if __name__ == "__main__":
    sys.exit(main())
