from __future__ import annotations

import http.server
import io
import logging
import os
import shutil
import tarfile
import threading
from pathlib import Path

import pytest
import tensorflow as tf

from tl_keras.encoders import download
from tl_keras.encoders.presets import find_preset
from tl_keras.encoders.resolve import resolve, resolve_pair
from tl_keras.encoders.saved_model_files import damage
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(folder))
    monkeypatch.delenv("TL_KERAS_HUB_MIRROR", raising=False)
    return folder


@pytest.fixture(scope="session")
def preprocessor(tmp_path_factory) -> Path:
    root = tf.train.Checkpoint()
    root.tokenize = tf.function(tf.strings.split, input_signature=[tf.TensorSpec([None], tf.string)])
    root.__call__ = tf.function(
        lambda text: {"input_word_ids": tf.strings.length(text)[:, None]},
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    folder = tmp_path_factory.mktemp("preprocessor") / "preprocess"
    tf.saved_model.save(root, str(folder))
    return folder


@pytest.fixture
def pair(modules, preprocessor, tmp_path) -> Path:
    folder = tmp_path / "pair"
    shutil.copytree(modules / "encoder", folder / "encoder")
    shutil.copytree(preprocessor, folder / "preprocess")
    return folder


def pack(folder: Path, archive: Path, inside: str = ".") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=inside)
    return archive


class Server:
    """Serves a folder on 127.0.0.1 and counts the downloads; a path in `codes` is answered with that code."""

    def __init__(self, folder: Path):
        self.requests: list[str] = []
        self.codes: dict[str, int] = {}
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(folder))

            def do_GET(self):
                outer.requests.append(self.path)
                code = outer.codes.get(self.path.split("?")[0])
                self.send_error(code) if code else super().do_GET()

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "www"
    folder.mkdir()
    running = Server(folder)
    yield running
    running.close()


def shown(folder: Path) -> bool:
    return "default" in tf.saved_model.load(str(folder)).signatures["serving_default"].structured_outputs


def test_url_is_fetched_once(server, modules, tmp_path, cache, caplog):
    pack(modules / "encoder", tmp_path / "www/encoder.tar.gz")
    caplog.set_level(logging.INFO, "tl_keras")
    folder = resolve(f"{server.url}/encoder.tar.gz")
    assert folder.parent == cache
    assert shown(folder)
    assert f"using {folder}" in caplog.text
    assert resolve(f"{server.url}/encoder.tar.gz") == folder
    assert len(server.requests) == 1


def empty(folder: Path):
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        file.unlink()


def truncate(name: str, keep: float = 0.5):
    def cut(folder: Path):
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return cut


def remove(name: str):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (empty, "saved_model.pb is missing"),
        (remove("saved_model.pb"), "saved_model.pb is missing"),
        (truncate("saved_model.pb"), "saved_model.pb is cut off"),
        (remove("variables/variables.index"), "variables.index is missing"),
        (remove("variables/variables.data-00000-of-00001"), "variables cannot be read"),
        (truncate("variables/variables.data-00000-of-00001"), "variables cannot be read"),
        (remove("assets/text_words.txt"), "assets/text_words.txt is missing"),
    ],
    ids=["emptied", "no main file", "main file cut", "no index", "no data", "data cut", "no asset"],
)
def test_damaged_cache_is_noticed_removed_and_fetched_again(server, modules, tmp_path, caplog, break_it, said):
    pack(modules / "text", tmp_path / "www/text.tar.gz")
    url = f"{server.url}/text.tar.gz"
    folder = resolve(url)
    break_it(folder)
    (folder / "left_over").touch()
    assert resolve(url) == folder
    assert len(server.requests) == 2
    assert said in caplog.text
    assert f"removed {folder}" in caplog.text
    assert not (folder / "left_over").exists()
    assert tf.saved_model.load(str(folder))(tf.constant(["good"])).shape == (1, 8)


