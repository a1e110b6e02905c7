"""Which cells a run lacks, and why: found from what is on disk and from what its jobs said."""

from pathlib import Path

import pytest
import yaml

from diffmia.config.config import load_config
from diffmia.planning.missing import NOT_MADE, missing_cells, report_missing
from diffmia.running.job_status import JobStatus

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
TARGET = "ddpm_digits_smoke"
NULL = f"{TARGET}__null"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config_with(attacks, seeds=(0,), **target):
    targets = SHIPPED["targets"] | {TARGET: SHIPPED["targets"][TARGET] | {"null_targets": 0} | target}
    return load_config(SHIPPED | {"targets": targets, "run": {"targets": [TARGET], "attacks": attacks, "seeds": seeds}})


def made(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ended(job, output, kind=None, reason=None):
    log = Path("results/_logs", f"{job.replace(' ', '/')}.log")
    one = JobStatus.begin(job, log, [output])
    if kind:
        one.end(kind, reason)
    else:  # killed: it says it runs, and its process is another one
        one.born -= 3600
        one.write()


def scores(name, seed=0):
    return f"results/scores/{TARGET}/seed{seed}/{name}.parquet"


def why(config):
    return {(cell.seed, cell.attack): (cell.kind, cell.reason) for cell in missing_cells(config)}


def test_a_run_that_lacks_nothing_says_nothing():
    made(scores("residuals"), scores("gsa1"))
    assert report_missing(config_with(["naive", "gsa1"])) == ""


def test_an_attack_that_failed_is_missing_for_its_own_reason():
    made(scores("residuals"))
    ended("learn_attack x", scores("gsa1"), "out of memory", "the job needs more")
    assert why(config_with(["naive", "gsa1"])) == {(0, "gsa1"): ("out of memory", "the job needs more")}


def test_a_pass_that_was_killed_takes_all_that_read_it():
    ended("ask_target residuals", f"results/residuals/{TARGET}/seed0.parquet")
    made(scores("gsa1"))
    found = why(config_with(["naive", "pia", "gsa1"]))
    log = "results/_logs/ask_target/residuals.log"
    reason = f"ask_target residuals: the job was killed; the end of {log} is the last that it said"
    assert found == dict.fromkeys([(0, "naive"), (0, "pia")], ("killed", reason))


@pytest.mark.parametrize(
    "output",
    [
        "results/datasets/digits/source.json",
        "results/splits/digits/seed1.json",
        f"results/targets/{TARGET}/seed1/target.json",
        f"results/gradients/{TARGET}/seed1/1of2.parquet",
        f"results/gradients/{TARGET}/seed1.parquet",
    ],
)
def test_whatever_is_waited_for_is_named_at_its_seed(output):
    config = config_with(["gsa1"], seeds=(0, 1), shards=2)
    made(scores("gsa1", seed=0))
    ended("some_job x", output, "timed out", "not done")
    seeds = (0, 1) if "seed1" not in output else (1,)  # scores of data that could not be made anew are none
    assert why(config) == {(seed, "gsa1"): ("timed out", "some_job x: not done") for seed in seeds}


@pytest.mark.parametrize(
    "output",
    [
        "results/datasets/coco_val2017_256/source.json",
        "results/datasets/laion_coco/images.npy",
        "results/targets/sd15_laion_coco/source.json",
        "results/latents/sd15_laion_coco/seed0/3of4.npy",
        "results/captions/_source/blip.json",
        "results/captions/laion_coco/blip.csv",
        "results/embeddings/sd15_laion_coco/seed0/blip.npy",
    ],
)
def test_so_is_what_a_text_to_image_target_waits_for(output):
    run = {"targets": ["sd15_laion_coco"], "attacks": ["naive"]}
    targets = {"sd15_laion_coco": SHIPPED["targets"]["sd15_laion_coco"]}
    attacks = {"naive": SHIPPED["attacks"]["naive"]}
    ended("some_job x", output, "failed", "not done")
    config = load_config(SHIPPED | {"run": run, "targets": targets, "attacks": attacks})
    assert why(config) == {(0, "naive"): ("failed", "some_job x: not done")}


def test_an_attack_on_shadows_waits_for_them_too():
    config = config_with(["gsa_shadow"], null_targets=1)
    ended("train_target null", f"results/targets/{NULL}/seed0/target.json", "failed", "the loss is nan")
    cells = {cell.target: cell.reason for cell in missing_cells(config)}
    assert cells[TARGET] == "train_target null: the loss is nan"


def test_the_first_of_several_failures_is_the_reason():
    ended("train_target x", f"results/targets/{TARGET}/seed0/target.json", "failed", "first")
    ended("ask_target x", f"results/residuals/{TARGET}/seed0.parquet", "failed", "second")
    assert why(config_with(["naive"]))[0, "naive"] == ("failed", "train_target x: first")


def test_a_failure_whose_output_was_made_since_is_none():
    ended("ask_target x", f"results/residuals/{TARGET}/seed0.parquet", "failed", "once")
    made(f"results/residuals/{TARGET}/seed0.parquet")
    assert why(config_with(["naive"]))[0, "naive"][0] == NOT_MADE


def test_a_job_on_another_machine_that_was_heard_of_just_now_may_have_been_killed():
    output = f"results/residuals/{TARGET}/seed0.parquet"
    one = JobStatus.begin("ask_target x", Path("results/_logs/x.log"), [output])
    one.host = "another"
    one.write()
    said = (
        "the job runs on another, or was killed there just now; the end of results/_logs/x.log is the last that it said"
    )
    assert why(config_with(["naive"]))[0, "naive"] == ("running", f"ask_target x: {said}")


def test_cells_are_listed_by_reason():
    made(scores("gsa1"))
    ended("ask_target x", f"results/residuals/{TARGET}/seed0.parquet", "out of memory", "one sample does not fit")
    assert report_missing(config_with(["naive", "pia", "gsa1"])) == (
        "\nthe tables lack 2 of the 3 cells (target, seed, attack) of this run:\n"
        f"  naive, pia on {TARGET}, seed 0\n"
        "    out of memory: ask_target x: one sample does not fit\n"
        "the next run does them again; tables of what is there: snakemake tables --config 'run={partial: true}'"
    )


def test_scores_of_what_could_not_be_made_anew_are_none():
    made(scores("residuals"))
    ended("ask_target x", f"results/residuals/{TARGET}/seed0.parquet", "failed", "the disk is full")
    assert why(config_with(["naive"]))[0, "naive"] == ("failed", "ask_target x: the disk is full")
