"""Learn: the lecture's ladder as lessons that run."""

from core.errors import ExplorerError
from explorer import state
from explorer.language import language
from explorer.lessons.choose_text import choose_text, read_text
from explorer.lessons.frame import draw_step, lesson_head
from explorer.lessons.lab import Lab
from explorer.lessons.overview import draw_glossary, draw_overview
from explorer.lessons.shelf import lessons, steps_of
from explorer.ui import page_style, show_error

page_style()
lesson, asked = state.lesson_on_view()

if lesson == "glossary":
    draw_glossary(language(), asked)
elif lesson not in lessons():
    draw_overview(language())
else:
    steps = steps_of(lesson)
    step = asked if asked in steps else next(iter(steps))
    try:
        head = lesson_head()
        with head.text:
            corpus = choose_text(language())
        draw_step(Lab(lesson, step, *read_text(corpus), language()), steps, head)
    except ExplorerError as error:
        show_error(error)
