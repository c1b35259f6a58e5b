"""Models by name, over real HTTP, from a local hub with the paths of the Hugging Face hub."""

import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub.utils import close_session

from core.import_export.external_weights import ExternalModelError, build
from core.import_export.hub import download_model
from core.import_export.huggingface import read_folder
from tests.core.import_export.hub_server import serving

IDS = torch.randint(300, (1, 32), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def hub(gpt2_folder):
    """A hub with one model under two names, whose folder also has files that must never be downloaded."""
    for dangerous in ("pytorch_model.bin", "modeling.py", "training_args.bin", "model.safetensors.pkl"):
        (gpt2_folder / dangerous).write_bytes(b"a program")
    with serving({"tiny": gpt2_folder, "somebody/tiny-gpt2": gpt2_folder}) as hub:
        yield hub


@pytest.mark.parametrize("name", ["tiny", "somebody/tiny-gpt2"])
def test_a_model_downloaded_by_name_gives_the_same_logits(name, hub, theirs, tmp_path):
    folder = download_model(name, tmp_path, 10**8, hub.url)
    with torch.no_grad():
        logits, _ = build(read_folder(folder))(IDS)
        torch.testing.assert_close(logits, theirs(IDS).logits, atol=1e-4, rtol=0)


def test_a_model_with_sharded_weights_is_downloaded(hub, theirs, gpt2_folder, tmp_path):
    (gpt2_folder / "model.safetensors").unlink()
    theirs.save_pretrained(gpt2_folder, max_shard_size="60KB")
    folder = download_model("tiny", tmp_path, 10**8, hub.url)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    with torch.no_grad():
        torch.testing.assert_close(build(read_folder(folder))(IDS)[0], theirs(IDS).logits, atol=1e-4, rtol=0)


def test_only_settings_weights_and_tokenizer_are_downloaded(hub, tmp_path):
    folder = download_model("tiny", tmp_path, endpoint=hub.url)
    allowed = {"config.json", "model.safetensors", "vocab.json", "merges.txt"}
    assert hub.sent == allowed and {path.name for path in folder.iterdir()} == allowed


def test_a_downloaded_model_is_reused_without_network(hub, tmp_path):
    first = download_model("tiny", tmp_path, 10**8, hub.url)
    hub.sent.clear()
    assert download_model("tiny", tmp_path, 10**8, hub.url) == first
    assert not hub.sent
    hub.stop()
    assert download_model("tiny", tmp_path, 10**8, hub.url) == first


@pytest.mark.parametrize("most_bytes", [None, 10**8])
def test_downloading_without_network_raises_an_error_that_says_what_to_do(hub, tmp_path, most_bytes):
    hub.stop()
    with pytest.raises(
        ExternalModelError, match="Is this machine online. Without a network, give a folder with config"
    ):
        download_model("tiny", tmp_path, most_bytes, hub.url)


@pytest.fixture
def set_proxy(monkeypatch):
    """Set ALL_PROXY, and no other proxy variable, for a new client."""
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def set_(proxy):
        monkeypatch.setenv("ALL_PROXY", proxy)
        close_session()

    yield set_
    close_session()


@pytest.mark.parametrize("most_bytes", [None, 10**8])
@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1", "foo://x", "http://[bad", "http://h:port", "::::", "http://"]
)
def test_an_unusable_proxy_is_reported_and_the_cached_model_still_opens(proxy, most_bytes, hub, set_proxy, tmp_path):
    folder = download_model("somebody/tiny-gpt2", tmp_path, most_bytes, hub.url)
    set_proxy(proxy)
    with pytest.raises(ExternalModelError, match="cannot be fetched through the proxy that ALL_PROXY names"):
        download_model("tiny", tmp_path, most_bytes, hub.url)
    assert download_model("somebody/tiny-gpt2", tmp_path, most_bytes, hub.url) == folder


@pytest.mark.parametrize("most_bytes", [None, 10**8])
@pytest.mark.parametrize("name", ["tinny", "nobody/tiny-gpt2"])
def test_an_unknown_model_name_is_reported(hub, tmp_path, name, most_bytes):
    with pytest.raises(ExternalModelError, match=f"no model called '{name}' that is open to everybody"):
        download_model(name, tmp_path, most_bytes, hub.url)


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "", "-x", "http://elsewhere/x", "a" * 200])
def test_an_invalid_model_name_is_refused_without_a_request(tmp_path, name):
    with pytest.raises(ExternalModelError, match="is not a model name"):
        download_model(name, tmp_path)


def test_a_model_with_only_pickled_weights_is_refused_without_downloading_them(hub, gpt2_folder, tmp_path):
    (gpt2_folder / "model.safetensors").unlink()
    with pytest.raises(ExternalModelError, match="has no model.safetensors. Pickled weights .* not downloaded"):
        download_model("tiny", tmp_path, endpoint=hub.url)
    assert "pytorch_model.bin" not in hub.sent


def test_a_model_over_the_size_limit_is_refused_before_download(hub, tmp_path):
    with pytest.raises(ExternalModelError, match="at most 1 KB are downloaded here"):
        download_model("tiny", tmp_path, 1024, hub.url)
    assert not hub.sent


def test_a_server_error_of_the_hub_is_reported(hub, tmp_path):
    hub.trouble = 503
    with pytest.raises(ExternalModelError, match="answered with error 503|Is this machine online"):
        download_model("tiny", tmp_path, endpoint=hub.url)


def test_the_import_command_downloads_from_hf_endpoint(hub, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "GPT_EXPLORER_HOME": str(tmp_path)}
    script = "from core.cli import main; print([main(['import', name]) for name in ('tiny', 'tinny')])"
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "tiny is run" in result.stdout and "no model called 'tinny'" in result.stderr
    assert result.stdout.endswith("[0, 2]\n"), result.stderr
