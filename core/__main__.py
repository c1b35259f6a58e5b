"""The command line: `python -m core train`, `resume`, `generate` and more, and the worker behind the app."""

import os
import sys

# Torch's threads spin while they wait for each other; beside a browser on few cores that made training ten times
# slower (18 steps a second of gpt-quick against 2). Asleep they wait as well. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from core.commands import main

if __name__ == "__main__":
    sys.exit(main())
