"""The workflow's shape, without running it: plans, presets, lint, and what every rule must declare."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest
import yaml
from snakemake.cli import parse_args

from diffmia.attacks.learned import LearnedAttack
from diffmia.config.config import load_config
from tests.conftest import REPOSITORY, new_project

pytestmark = pytest.mark.workflow

PLATFORMS = ("local", "slurm", "kubernetes")
PRESETS = ("shipped", "smoke", "extended", "cifar10_mini")
ONCE = dict.fromkeys(["download_dataset", "prepare_dataset", "aggregate_metrics", "aggregate_cost", "render_tables"], 1)
# a DDPM and its null control, with 10 attacks that learn on each; and 2 blind baselines on the DDPM alone
DDPM = {"build_split": 1, "find_duplicates": 1, "train_target": 2, "ask_target": 4, "score_attacks": 2}
DDPM |= {"learn_attack": 20, "score_blind": 2, "evaluate_scores": 2}
UVIT = {"build_split": 1, "find_duplicates": 1, "train_target": 1, "ask_target": 1, "score_attacks": 1}
UVIT |= {"learn_attack": 1, "score_blind": 2, "evaluate_scores": 1}
UNTRAINED = {"ask_target": 1, "score_attacks": 1, "evaluate_scores": 1}
WHOLE = {
    # both targets also before training; three more epochs of the DDPM, and a figure of them; of each a Jacobian pass
    "default": ONCE
    | {rule: DDPM[rule] + UVIT[rule] + 2 * UNTRAINED.get(rule, 0) for rule in DDPM}
    | {"ask_target": 4 + 1 + 2 + 3 + 2, "plot_figure": 15 + 14},
    "smoke": ONCE | DDPM | {"plot_figure": 5},  # its target has neither checkpoints nor studies
}
WHOLE["shipped"] = WHOLE["default"]
WHOLE["extended"] = {rule: count * (1 if rule in ONCE else 3) for rule, count in WHOLE["default"].items()}
WHOLE["extended"] |= {  # five variants, three of them with splits of their own, and a figure of them; three seeds
    "train_target": 3 * (3 + 5),
    "ask_target": 3 * (12 + 5),
    "build_split": 3 * (2 + 3),
    "plot_figure": 30,
    "transfer_thresholds": 2,  # of each target, between its seeds
}
# and a text-to-image target of another dataset, with a null target, and before training, each told captions and none;
# the last has the autoencoder of the first. 5 attacks that learn on two of them, and 3 blind baselines
LDM = {"build_split": 1, "find_duplicates": 1, "train_target": 2, "encode_latents": 2, "embed_captions": 3 * 2}
LDM |= {"ask_target": 3 + 2, "score_attacks": 3, "learn_attack": 2 * 5, "score_blind": 3, "evaluate_scores": 3}
LDM = {rule: 3 * count for rule, count in LDM.items()}
LDM |= {"download_dataset": 1, "prepare_dataset": 1, "plot_figure": 5, "transfer_thresholds": 1}
WHOLE["extended"] |= {rule: WHOLE["extended"].get(rule, 0) + count for rule, count in LDM.items()}
WHOLE["cifar10_mini"] = ONCE | {rule: 3 for rule in ("build_split", "find_duplicates", "train_target")}
WHOLE["cifar10_mini"] |= {  # at four epochs and at the last; the first is the null control
    "ask_target": 3 * (5 + 1),
    "score_attacks": 3 * 2,
    "score_blind": 3 * 2,
    "evaluate_scores": 3 * 2,
    "transfer_thresholds": 1,
    "plot_figure": 12,
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The project as it is shipped, nothing run."""
    return new_project(tmp_path_factory.mktemp("shipped") / "project")


def test_the_default_plan(shipped):
    assert shipped.plan("--resources", "gpu=2") == WHOLE["default"]


@pytest.mark.parametrize(
    ("platform", "preset"), [*(("local", preset) for preset in PRESETS), *((name, "smoke") for name in PLATFORMS[1:])]
)
def test_the_plan_of_a_preset_is_the_same_on_every_platform(shipped, platform, preset):
    assert (
        shipped.plan("--profile", f"profiles/{platform}", "--workflow-profile", f"profiles/{preset}") == WHOLE[preset]
    )


