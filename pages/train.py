"""Train: choose and start a run, then watch it learn."""

from explorer import service
from explorer.state import run_on_view, stay_with_begun_run
from explorer.train_board import draw_board
from explorer.train_setup import draw_setup
from explorer.train_still import draw_still_board

stay_with_begun_run()
run_id = run_on_view()
if run_id is None:
    draw_setup()
elif service.live_streams():
    draw_board(run_id)
else:
    draw_still_board(run_id)