def test_variables_one_byte_short(modules, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(modules / "encoder", folder)
    assert damage(folder) is None
    data = folder / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    assert damage(folder)


def test_half_of_a_cached_pair_emptied(server, pair, tmp_path):
    pack(pair, tmp_path / "www/pair.tar.gz")
    url = f"{server.url}/pair.tar.gz"
    encoder, preprocess = resolve_pair(url)
    assert (encoder.name, preprocess.name) == ("encoder", "preprocess")
    empty(encoder)
    assert resolve_pair(url) == (encoder, preprocess)
    assert shown(encoder)


def test_mirror_stands_in_for_tfhub(server, modules, preprocessor, tmp_path, monkeypatch):
    preset = find_preset("klue_bert_cased")
    for handle, folder in ((preset.handle, modules / "encoder"), (preset.preprocessor, preprocessor)):
        path = tmp_path / "www" / handle.removeprefix("https://tfhub.dev/")
        path.parent.mkdir(parents=True, exist_ok=True)
        pack(folder, path)
    monkeypatch.setenv("TL_KERAS_HUB_MIRROR", server.url + "/")
    by_name = resolve_pair("klue_bert_cased_L-12_H-768_A-12")
    assert by_name == resolve_pair(preset.handle)
    assert shown(by_name[0])
    assert hasattr(tf.saved_model.load(str(by_name[1])), "tokenize")
    # TF Hub and Kaggle send the archive when asked so
    assert all(path.endswith("?tf-hub-format=compressed") for path in server.requests)


def test_unknown_url_wants_its_preprocessor(server, modules, preprocessor, tmp_path):
    pack(modules / "encoder", tmp_path / "www/encoder.tar.gz")
    url = f"{server.url}/encoder.tar.gz"
    with pytest.raises(UserError, match="preprocessor="):
        resolve_pair(url)
    assert resolve_pair(url, preprocessor=preprocessor)[1] == preprocessor


@pytest.mark.parametrize(
    ("code", "said"), [(403, "403 (forbidden"), (404, "404 (there is no such model"), (500, "500")]
)
def test_refusing_server(server, code, said):
    server.codes["/model"] = code
    with pytest.raises(UserError) as error:
        resolve(f"{server.url}/model")
    assert said in str(error.value)
    assert "give its .tar.gz or the unpacked folder" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_network():
    with pytest.raises(
        UserError, match=r"cannot be reached .*look at the network connection, or download the model by hand"
    ):
        resolve("http://127.0.0.1:9/model.tar.gz")


def test_server_sends_something_else(server, modules, tmp_path, cache):
    (tmp_path / "www/page.html").write_text("<html>Please sign in</html>")
    with pytest.raises(UserError, match="does not give a whole tar archive"):
        resolve(f"{server.url}/page.html")
    archive = pack(modules / "encoder", tmp_path / "www/cut.tar.gz")
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"whole tar archive .*ended before"):
        resolve(f"{server.url}/cut.tar.gz")
    (tmp_path / "notes.txt").write_text("no model")
    pack(tmp_path / "notes.txt", tmp_path / "www/notes.tar.gz", "notes.txt")
    with pytest.raises(UserError, match="does not hold a whole SavedModel"):
        resolve(f"{server.url}/notes.tar.gz")
    # nothing is left behind that a later call could take for a model
    assert not [entry for entry in cache.iterdir() if entry.is_dir()]


@pytest.mark.parametrize("inside", [".", "my_pair"])
def test_local_archive_of_a_pair(pair, tmp_path, cache, inside):
    archive = pack(pair, tmp_path / "pair.tar.gz", inside)
    encoder, preprocess = resolve_pair(archive)
    assert shown(encoder)
    assert preprocess == encoder.parent / "preprocess"
    assert cache in encoder.parents
    empty(encoder)
    assert resolve_pair(str(archive)) == (encoder, preprocess)
    assert shown(encoder)
    assert resolve(archive) == encoder