# what makes each of them large; the rest follows from it
PAPERS = {
    "text_to_image": {"fetch_captioner": 1, "caption_images": 2, "encode_latents": 2 * 4, "embed_captions": 3 + 1},
    "cifar10_2k": {"train_target": 1, "ask_target": 2, "learn_attack": 1, "score_blind": 1, "plot_figure": 5},
    "cifar10": {"train_target": 1, "ask_shard": 4 * 8, "learn_attack": 6, "plot_figure": 15},
    "pia_paper": {"train_target": 2 * 3, "transfer_thresholds": 3, "plot_figure": 16},
    "paper": {"download_dataset": 4, "train_target": 4, "fetch_target": 1, "import_target": 1, "plot_figure": 37},
}


@pytest.mark.parametrize("preset", PAPERS)
def test_the_papers_are_planned_at_their_size(shipped, preset):
    for folder in ("lsun/cat", "laion"):  # what nobody can download
        (shipped.folder / "data" / folder).mkdir(parents=True, exist_ok=True)
    (shipped.folder / "data/laion/manifest.csv").touch()
    (shipped.folder / "cifar10_uvit_small.pth").touch()
    plan = shipped.plan("--profile", "profiles/slurm", "--workflow-profile", f"profiles/{preset}")
    assert PAPERS[preset].items() <= plan.items()


def profile(name: str) -> dict:
    return yaml.safe_load((REPOSITORY / "profiles" / name / "profile.v9+.yaml").read_text())


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("preset", [*PRESETS, *PAPERS])
def test_every_platform_takes_every_preset(platform, preset, monkeypatch):
    """What Snakemake makes of a pair: 0.03 seconds, where its plan, which is that of the preset, takes four to nine."""
    monkeypatch.chdir(REPOSITORY)
    alone, pair = (
        parse_args(["--profile", f"profiles/{platform}", "--workflow-profile", f"profiles/{name}"])[1]
        for name in ("shipped", preset)
    )
    assert pair.executor == platform
    assert [str(path) for path in pair.configfile] == [f"profiles/{preset}/overrides.yaml"] * (preset != "shipped")
    for key in (name.replace("-", "_") for name in profile(platform)):
        assert repr(getattr(pair, key)) == repr(getattr(alone, key))


@pytest.mark.parametrize("preset", [*PRESETS, *PAPERS])
def test_a_preset_leaves_to_the_platform_what_a_platform_decides(preset):
    decided = set().union(*map(profile, PLATFORMS))
    assert not decided & set(profile(preset))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_limits_jobs_and_cards(platform):
    settings = profile(platform)
    assert settings["executor"] == platform
    assert settings["resources"]["gpu"] >= 1
    assert settings.get("cores") or settings["jobs"] >= 1


def test_the_example_for_cards_names_every_rule_that_asks_for_one(tmp_path):
    """What is commented out in the profile of Slurm, taken in."""
    example = (REPOSITORY / "profiles/slurm/profile.v9+.yaml").read_text().split("# set-resources:\n")[1]
    lines = itertools.takewhile(lambda line: line.startswith("#  "), example.splitlines())
    (tmp_path / "profile.v9+.yaml").write_text("set-resources:\n" + "\n".join(line[1:] for line in lines))
    named = parse_args(["--profile", str(tmp_path)])[1].set_resources
    always = {name for name, text in rules().items() if "gpu=1" in text}
    perhaps = {name for name, text in rules().items() if "gpu=learning_gpu" in text}
    always |= {name for of, name in re.findall(r"^use rule (\w+) as (\w+)", all_rules(), re.MULTILINE) if of in always}
    assert set(named) == always | perhaps
    # a kind without a card would be asked for as so many of it
    assert {name for name in named if "gpu_model" in named[name]} == always


def test_pods_share_what_is_unfinished():
    """The package keeps it below results/ in the working folder, which in a pod is /workdir."""
    settings = profile("kubernetes")
    (volume,) = settings["kubernetes-persistent-volumes"]
    mounted = volume.split(":")[1]
    assert mounted == "/workdir/results"
    for key in ("default-storage-prefix", "remote-job-local-storage-prefix"):
        assert settings[key].startswith(f"{mounted}/")


