"""The command line: `python -m core train`, `resume`, `generate`, `corpora`, `presets`, and the worker behind the app."""

import sys

from core.commands import main

if __name__ == "__main__":
    sys.exit(main())
