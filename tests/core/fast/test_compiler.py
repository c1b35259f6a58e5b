"""What a process of its own does: the tests' own process checks shapes and has imported torch's compiler."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
POSTPONED = """
import inspect, sys
import torch
from core.config import ModelConfig, RunConfig, TrainConfig
from core.interpretability.attention import over_heads
from core.interpretability.token_losses import next_token_losses
from core.model import GPT
from core.model.layers import Dropout
from core.training.trainer import Trainer
from core.training.work import work_per_token

def course_of_losses():
    config = RunConfig(
        model=ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=8),
        train=TrainConfig(steps=4, batch_size=2, eval_windows=2, optimizer="muon", precision="float32", device="cpu"),
    )
    ids = torch.arange(96) % 7
    return [event.loss for event in Trainer(config, ids, ids, vocab_size=7).events() if hasattr(event, "loss")]

assert "beartype" not in sys.modules
assert next_token_losses(torch.zeros(2, 3, 5), torch.zeros(6, dtype=torch.int64)).shape[0] == 6, "shapes are checked"
assert not any(hasattr(function, "__wrapped__") for function in (GPT.forward, over_heads))

postponed = course_of_losses()
work_per_token(ModelConfig(n_layer=2), 65)
inspect.getmodule(torch.nn.Linear)  # looks through all modules
assert "torch._dynamo.eval_frame" not in sys.modules, "training has imported torch's compiler"

torch.manual_seed(0)
blanked = (torch.compile(Dropout(0.25), backend="eager")(torch.ones(40_000)) == 0).float().mean()
assert abs(blanked - 0.25) < 0.01 and "torch._dynamo.eval_frame" in sys.modules
import torch._dynamo.config  # is the real one now
assert course_of_losses() == postponed and len(postponed) > 1
assert vars(torch.optim.Optimizer.add_param_group.__wrapped__)["__dynamo_disable"] is not (
    torch.optim.Optimizer.add_param_group.__wrapped__
), "is not marked for the compiler"
"""


def test_outside_tests_no_shape_is_checked_and_training_does_not_import_torchs_compiler():
    done = subprocess.run([sys.executable, "-c", POSTPONED], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