def test_platforms_are_named_in_profiles_alone():
    parts = ("Snakefile", "config.yaml", "rules", "scripts", "diffmia")
    files = [path for part in parts for path in (REPOSITORY / part).rglob("*")] + [REPOSITORY / p for p in parts[:2]]
    named = [
        path.name
        for path in files
        if path.suffix in (".py", ".smk", ".yaml", "") and path.is_file()
        if re.search("slurm|kubernetes", path.read_text(), re.IGNORECASE)
    ]
    assert named == []


def test_shards_and_seeds_multiply_jobs(shipped, tmp_path):
    overrides = tmp_path / "more.yaml"
    overrides.write_text("run: {seeds: [0, 1]}\ntargets: {ddpm_digits: {shards: 3}}\n")
    plan = shipped.plan("--configfile", str(overrides))
    of_the_ddpm, others = 2 + 2 + 1 + 4, 3  # residuals and gradients of it and its null target; Jacobians; checkpoints
    assert plan["train_target"] == 2 * 3
    assert plan["ask_shard"] == 2 * 3 * of_the_ddpm
    assert plan["ask_target"] == 2 * others
    assert plan["merge_answers"] == 2 * of_the_ddpm
    assert plan["evaluate_scores"] == 2 * 5


def test_a_stage_by_name_ends_with_its_own_rule(shipped):
    """Those that no other test asks for by name."""
    plan = shipped.plan("gradients")
    assert "ask_target" in plan
    assert "evaluate_scores" not in plan
    assert set(plan) <= set(WHOLE["default"])


def test_the_paper_target_is_planned_from_the_official_archive(shipped, tmp_path):
    overrides = tmp_path / "paper.yaml"
    overrides.write_text("run: {name: cifar, targets: [ddpm_cifar10]}\n")
    plan = shipped.plan("--configfile", str(overrides))
    assert plan["ask_shard"] == 4 * (6 + 1 + 1)  # residuals at six epochs, gradients and Jacobians
    assert plan["learn_attack"] == 9  # it has no shadow targets: one attack is left out


def test_only_selected_gradients_are_asked_for(shipped, tmp_path):
    overrides = tmp_path / "less.yaml"
    overrides.write_text("run: {name: less, attacks: [pia, quantile], tables: [table1], figures: [roc]}\n")
    plan = shipped.plan("--configfile", str(overrides))
    assert plan["ask_target"] == 5  # the DDPM, its null control, the U-ViT, and both before training
    assert plan["learn_attack"] == 3


def test_an_attack_that_learns_takes_a_card_if_it_can_use_one():
    config = load_config(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))
    taken = {attack for attack in config.attacks_of(LearnedAttack) if config.attacks[attack].gpu}
    assert taken == {"quantile", "quantile_recalibrated", "secmi_nns"}
    assert "gpu=learning_gpu" in rules()["learn_attack"]


def test_lint_finds_nothing(shipped):
    done = shipped.snakemake("--lint")
    assert done.returncode == 0, done.stdout


def test_rules_are_formatted():
    command = [sys.executable, "-m", "snakefmt", "--check", "Snakefile", "rules"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def all_rules() -> str:
    return "\n".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))


def rules() -> dict[str, str]:
    return {part.split(":")[0].strip(): part for part in re.split(r"^rule ", all_rules(), flags=re.MULTILINE)[1:]}


@pytest.mark.parametrize("name", [name for name, text in rules().items() if "localrule: True" not in text])
def test_every_rule_declares_what_a_scheduler_and_a_reader_need(name):
    text = rules()[name]
    for keyword in ("log:", "benchmark:", "threads:", "resources:", "conda:", "message:", "job="):
        assert keyword in text, f"rule {name} has no {keyword}"
    for resource in ("gpu=", "mem_mb=", "runtime="):
        assert resource in text, f"rule {name} declares no {resource}"
    assert f'"../scripts/{name}.py"' in text, "a rule and its script have one name"
    assert f"<logs>/{name}/" in text
    assert (REPOSITORY / "scripts" / f"{name}.py").exists()


def test_every_script_has_a_rule():
    assert {path.stem for path in (REPOSITORY / "scripts").glob("*.py")} <= set(rules())


def test_no_rule_has_a_run_block():
    assert not [name for name, text in rules().items() if re.search(r"^ +run:", text, re.MULTILINE)]
