"""Learn: the lecture's ladder as interactive lessons."""

from functools import partial

from core.lessons.lesson_text import load_prose, word
from explorer.i18n.language import _, language
from explorer.learn.lessons import draw_glossary, draw_overview, lessons, steps_of
from explorer.learn.steps import draw_step
from explorer.widgets import address, lesson_links
from explorer.widgets.invalid_links import end_absent, quoted_part
from explorer.widgets.layout import errors_shown, page_header

lesson, linked_step = address.parameter(address.LESSON), address.parameter(address.STEP)

if lesson == "glossary":
    draw_glossary(language(), linked_step)
elif lesson is None:
    draw_overview(language())
elif lesson not in lessons():
    page_header(word("lessons", language()))
    end_absent(
        _("There is no lesson {lesson}. Perhaps the link is misspelled.", lesson=quoted_part(lesson)),
        _("All lessons"),
        partial(lesson_links.view_lesson, None),
    )
else:
    steps = steps_of(lesson)
    step = linked_step or next(iter(steps))
    if step not in steps:
        page_header(word("lessons", language()))
        end_absent(
            _(
                "The lesson “{title}” has no step {step}. Perhaps the link is misspelled.",
                title=load_prose(lesson, "lesson", language()).title, step=quoted_part(step),
            ),
            _("Start this lesson"),
            partial(lesson_links.view_lesson, lesson, next(iter(steps))),
        )  # fmt: skip
    with errors_shown():
        draw_step(lesson, step, steps, language())
