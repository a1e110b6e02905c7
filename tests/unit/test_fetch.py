"""Models that others published: what would be fetched, fetching from a hub, and files and splits that do not belong."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants, errors

import diffmia.models.hub as hub
from diffmia.cli import main
from diffmia.config.config import load_config
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.models.diffusers_ddpm import DiffusersDDPM
from diffmia.models.diffusers_latent_diffusion import DiffusersLatentDiffusion
from diffmia.models.fetch import fetch_files, fetch_model, plan
from diffmia.models.published import published_models
from diffmia.models.uvit import UViTCheckpoint
from diffmia.running import progress

REPO, REVISION = "someone/ddpm-tiny", "0123456789abcdef0123456789abcdef01234567"
GOOGLE = "google/ddpm-cifar10-32"
WEIGHTS = b"weights " * 1000
FILES = {
    "config.json": b'{"in_channels": 3}',
    "diffusion_pytorch_model.safetensors": WEIGHTS,
    "scheduler_config.json": b'{"beta_start": 0.0001}',
}
PIPELINE = dict(zip(DiffusersDDPM.files.required, FILES.values(), strict=True))


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: a small file has a git hash for its tag, a large one its SHA-256."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.server.requests.append((self.command, self.path))
        prefix = f"/{REPO}/resolve/{REVISION}/"
        content = self.server.files.get(self.path.removeprefix(prefix)) if self.path.startswith(prefix) else None
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if self.path.startswith(prefix) else "RepoNotFound")
            self.send_header("X-Repo-Commit", REVISION)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        large = self.path.endswith(".safetensors")
        tag = self.server.tag or hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
        self.send_response(200)
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.files, server.tag, server.requests = dict(FILES), None, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def files_sent(server):
    """Names of the files whose content was asked for; the client has errands of its own too."""
    prefix = f"/{REPO}/resolve/{REVISION}/"
    return sorted(p.removeprefix(prefix) for command, p in server.requests if command == "GET" and "/resolve/" in p)


CONFIG = {
    "run": {"targets": ["mine"], "attacks": ["naive"]},
    "datasets": {"digits": {"source": "digits", "captions": True}},
    "splits": {"digits": {"dataset": "digits", "method": "random", "members": 10}},
    "targets": {"mine": {"family": "diffusers_ddpm", "split": "digits", "repo": REPO, "revision": REVISION}},
    "attacks": {"naive": {"family": "residual", "label": "NA", "start": "gaussian", "t": 350, "norm": 2}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment(folder, server):
    return {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(folder / "hf"),
        "DIFFMIA_CACHE": str(folder / "cache"),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def call(folder, server, *arguments, **variables):
    """`diffmia fetch` as a process, whose hub is `server`: status, output, errors."""
    done = subprocess.run(
        [sys.executable, "-m", "diffmia.cli", "fetch", *arguments],
        cwd=folder,
        env=os.environ | environment(folder, server) | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def fetch(folder, server, monkeypatch, capsys):
    """`diffmia fetch` in this process, whose hub is `server`: status and errors."""
    for name, value in environment(folder, server).items():
        monkeypatch.setenv(name, value)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))

    def fetch():
        return main(["fetch"]), capsys.readouterr().err

    return fetch


def test_a_pipeline_is_fetched_once_and_then_comes_from_the_cache(folder, server):
    status, said, failed = call(folder, server, "mine")
    assert status == 0, failed
    assert f"{len(WEIGHTS):,} bytes, sha256 {hashlib.sha256(WEIGHTS).hexdigest()}" in said
    assert files_sent(server) == sorted(FILES)
    [record] = (folder / "cache" / "first").iterdir()
    assert json.loads(record.read_text())["weights"] == hashlib.sha256(WEIGHTS).hexdigest()

    server.requests.clear()
    status, said, failed = call(folder, server, HF_HUB_OFFLINE="1")
    assert status == 0, failed
    assert "present     yes" in said
    assert server.requests == []


def test_a_pipeline_in_sub_folders_is_fetched_too(folder, server, fetch):
    server.files = dict(PIPELINE)
    status, said = fetch()
    assert status == 0, said
    assert files_sent(server) == sorted(PIPELINE)
    server.requests.clear()
    assert fetch()[0] == 0
    assert server.requests == []


@pytest.fixture
def text_to_image(folder, server):
    """The same repository with a Stable Diffusion pipeline, its tokenizer of two files, and more that is not needed."""
    target = {"family": "diffusers_latent_diffusion", "split": "digits", "repo": REPO, "revision": REVISION}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"targets": {"mine": target}}))
    needed = [*DiffusersLatentDiffusion.files.required, *(f"tokenizer/{name}" for name in ("vocab.json", "merges.txt"))]
    server.files = {name: f"content of {name}".encode() for name in needed}
    server.files["safety_checker/model.safetensors"] = server.files["vae/diffusion_pytorch_model.fp16.safetensors"] = (
        b""
    )
    return needed


def test_of_a_text_to_image_pipeline_what_it_needs_is_fetched_once(text_to_image, folder, server):
    status, said, failed = call(folder, server)
    assert status == 0, failed
    assert files_sent(server) == sorted(text_to_image)
    unet = server.files["unet/diffusion_pytorch_model.safetensors"]
    assert f"{len(unet):,} bytes, sha256 {hashlib.sha256(unet).hexdigest()}" in said  # of three files with weights
    [record] = (folder / "cache" / "first").iterdir()
    first = json.loads(record.read_text())
    assert first.keys() == {*text_to_image, "weights"} - {"unet/diffusion_pytorch_model.safetensors"}

    server.requests.clear()  # that it has no tokenizer.json is in the cache too
    status, said, failed = call(folder, server, HF_HUB_OFFLINE="1")
    assert status == 0, failed
    assert "present     yes" in said
    assert server.requests == []


def test_a_file_that_a_pipeline_had_not_when_it_was_first_fetched_is_refused(text_to_image, server, fetch, folder):
    assert fetch()[0] == 0
    server.files["tokenizer/special_tokens_map.json"] = b"{}"
    [absent] = (folder / "hf").rglob(".no_exist/*/tokenizer/special_tokens_map.json")
    absent.unlink()
    status, said = fetch()
    assert status == 1
    assert "tokenizer/special_tokens_map.json of someone/ddpm-tiny" in said
    assert f"had SHA-256 none when it was first fetched and has {hashlib.sha256(b'{}').hexdigest()} now" in said


def test_a_text_to_image_pipeline_that_lacks_a_file_is_one_sentence(text_to_image, server, fetch):
    del server.files["vae/diffusion_pytorch_model.safetensors"]
    status, said = fetch()
    assert status == 1
    assert "someone/ddpm-tiny has no vae/diffusion_pytorch_model.safetensors at revision" in said
    assert "that have a Stable Diffusion pipeline with it" in said
    assert not any("text_encoder" in name for name in files_sent(server))  # no more is downloaded for nothing


STABLE_DIFFUSION = {
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5", "CreativeML OpenRAIL-M", "4265 MB"),
    "sd21": ("stabilityai/stable-diffusion-2-1-base", "CreativeML Open RAIL++-M", "5160 MB"),
}


def test_stable_diffusion_is_registered_and_offline_it_is_one_sentence(folder, fetch, capsys, monkeypatch):
    """The dry run asks no network; a real one says what it would have downloaded."""
    family = {"family": "diffusers_latent_diffusion", "split": "digits"}
    targets = {id_: family | {"repo": repo} for id_, (repo, *_) in STABLE_DIFFUSION.items()}
    run = {"targets": ["sd15"], "attacks": ["naive"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"run": run, "targets": targets}))
    with monkeypatch.context() as patch:
        patch.setattr(hub, "_download", None)
        assert main(["fetch", "--dry-run"]) == 0
    said = dict(zip(STABLE_DIFFUSION, capsys.readouterr().out.split("sd21\n"), strict=True))
    for id_, (repo, licence, size) in STABLE_DIFFUSION.items():
        known = published_models()[repo]
        assert f"from        https://huggingface.co/{repo}" in said[id_]
        assert f"revision    {known.revision}" in said[id_]
        assert f"licence     {licence}\n" in said[id_]
        assert f"size        {size}\n" in said[id_]
        assert f"present     no: {repo}, to be downloaded" in said[id_]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, failed = fetch()
    assert status == 1
    for (id_, (repo, *_)), sentence in zip(STABLE_DIFFUSION.items(), failed.splitlines(), strict=True):
        assert sentence.startswith(f"diffmia: target '{id_}': HF_HUB_OFFLINE is set, and {repo} at revision ")


def test_offline_a_published_model_is_said_with_its_files_its_size_and_how_to_get_it(folder, fetch, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo, _, size = STABLE_DIFFUSION["sd15"]
    revision = published_models()[repo].revision
    files = DiffusersLatentDiffusion.files
    with pytest.raises(DiffmiaError) as caught:
        hub.fetch_from_hub(repo, revision, files)
    message = str(caught.value)
    names = ", ".join(files.required)
    assert f"{repo} at revision {revision} is not whole in the cache {folder / 'hf' / 'hub'}: " in message
    assert f": 9 of its 9 files ({names}; size of all: {size}) and up to 5 that only some models have would" in message
    assert f"/{repo}/tree/{revision}; run `diffmia fetch` where there is a network and set HF_HOME" in message
    assert "or name a folder that has the files, with `folder:` in place of `repo:`" in message
    with pytest.raises(DiffmiaError, match="size of all: not known"):
        hub.fetch_from_hub(repo, REVISION, files)


def test_offline_only_what_is_lacking_is_counted(folder, server, fetch, monkeypatch):
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        hub._download(REPO, REVISION, name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert ": 1 of its 3 files (scheduler/scheduler_config.json; size of all: not known) would have" in fetch()[1]


def test_the_job_says_what_it_fetches_as_the_command_does(folder, server, fetch, caplog):
    caplog.set_level(logging.INFO)
    weights = folder / "weights.pth"
    weights.write_bytes(WEIGHTS)
    fetch_model(checkpoint(weights, origin="baofff/uvit-cifar10-small"), folder / "source.json")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("diffmia")]
    assert "licence: none stated for the weights; the code is MIT" in said
    assert "size: not known" in said
    assert said[-1] == f"fetched: {weights}, {len(WEIGHTS):,} bytes, sha256 {hashlib.sha256(WEIGHTS).hexdigest()}"


def test_the_log_says_how_far_a_large_file_of_the_hub_is(folder, server, fetch, monkeypatch, caplog):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    server.files |= {"diffusion_pytorch_model.safetensors": bytes(hub.LARGE + 1)}
    assert fetch()[0] == 0
    said = [record.getMessage() for record in caplog.records if record.name.startswith("diffmia")]
    expected = rf"MiB of diffusion_pytorch_model\.safetensors of {REPO} (\d+)/17 \(\d+ %\)  ETA \d+ s"
    done = [int(re.fullmatch(expected, line)[1]) for line in said]  # of the small files nothing
    assert done == sorted(done)
    assert done[-1] == 17


def test_offline_it_says_what_would_have_been_downloaded(folder, server, fetch, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, said = fetch()
    assert status == 1
    [sentence] = said.splitlines()
    assert sentence.startswith("diffmia: target 'mine': HF_HUB_OFFLINE is set, and someone/ddpm-tiny at revision ")
    assert (
        f"{REVISION} is not whole in the cache {folder / 'hf' / 'hub'}: 3 of its 3 files (unet/config.json" in sentence
    )
    assert f"would have been downloaded from {constants.ENDPOINT}/{REPO}/tree/{REVISION}; " in sentence
    assert server.requests == []


def test_a_hub_that_cannot_be_reached_is_one_sentence(fetch, monkeypatch):
    def unreachable(*args, **kwargs):
        raise errors.LocalEntryNotFoundError("what the client says where there is no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    status, said = fetch()
    assert status == 1
    [sentence] = said.splitlines()
    assert "the hub cannot be reached, and someone/ddpm-tiny at revision" in sentence


def test_weights_that_are_not_the_hubs_are_refused(folder, server, fetch):
    server.tag = "0" * 64
    status, said = fetch()
    assert status == 1
    assert f"came with SHA-256 {hashlib.sha256(WEIGHTS).hexdigest()} and not {'0' * 64}, as the hub says" in said
    assert not list((folder / "hf").rglob("0" * 64))


def test_a_repository_with_a_pickle_alone_is_refused(folder, server, fetch):
    del server.files["diffusion_pytorch_model.safetensors"]
    server.files["diffusion_pytorch_model.bin"] = WEIGHTS
    status, said = fetch()
    assert status == 1
    assert "has no diffusion_pytorch_model.safetensors at revision" in said
    assert "only safetensors are read, as a pickle could run code" in said
    assert not any(path.endswith(".bin") for _, path in server.requests)


def test_a_repository_that_is_not_there_is_one_sentence(folder, server, fetch):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["targets"]["mine"]["repo"] = "someone/else"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    status, said = fetch()
    assert status == 1
    assert "there is no repository someone/else on the hub" in said
    assert "Traceback" not in said


def test_dry_run_says_all_of_the_register_and_asks_no_network(folder, capsys, monkeypatch):
    monkeypatch.setattr(hub, "_download", None)
    (folder / "weights.pth").write_bytes(WEIGHTS)
    uvit = {"family": "uvit_checkpoint", "split": "digits", "checkpoint": "weights.pth"}
    google = {"family": "diffusers_ddpm", "split": "digits", "repo": GOOGLE}
    targets = CONFIG["targets"] | {"google": google, "uvit": uvit | {"origin": "baofff/uvit-cifar10-small"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"targets": targets}))
    assert main(["fetch", "google", "uvit", "--dry-run"]) == 0
    google, uvit = capsys.readouterr().out.split("uvit\n")
    known = published_models()[GOOGLE]
    for said in (f"revision    {known.revision}", "size        143 MB", "licence     Apache 2.0", "split       digits"):
        assert said in google
    assert f"from        https://huggingface.co/{GOOGLE}" in google
    assert "sha256      not known: what comes first is recorded" in google
    assert "trained on  all 50,000 training images of CIFAR-10" in google
    assert "from        https://drive.google.com" in uvit
    assert "size        not known" in uvit
    assert "kept in     weights.pth" in uvit
    assert "present     yes" in uvit


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["nine"], "'nine' is not defined; did you mean 'mine'? Imported targets and captioners: mine"),
        (["trained"], "'trained' is a target that is trained here. Imported targets and captioners: mine"),
    ],
)
def test_other_targets_are_refused(folder, capsys, targets, said):
    trained = {"family": "ddpm_unet", "split": "digits", "model": {"channels": [32]}, "training": {"epochs": 1}}
    targets_of_all = CONFIG["targets"] | {"trained": trained}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"targets": targets_of_all}))
    assert main(["fetch", *targets]) == 1
    assert said in capsys.readouterr().err


def test_without_a_config_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fetch"]) == 1
    assert (
        "cannot read config.yaml: No such file or directory; run it in the project's folder" in capsys.readouterr().err
    )


def test_what_comes_later_from_the_hub_is_compared_with_what_came_first(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path / "cache"))
    for name, content in PIPELINE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(hub, "_download", lambda repo, revision, name: tmp_path / name)
    spec = DiffusersDDPM(family="diffusers_ddpm", split="digits", repo=REPO, revision=REVISION)
    first = fetch_files(spec)
    assert fetch_files(spec) == first
    assert [file.name for file in first] == list(PIPELINE)
    (tmp_path / first[0].name).write_bytes(b"{}")
    with pytest.raises(DiffmiaError, match=rf"unet/config.json of {REPO}@{REVISION} had SHA-256 {first[0].sha256}"):
        fetch_files(spec)
    fetch_files(spec.model_copy(update={"revision": "f" * 40}))  # another commit may be other


def test_what_is_had_by_hand_is_compared_with_what_came_first(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path / "cache"))
    first, renamed = tmp_path / "weights.pth", tmp_path / "renamed.pth"
    first.write_bytes(WEIGHTS)
    renamed.write_bytes(WEIGHTS)
    known = {"origin": "baofff/uvit-cifar10-small"}
    fetch_files(checkpoint(first, **known))
    fetch_files(checkpoint(renamed, **known))
    renamed.write_bytes(WEIGHTS[::-1])
    with pytest.raises(DiffmiaError, match=r"weights of baofff/uvit-cifar10-small had SHA-256 .* when it was first"):
        fetch_files(checkpoint(renamed, **known))
    fetch_files(checkpoint(renamed, sha256=hashlib.sha256(WEIGHTS[::-1]).hexdigest(), **known))  # declared to be right
    fetch_files(checkpoint(renamed))  # nobody's published model
    assert plan(checkpoint(renamed))["sha256"] == "not known: any is taken"


def checkpoint(path, **settings):
    return UViTCheckpoint(family="uvit_checkpoint", split="digits", checkpoint=str(path), **settings)


def test_a_declared_checksum_is_demanded(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(WEIGHTS)
    right = hashlib.sha256(WEIGHTS).hexdigest()
    fetch_model(checkpoint(path, sha256=right), tmp_path / "source.json")
    receipt = json.loads((tmp_path / "source.json").read_text())
    assert [SourceFile(**file).sha256 for file in receipt["files"]] == [right]
    with pytest.raises(DiffmiaError, match=f"weights.pth has sha256 {right} and {'0' * 64} is expected"):
        fetch_model(checkpoint(path, sha256="0" * 64), tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_a_file_that_is_only_had_by_hand_says_where(tmp_path):
    spec = checkpoint(tmp_path / "weights.pth", origin="baofff/uvit-cifar10-small")
    assert plan(spec)["present"] == f"no: {tmp_path / 'weights.pth'}"
    with pytest.raises(DiffmiaError, match=r"weights.pth is not there, .*; get it from https://drive.google.com"):
        fetch_files(spec)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give either folder, for a local model, or repo"),
        ({"folder": "a", "repo": GOOGLE}, "give either folder, for a local model, or repo"),
        ({"folder": "a", "revision": REVISION}, "revision is a commit of repo, which is not given"),
        ({"repo": REPO}, "revision is not given and the register has none of someone/ddpm-tiny"),
        ({"repo": REPO, "revision": "main"}, "revision"),
        ({"repo": "ddpm"}, "repo"),
        (
            {"folder": "a", "origin": "google/ddpm"},
            "'google/ddpm' is not in the register, which has google/ddpm-cifar10-32",
        ),
    ],
)
def test_a_target_says_where_it_is_from(settings, said):
    target = {"family": "diffusers_ddpm", "split": "digits", **settings}
    with pytest.raises(DiffmiaError, match=f"(?s)targets.mine.*{said}"):
        load_config(CONFIG | {"targets": {"mine": target}})


def test_a_registered_repository_has_its_revision_from_the_register():
    spec = DiffusersDDPM(family="diffusers_ddpm", split="digits", repo=GOOGLE)
    assert spec.commit == published_models()[GOOGLE].revision
    other = DiffusersDDPM(family="diffusers_ddpm", split="digits", repo=GOOGLE, revision=REVISION)
    assert other.commit == REVISION
    assert spec.published is not None
    assert other.published is None  # what is known is known of one commit


WANTED = hub.HubFiles("it", ("config.json", ("model.safetensors", "pytorch_model.bin")))


def test_of_several_names_the_first_that_the_hub_has_is_fetched(folder, server, fetch, monkeypatch):
    server.files = {"config.json": b"{}", "pytorch_model.bin": WEIGHTS, "model.safetensors": WEIGHTS}
    assert not hub.cached_in_hub(REPO, REVISION, WANTED)
    assert [file.name for file in hub.fetch_from_hub(REPO, REVISION, WANTED)] == ["config.json", "model.safetensors"]
    assert files_sent(server) == ["config.json", "model.safetensors"]


def test_a_pickle_is_fetched_where_it_is_asked_for_and_then_comes_from_the_cache(folder, server, fetch, monkeypatch):
    server.files = {"config.json": b"{}", "pytorch_model.bin": WEIGHTS}
    files = hub.fetch_from_hub(REPO, REVISION, WANTED)
    assert [file.name for file in files] == ["config.json", "pytorch_model.bin"]
    assert hub.cached_in_hub(REPO, REVISION, WANTED)
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch_from_hub(REPO, REVISION, WANTED) == files
    assert server.requests == []


def test_what_the_hub_has_under_no_name_is_one_sentence(folder, server, fetch):
    server.files = {"config.json": b"{}"}
    with pytest.raises(DiffmiaError, match=f"{REPO} has no pytorch_model.bin at revision {REVISION}; .* that have it$"):
        hub.fetch_from_hub(REPO, REVISION, WANTED)


def test_a_captioner_is_fetched_as_targets_are(folder, server, fetch):
    captioner = {"family": "blip", "repo": REPO, "revision": REVISION, "sha256": "0" * 64}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"captioners": {"tiny": captioner}}))
    names = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
    server.files |= {name: b"{}" for name in names} | {"pytorch_model.bin": WEIGHTS}
    status, said = fetch()
    assert status == 1
    assert f"captioner 'tiny': {folder}/hf" in said
    assert f"has sha256 {hashlib.sha256(WEIGHTS).hexdigest()} and {'0' * 64} is expected" in said
    captioner["sha256"] = hashlib.sha256(WEIGHTS).hexdigest()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"captioners": {"tiny": captioner}}))
    assert fetch() == (0, "")
