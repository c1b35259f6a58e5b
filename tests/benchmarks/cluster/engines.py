"""Compare a Ray cluster on this machine with local workers, and two processes of a run with one of two threads."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist

from core.config import ModelConfig, RunConfig, TrainConfig
from core.fast.threads import keep_freed_memory
from core.runs.engines.engine import Engine, LocalEngine
from core.runs.engines.ray_engine import RayEngine
from core.runs.folder import RunFolder
from core.runs.processes import ProcessId, kill
from core.runs.supervisor import Supervisor
from core.training.data_parallel import JoinedProcesses
from core.training.trainer import Trainer

MODELS = {  # with how many steps are taken in a row
    "4/4/128": (ModelConfig(), TrainConfig(batch_size=12, eval_windows=1), 20),
    "6/6/384": (ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256), TrainConfig(batch_size=8), 2),
}
SECONDS = 30.0  # for each model
STEPS = 600  # of a run in an engine


def measure() -> dict[str, float]:
    """Return seconds to the first loss, steps a second, and seconds from a worker's death to the next one's step."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "memory": 2**30, **small})
    cluster.add_node(num_cpus=1, memory=2 * 2**30, object_store_memory=80 * 2**20)
    figures = {}
    for name, engine in (("local", LocalEngine()), ("Ray", RayEngine(cluster.address))):
        with tempfile.TemporaryDirectory() as folder:
            figures |= {f"{name}: {what}": figure for what, figure in _times(engine, Path(folder)).items()}
        engine.close()
    cluster.shutdown()
    return figures


def _times(engine: Engine, data_dir: Path) -> dict[str, float]:
    app = Supervisor(data_dir, engine=engine)
    app.start()
    engine.hosts()
    time.sleep(8)  # until the process that forks workers, or the broker, is ready
    config = RunConfig().replace(
        {"train.steps": 100_000, "train.checkpoint_interval": 100, "train.precision": "float32"}
    )
    run, began = RunFolder.create(data_dir, config), time.monotonic()
    app.submit(run)
    first = _wait(lambda: run.status().val_loss is not None) - began
    _wait(lambda: run.status().step >= 200)
    since, step = time.monotonic(), run.status().step
    rate = STEPS / (_wait(lambda: run.status().step - step >= STEPS) - since)
    before = run.read_status()
    assert before.pid is not None
    killed = time.monotonic()
    kill(ProcessId(before.pid, before.pid_started or 0.0))
    again = _wait(lambda: run.status().attempt == 2 and run.status().state == "running") - killed
    app.delete(run)
    app.close()
    return {"seconds to the first loss": first, "steps a second": rate, "seconds to go on after a death": again}


def _wait(condition: Callable[[], bool]) -> float:
    while not condition():
        time.sleep(0.02)
    return time.monotonic()


def measure_processes() -> dict[str, float]:
    """Return thousands of tokens a second of two processes with a thread each, and of one with two, in turn."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        follower = subprocess.Popen([sys.executable, "-m", __spec__.name, store])
        group = JoinedProcesses(dist.FileStore(store, 2), 0, 2, "cpu")
        together, alone = _trainers(2, group), _trainers(1)
        figures = {}
        for name, (model, train, row) in MODELS.items():
            seconds: dict[int, list[float]] = {1: [], 2: []}
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                group.announce(name, row)
                for processes, trainer in ((2, together[name]), (1, alone[name])):
                    torch.set_num_threads(3 - processes)
                    seconds[processes] += [trainer.train_step().seconds for _ in range(row)]
            for processes, each in seconds.items():
                rate = train.batch_size * model.block_size / median(each) / 1000
                figures[f"{name}: {processes} x {3 - processes} threads, thousand tokens/s"] = rate
        group.end()
        follower.wait()
    return figures


def _trainers(processes: int, group: JoinedProcesses | None = None) -> dict[str, Trainer]:
    ids, trainers = torch.arange(20_000) * 7919 % 65, {}
    for name, (model, train, _row) in MODELS.items():
        config = RunConfig(model=model, train=train.replace({"processes": processes}))
        trainers[name] = Trainer(config, ids, ids, 65)
        trainers[name].group = group or trainers[name].group
    return trainers


def _follow(store: str) -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    group = JoinedProcesses(dist.FileStore(store, 2), 1, 2, "cpu")
    trainers = _trainers(2, group)
    while announced := group.announcement():
        for _ in range(announced[1]):
            group.announcement()
            trainers[announced[0]].train_step()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _follow(sys.argv[1])
    else:
        for name, figure in (measure_processes() | measure()).items():
            print(f"{name}: {figure:.2f}", flush=True)
