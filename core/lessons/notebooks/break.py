"""The bench as it is walked through in a notebook: a piece for each step, begun by its name.

`core.import_export.lesson_notebooks` makes the notebook. It puts the step's words before each piece, and replaces the
piece's imports from `core.lessons` by their source. From top to bottom this is also a script that runs.
"""

# %% mask
import core.lessons.experiment_results
from core.lessons.experiments import EXPERIMENTS, make_pair
from core.lessons.paired_runs import train_pair
from core.paths import data_dir
from core.text.corpora import load_corpus

try:
    from IPython.display import Markdown, display
except ImportError:  # without Jupyter it is a script
    display, Markdown = print, str

STEPS = 200  # of training; the page takes 400
text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()


def break_it(name, steps=STEPS, **choices):
    """Train both twins on the same batches, and say what can be measured on them and what it shows."""
    pair = make_pair(EXPERIMENTS[name], text, steps=steps, choices=choices)
    *_, last = train_pair(pair)
    for twin, course in (("healthy", last.result.control), ("broken", last.result.treatment)):
        losses = f"training loss {course.train[-1]:.3f}, validation loss {course.val[-1]:.3f}"
        print(f"{twin:8} {losses} {course.stopped}")
        print(f"{'':8} validation loss on the way:", *(f"{loss:.2f}" for loss in course.val[::2]))
        print(f"{'':8} loss where it writes {course.writes_at:.3f}, first gradient {course.gradient:.2g}, ", end="")
        print(f"words of the text {course.words:.0%}, longest copy {course.copied} characters")
        print(f"{'':8} {course.sample[:100]!r}")
        for measure, value in course.extra.items():
            print(f"{'':8} {measure}: {value!r}")
    display(Markdown(core.lessons.experiment_results.explained(pair, last.result)))


break_it("mask")

# %% axis
break_it("axis")

# %% scaling
break_it("scaling")

# %% residual
break_it("residual")

# %% norm
break_it("norm")

# %% positions
break_it("positions")

# %% start
break_it("start")

# %% rate
break_it("rate")

# %% tiny
break_it("tiny", size=500)

# %% planted
break_it("planted", steps=2 * STEPS, phrase="The password is marmalade.", times=1000)

# %% letter
break_it("letter", letter="e")
