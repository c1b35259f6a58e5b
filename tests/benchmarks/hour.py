"""Simulate an hour of streaming without waiting: `python -m tests.benchmarks.hour HOME TICKS WATCHERS`.

Prints lines of "hour of the simulated time, megabytes of this process".
"""

import asyncio
import gc
import sys
from pathlib import Path

import psutil

from core.runs.folder import RunFolder
from explorer.streaming import broadcaster as streams
from tests.long_runs import add_rows, long_run, write_picture

ROWS_A_TICK = 5
STAY = 300  # ticks after which a watcher leaves and another comes


async def hour(data_dir: Path, ticks: int, watchers: int) -> None:
    streams.TICK = 0.0
    run = long_run(data_dir, 20_000)
    broadcaster, process = streams.Broadcaster(), psutil.Process()
    places = [asyncio.create_task(_come_and_go(broadcaster, run)) for _ in range(watchers)]
    gc.collect()
    gc.freeze()  # as the server does
    for tick in range(ticks):
        if tick % STAY == 0:
            places.pop(0).cancel()
            places.append(asyncio.create_task(_come_and_go(broadcaster, run)))
        add_rows(run, 20_000 + tick * ROWS_A_TICK, ROWS_A_TICK)
        if tick % 2 == 0:
            write_picture(run, tick)
        size = run.metrics_path.stat().st_size
        while (
            (broadcast := broadcaster._broadcasts.get(run.path)) is None
            or not broadcast.position
            or broadcast.position.metrics.offset < size
        ):
            await asyncio.sleep(0.001)  # until the server has looked
        if tick % (ticks // 120) == 0:
            gc.collect()
            print(tick / ticks, process.memory_info().rss / 2**20, flush=True)
    for place in places:
        place.cancel()


async def _come_and_go(broadcaster: streams.Broadcaster, run: RunFolder) -> None:
    async for _ in broadcaster.watch(run):
        pass


if __name__ == "__main__":
    asyncio.run(hour(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
