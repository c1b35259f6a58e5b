"""The code of the notebook "Breaking a GPT" by step; the other steps call `break_it`. It is also a script."""

# %% mask
import core.lessons.experiment_results
from core.lessons.experiments import EXPERIMENTS
from core.lessons.paired_runs import make_pair, train_pair
from core.paths import data_dir
from core.text.corpora import load_corpus

try:
    from IPython.display import Markdown, display
except ImportError:  # without Jupyter it is a script
    display, Markdown = print, str

STEPS = 200  # of training; the page takes 400
text = load_corpus("shakespeare", data_dir())[:200_000]  # or your own: open("my_diary.txt", encoding="utf-8").read()


def break_it(name, steps=STEPS, **choices):
    """Train the control and the broken model on the same batches, and print their measurements."""
    pair = make_pair(EXPERIMENTS[name], text, steps=steps, choices=choices)
    *_, last = train_pair(pair)
    for model, course in (("control", last.result.control), ("broken", last.result.treatment)):
        losses = f"training loss {course.train[-1]:.3f}, validation loss {course.val[-1]:.3f}"
        print(f"{model:8} {losses} {course.stopped}")
        print(f"{'':8} validation loss during training:", *(f"{loss:.2f}" for loss in course.val[::2]))
        print(f"{'':8} loss at the last position {course.last_position_loss:.3f}, ", end="")
        print(f"first gradient {course.gradient:.2g}, ", end="")
        print(f"words of the text {course.words:.0%}, longest copy {course.copied} characters")
        print(f"{'':8} {course.sample[:100]!r}")
        for measure, value in course.extra.items():
            print(f"{'':8} {measure}: {value!r}")
    display(Markdown(core.lessons.experiment_results.explanation_markdown(pair, last.result)))


break_it("mask")

# %% planted
break_it("planted", steps=2 * STEPS, phrase="The password is marmalade.", times=1000)
