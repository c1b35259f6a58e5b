"""Serve the app with lessons that train for fewer steps; unit tests check what their models learn."""

import sys

from explorer.__main__ import main  # first: it sets environment variables before torch is imported

from core.lessons import equal_compute, paired_runs, quick_train  # isort: skip
from explorer.learn.bigram import training

quick_train.STEPS, quick_train.RUNG_STEPS, equal_compute.STEPS = 20, 10, 4
paired_runs._WINDOWS, paired_runs._SAMPLE = 60, 60
quick_train._EVAL_WINDOWS, equal_compute._FINAL_WINDOWS, paired_runs._COURSE_WINDOWS = 8, 8, 8
training.TRAINING_STEPS = 500

if __name__ == "__main__":
    sys.exit(main())
