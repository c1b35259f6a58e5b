import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from core.cli import main
from core.config import ModelConfig, RunConfig, TrainConfig
from core.errors import ExplorerError
from core.import_export.external_weights import tokenizer_files
from core.runs.ancestry import fork
from core.runs.folder import RunFolder
from core.runs.model_files import export_hugging_face, export_nanogpt, import_model
from core.runs.supervisor import Supervisor
from core.runs.weights import load_model
from core.runs.worker import train_run
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.own_text import save_text
from explorer.streaming.generation import written_tokens
from tests.core.import_export.conftest import TEXT, bpe_folder, gpt2_folder, theirs  # noqa: F401 - fixtures


@pytest.fixture
def run(tmp_path):
    """A real run with a GPT-2-compatible model on an own text."""
    corpus = save_text(TEXT * 20, "To be", tmp_path)
    config = RunConfig(
        model=ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=8),
        train=TrainConfig(
            steps=3,
            batch_size=2,
            eval_windows=2,
            sample_length=3,
            warmup_steps=0,
            precision="float32",  # avoids measuring the machine
        ),
    ).replace({"data.corpus": corpus.name})
    folder = RunFolder.create(tmp_path, config)
    train_run(folder, tmp_path)
    return folder


def logits(model):
    with torch.no_grad():
        return model(torch.arange(8)[None])[0]


def test_an_imported_gpt2_generates_text_and_its_fork_trains(gpt2_folder, tmp_path):  # noqa: F811
    corpus = save_text(TEXT * 40, "To be", tmp_path).name
    imported = import_model(tmp_path, gpt2_folder, corpus)
    assert imported.status().state == "finished"
    assert imported.record().origin == "imported from small-gpt2, in Hugging Face's format"
    model, tokenizer, _ = load_model(imported)
    words = [token.id for token in generate(model, tokenizer.encode("To be"), GenerationConfig(max_new_tokens=5))]
    assert isinstance(tokenizer.decode(words), str)

    changes = {"train.steps": 2, "train.batch_size": 2, "train.eval_windows": 2, "train.sample_length": 4}
    changes |= {"train.precision": "float32"}
    further = fork(tmp_path, imported, None, imported.record().config.replace(changes))
    assert train_run(further, tmp_path).state == "finished"
    assert further.rows("metrics")[-1]["val_loss"] > 0


def test_a_run_survives_export_to_transformers_and_import(run, tmp_path):
    assert "as a GPT-2: AutoModelForCausalLM.from_pretrained(" in export_hugging_face(run, tmp_path / "out")
    ours, tokenizer, _ = load_model(run)
    there = GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(logits(ours), there(torch.arange(8)[None]).logits, atol=1e-4, rtol=0)
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert their_tokenizer("or not\nto be")["input_ids"] == tokenizer.encode("or not\nto be")

    back = import_model(tmp_path, tmp_path / "out", run.record().config.data.corpus)
    model, again, _ = load_model(back)
    assert again == tokenizer
    torch.testing.assert_close(logits(model), logits(ours), atol=1e-6, rtol=0)


MULTIBYTE = "Emoji 😀 sat; naïve café.\n水 Größe, 今日は\nEmoji 👍🏽 and ’quotes’\n"


