"""`python -m explorer` whose lessons train for fewer steps: what their models learn is tested with the computations."""

import sys

from explorer.__main__ import main  # first: it sets what must be set before torch is imported

from core.lessons import quick_train  # isort: skip

quick_train.STEPS, quick_train.RUNG_STEPS = 60, 30

if __name__ == "__main__":
    sys.exit(main())
