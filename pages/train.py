"""Train: choose and start a run, then watch it learn."""

from explorer.train.dashboard import draw_board
from explorer.train.setup import draw_setup, open_started_run
from explorer.widgets.address import RUN, parameter
from explorer.widgets.drafts import begun_run_is_drawn, stay_with_begun_run

open_started_run()
stay_with_begun_run()
run_id = parameter(RUN)
if run_id is None:
    draw_setup()
else:
    draw_board(run_id)
    begun_run_is_drawn()