def test_split_characters_are_generated_as_by_transformers(theirs, bpe_folder, tmp_path, capsys, monkeypatch):  # noqa: F811
    """Text from the run's samples, the command line and the page's stream equals that of transformers."""
    theirs.save_pretrained(tmp_path / "gpt2")
    for file in bpe_folder.iterdir():
        (tmp_path / "gpt2" / file.name).write_bytes(file.read_bytes())
    imported = import_model(tmp_path, tmp_path / "gpt2", save_text(MULTIBYTE * 40, "Emoji", tmp_path).name)
    changes = {
        "train.steps": 120, "train.batch_size": 8, "train.learning_rate": 1e-2, "train.warmup_steps": 5,
        "train.eval_windows": 2, "train.sample_length": 40, "train.sample_temperature": 0.0,
        "train.precision": "float32",
    }  # fmt: skip
    run = fork(tmp_path, imported, None, imported.record().config.replace(changes))
    assert train_run(run, tmp_path).state == "finished"
    export_hugging_face(run, tmp_path / "out")
    model, tokenizer, _ = load_model(run)

    there = GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    prompt = their_tokenizer("Emoji ", return_tensors="pt")
    ids = there.generate(**prompt, max_new_tokens=20, do_sample=False, pad_token_id=0)[0]
    right = their_tokenizer.decode(ids)
    assert any(emoji in right for emoji in "😀👍") and "�" not in right[:-1]

    monkeypatch.setenv("GPT_EXPLORER_HOME", str(tmp_path))
    assert main(["generate", run.id, "--prompt", "Emoji ", "--tokens", "20", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == right + "\n"
    greedy = GenerationConfig(max_new_tokens=20, temperature=0)
    written = list(written_tokens(generate(model, tokenizer.encode("Emoji "), greedy), tokenizer))
    assert "Emoji " + "".join(token["text"] for token in written) == right and len(written) == 20
    assert not any("�" in shown for token in written for shown, *_ in [(token["visible"],), *token["alternatives"]])
    assert run.rows("samples")[-1]["text"].count("�") <= 1, "at its end a sample may cut a character"


def test_a_run_survives_export_to_nanogpt_and_import_with_its_tokenizer(run, tmp_path):
    export_nanogpt(run, tmp_path / "out")
    corpus = run.record().config.data.corpus
    (tmp_path / "out" / "ckpt.pt").rename(tmp_path / "alone.pt")
    back = load_model(import_model(tmp_path, tmp_path / "alone.pt", corpus))
    assert back.tokenizer == load_model(run).tokenizer
    assert back.step == 3
    assert torch.equal(logits(back.model), logits(load_model(run).model))


def without_tokenizer(path):
    """Remove the tokenizer from a checkpoint, as if nanoGPT had written it."""
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["tokenizer.json"]
    torch.save(checkpoint, path)


def test_a_checkpoint_without_a_tokenizer_uses_a_neighboring_file_or_the_texts_characters(run, tmp_path):
    export_nanogpt(run, tmp_path / "ckpt.pt")
    without_tokenizer(tmp_path / "ckpt.pt")
    corpus, tokenizer = run.record().config.data.corpus, load_model(run).tokenizer
    for _ in range(2):
        assert load_model(import_model(tmp_path, tmp_path / "ckpt.pt", corpus)).tokenizer == tokenizer
        (tmp_path / "tokenizer.json").write_bytes(tokenizer_files(tokenizer)["tokenizer.json"])


def test_a_mismatched_model_tokenizer_or_text_is_refused_without_a_run(run, gpt2_folder, tmp_path):  # noqa: F811
    export_nanogpt(run, tmp_path / "ckpt.pt")
    without_tokenizer(tmp_path / "ckpt.pt")
    other = save_text("another text with other letters, xyz! " * 20, "Other", tmp_path).name
    before = sorted((tmp_path / "runs").iterdir())
    with pytest.raises(ExplorerError, match="comes without a tokenizer and knows"):
        import_model(tmp_path, tmp_path / "ckpt.pt", other)
    (gpt2_folder / "vocab.json").write_text("{}")
    with pytest.raises(ExplorerError):
        import_model(tmp_path, gpt2_folder, other)
    with pytest.raises(ExplorerError, match="no file or folder"):
        import_model(tmp_path, tmp_path / "nothing", other)
    assert sorted((tmp_path / "runs").iterdir()) == before


def test_an_imported_model_cannot_be_trained_itself(gpt2_folder, tmp_path):  # noqa: F811
    imported = import_model(tmp_path, gpt2_folder, save_text(TEXT * 40, "To be", tmp_path).name)
    before = imported.weights_path.read_bytes()
    supervisor = Supervisor(tmp_path, slots=1)
    for ask in (
        lambda: supervisor.resume(imported),
        lambda: supervisor.continue_for(imported, 10),
        lambda: supervisor.change_setting(imported, "train.batch_size", 3),
        lambda: train_run(imported, tmp_path),
    ):
        with pytest.raises(ExplorerError):
            ask()
    supervisor.close()
    assert imported.weights_path.read_bytes() == before