def test_untrusted_archive(tmp_path, modules, cache):
    def hostile(name: str, **fields) -> Path:
        archive = tmp_path / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(modules / "encoder", arcname="encoder")
            member = tarfile.TarInfo(fields.pop("path"))
            for field, value in fields.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(b"x" * member.size))
        return archive

    for archive in (
        hostile("up", path="../../escaped.txt", size=1),
        hostile("link", path="encoder/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        hostile("device", path="encoder/null", type=tarfile.CHRTYPE),
    ):
        with pytest.raises(UserError, match="is refused, because it would write outside its own folder"):
            resolve(archive)
    assert not list(tmp_path.glob("**/escaped.txt"))
    assert not list(cache.iterdir())


def test_folders(pair, modules, preprocessor, tmp_path):
    assert resolve_pair(pair) == (pair / "encoder", pair / "preprocess")
    assert resolve_pair(pair / "encoder") == (pair / "encoder", pair / "preprocess")
    assert resolve(str(pair)) == pair / "encoder"
    assert resolve_pair(modules / "encoder", preprocessor=pair) == (modules / "encoder", pair / "preprocess")
    assert resolve_pair(modules / "text") == (modules / "text", None)
    with pytest.raises(UserError, match="is a preprocessing module"):
        resolve_pair(preprocessor)


def test_folders_that_are_no_pair(pair, modules, tmp_path):
    (pair / "preprocess").rename(pair / "preprocessor")
    with pytest.raises(UserError, match=r"no SavedModel in preprocess/; rename preprocessor/ if that is it"):
        resolve_pair(pair)
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("a.txt", "b.txt"):
        (plain / name).touch()
    with pytest.raises(UserError, match=r"no saved_model.pb.*it holds: a.txt, b.txt"):
        resolve_pair(plain)
    shutil.copytree(modules / "text", tmp_path / "exported/1")
    with pytest.raises(UserError, match=r"give the folder in it that does: .*exported/1"):
        resolve(tmp_path / "exported")
    damaged = tmp_path / "exported/1"
    (damaged / "assets/text_words.txt").unlink()
    with pytest.raises(UserError, match=r"is damaged \(assets/text_words.txt is missing\)"):
        resolve_pair(damaged)
    # a user's folder is never removed
    assert (damaged / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["config.json", "model.safetensors", "vocab.txt"],
            "a Hugging Face checkpoint; convert it first: tl-keras convert",
        ),
        (["config.json", "model.weights.h5", "metadata.json"], "a KerasHub preset; convert it first"),
        (["bert_config.json", "bert_model.ckpt.index", "bert_model.ckpt.meta"], "a TensorFlow checkpoint"),
    ],
)
def test_folders_in_other_formats(tmp_path, names, said):
    for name in names:
        (tmp_path / name).touch()
    for find in (resolve, resolve_pair):
        with pytest.raises(UserError, match=said):
            find(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.h5", "a Keras file"),
        ("bert.ckpt.index", "a TensorFlow checkpoint"),
        ("model.safetensors", "run tl-keras convert on the folder"),
        ("saved_model.pb", "give its folder"),
        ("model.zip", "unpack it"),
        ("model.tar.gz", "is no whole tar archive"),
        ("notes.txt", "no folder and no .tar.gz"),
    ],
)
def test_files_in_other_formats(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(UserError, match=said):
        resolve(tmp_path / name)


def test_names_that_mean_nothing(tmp_path):
    with pytest.raises(UserError, match=r"neither a file, a folder nor a preset; the nearest are: nnlm-ko-dim50,"):
        resolve("nnlm-ko-dim52")
    (tmp_path / "my_encoder").mkdir()
    with pytest.raises(UserError, match=r"the nearest are: .*my_encoder"):
        resolve(tmp_path / "my_encodr")
    with pytest.raises(UserError, match=r"write https://tfhub.dev/google/nnlm"):
        resolve("tfhub.dev/google/nnlm-x/1")
    with pytest.raises(UserError, match="handle is empty"):
        resolve("")
    with pytest.raises(UserError, match="no encoder 'missing' inside"):
        resolve("package:missing")


def test_package_handles(pair, monkeypatch):
    (pair / "encoders").mkdir()
    shutil.copytree(pair / "encoder", pair / "encoders/mini/encoder")
    shutil.copytree(pair / "preprocess", pair / "encoders/mini/preprocess")
    monkeypatch.setattr("tl_keras.encoders.resolve.resources.files", lambda package: pair)
    assert resolve_pair("package:mini")[0] == pair / "encoders/mini/encoder"


def test_nothing_outside_the_cache_is_removed(tmp_path, monkeypatch, modules):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(modules / "encoder", elsewhere)
    (elsewhere / "saved_model.pb").unlink()
    monkeypatch.setattr(download, "_hub_resolve", lambda url: str(elsewhere))
    with pytest.raises(UserError, match="outside the cache"):
        resolve("https://tfhub.dev/a/b/1")
    assert os.listdir(elsewhere)


@pytest.mark.real_data
def test_published_format(shared_dir, tmp_path):
    garden = shared_dir / "models" / "garden_tiny"
    assert resolve_pair(garden) == (garden / "encoder", garden / "preprocess")
    archive = pack(garden, tmp_path / "garden.tar.gz")
    assert (resolve_pair(archive)[0] / "assets/vocab_uncased.txt").is_file()
