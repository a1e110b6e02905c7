"""Jobs: a job's text moves with what decides its numbers, and with nothing else."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from diffmia.attacks.learned import LearnedAttack
from diffmia.config.config import Config, load_config
from diffmia.models import hosted
from diffmia.models.base import TrainedTarget
from diffmia.planning import code_digest, jobs
from diffmia.planning.code_digest import imported
from diffmia.planning.seeds import CHILDREN, child_seed
from diffmia.training import version as training_version

REPOSITORY = Path(__file__).parents[2]
SHIPPED = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
ATTACKS = SHIPPED["attacks"]
CONFIG = load_config(SHIPPED)
LIKE = {
    t: [t, *(o for o, of in CONFIG.targets.items() if of.relative_of == t)] for t in SHIPPED["targets"]
}  # relatives
TARGETS = dict.fromkeys(CONFIG.targets) | SHIPPED["targets"]
LEARNED = CONFIG.attacks_of(LearnedAttack)
# passes that on some device are not in plain float32
FASTER = {f"residuals {t}" for t, of in CONFIG.targets.items() if of.arithmetic.model_dump(exclude_defaults=True)}


def definition_jobs(raw, seed=0):
    """Text of every job that any selection could ask for, by a name for it."""
    config = load_config(raw)
    return {
        **{f"dataset {d}": jobs.dataset_job(config, "prepare_dataset", d) for d in config.datasets},
        **{f"split {s}": jobs.split_job(config, s, seed) for s in config.splits},
        **{f"training {t}": jobs.training_job(config, t, seed) for t in config.targets_of(TrainedTarget)},
        **{f"residuals {t}": jobs.pass_job(config, "ask_target", "residuals", t, seed) for t in config.targets},
        **{f"gradients {t}": jobs.pass_job(config, "ask_target", "gradients", t, seed) for t in config.targets},
        **{f"score {t}": jobs.score_job(config, t) for t in config.targets},
        **{f"learning {t} {a}": jobs.learning_job(config, t, a, seed) for t in config.targets for a in LEARNED},
        **{f"evaluation {t}": jobs.evaluation_job(config, t, seed) for t in config.targets},
    }


def shown_jobs(raw):
    """Text of every job that shows what is selected."""
    config = load_config(raw)
    return {
        "metrics": jobs.selection_job(config, "aggregate_metrics", "diffmia.evaluation.stage"),
        "tables": jobs.tables_job(config),
        **{f"figure {name}": jobs.figure_job(config, name, "ddpm_digits") for name in config.run.figures},
    }


def numerics(config, target):
    """Digest of the code that decides a target's residuals: finished pieces are kept as long as it stands."""
    return json.loads(jobs.pass_job(config, "ask_target", "residuals", target, 0))["numerics"]


def change_code_of(module, monkeypatch):
    """As if a statement of a module were another from now on."""
    read = code_digest._module

    def changed(name):
        found, digest = read(name)
        return found, digest + "changed" * (name == module)

    monkeypatch.setattr(code_digest, "_module", changed)


def moved(change, of=definition_jobs):
    """Names of the jobs whose text is another after `change` was made to a copy of the shipped configuration."""
    raw = copy.deepcopy(SHIPPED)
    change(raw)
    before, after = of(SHIPPED), of(raw)
    return {name for name in before if after[name] != before[name]}


def scores(attack, targets=tuple(TARGETS)):
    """Names of the jobs that score `attack`, of these targets those it can be done on, and judge it where it is run."""
    done = [target for target in targets if attack in CONFIG.table_attacks(target)]
    return {f"score {t}" for t in done} | {f"evaluation {t}" for t in done if attack in CONFIG.run_attacks(t)}


def in_reverse(node):
    return {key: in_reverse(node[key]) for key in reversed(node)} if isinstance(node, dict) else node


class TestText:
    def test_it_does_not_depend_on_the_order_of_keys(self):
        reversed_config = in_reverse(SHIPPED)
        assert list(reversed_config) != list(SHIPPED)
        assert definition_jobs(reversed_config) == definition_jobs(SHIPPED)
        assert shown_jobs(reversed_config) == shown_jobs(SHIPPED)

    def test_it_does_not_depend_on_how_a_number_is_written(self):
        def rewrite(raw):
            raw["targets"]["ddpm_digits"]["training"] |= {"learning_rate": "1e-3", "weight_decay": "0.010"}
            raw["splits"]["digits"]["members"] = 256.0

        assert moved(rewrite) == set()

    def test_it_is_sorted_json(self):
        for text in (definition_jobs(SHIPPED) | shown_jobs(SHIPPED)).values():
            assert text == json.dumps(json.loads(text), sort_keys=True)

    def test_two_numbers_swapped_are_another_job(self):
        def swap(raw):
            training = raw["targets"]["ddpm_digits_smoke"]["training"]
            training["epochs"], training["batch_size"] = training["batch_size"], training["epochs"]

        assert moved(swap) == {"training ddpm_digits_smoke", "training ddpm_digits_smoke__null"}

    def test_no_two_jobs_share_a_text(self):
        texts = list((definition_jobs(SHIPPED) | shown_jobs(SHIPPED)).values())
        assert len(set(texts)) == len(texts)


class TestWhatDecidesNoNumber:
    @pytest.mark.parametrize(
        ("key", "value"), [("shards", 3), ("batch_size", 7), ("published_as", {"oms": "ddpm_lfw"})]
    )
    def test_of_a_target(self, key, value):
        assert moved(lambda raw: raw["targets"]["ddpm_digits"].update({key: value})) == set()

    def test_how_often_training_is_saved(self):
        training = {**TARGETS["ddpm_digits"]["training"], "seconds_between_saves": 1}
        assert moved(lambda raw: raw["targets"]["ddpm_digits"].update(training=training)) == set()

    def test_the_device(self):
        assert moved(lambda raw: raw.update(device="cpu")) == set()
        assert moved(lambda raw: raw.update(device="cpu"), of=shown_jobs) == set()

    @pytest.mark.parametrize(
        "selection",
        [
            {"attacks": ["pia"]},
            {"targets": ["ddpm_digits_smoke", "ddpm_cifar10"]},
            {"seeds": [1, 2]},
            {"tables": [], "figures": []},
            {"name": "other"},
        ],
        ids=str,
    )
    def test_the_selection(self, selection):
        found = moved(lambda raw: raw["run"].update(selection))
        # gradients cost several times as much: a target is asked for those that the run's attacks need
        assert not {name for name in found if not name.startswith(("gradients ", "evaluation "))}

    def test_what_an_attack_is_called_but_in_tables_and_figures(self):
        def rename(raw):
            raw["attacks"]["pia"]["label"] = "Proximal"

        assert moved(rename) == set()
        assert {"tables", "figure roc"} <= moved(rename, of=shown_jobs)

    @pytest.mark.parametrize(
        "preset", sorted(REPOSITORY.glob("profiles/*/overrides.yaml")), ids=lambda p: p.parent.name
    )
    def test_a_preset(self, preset):
        overrides = yaml.safe_load(preset.read_text())
        assert set(overrides) == {"run"}
        found = moved(lambda raw: raw["run"].update(overrides["run"]))
        assert not {name for name in found if not name.startswith(("gradients ", "evaluation "))}


class TestTraining:
    @pytest.mark.parametrize(
        ("section", "key", "value"),
        [("training", "epochs", 551), ("model", "channels", [64, 32]), ("schedule", "beta_end", 0.03)],
    )
    def test_another_definition_trains_that_target_and_asks_it_again(self, section, key, value):
        found = moved(lambda raw: raw["targets"]["ddpm_digits"].setdefault(section, {}).update({key: value}))
        # how it is trained reaches the residuals with the weights; what it is decides how it is asked
        like = {"training": ("ddpm_digits", "ddpm_digits__null")}
        if section != "training":
            like |= {"residuals": LIKE["ddpm_digits"], "gradients": LIKE["ddpm_digits"]}
        assert found == {f"{kind} {target}" for kind, of in like.items() for target in of}

    @pytest.mark.parametrize("faster", [{"precision": "bfloat16"}, {"compile": True}], ids=str)
    def test_faster_arithmetic_of_training_trains_again(self, faster):
        training = TARGETS["ddpm_digits"]["training"] | faster
        found = moved(lambda raw: raw["targets"]["ddpm_digits"].update(training=training))
        assert found == {"training ddpm_digits", "training ddpm_digits__null"}
        assert not set(faster) & set(json.loads(definition_jobs(SHIPPED)["training ddpm_digits"])["definition"])

    @pytest.mark.parametrize(
        ("target", "faster"),
        [("ddpm_digits", {"cpu": {"compile": True}}), ("ldm_digits", {"cuda": {"precision": "float16"}})],
        ids=str,
    )
    def test_faster_arithmetic_of_the_pass_asks_again_for_residuals_alone(self, target, faster):
        found = moved(lambda raw: raw["targets"][target].update(arithmetic=faster))
        assert found == {f"residuals {like}" for like in LIKE[target]}

    def read_on(raw):
        raw["attacks"]["mine"] = {**ATTACKS["pia"], "norm": "inf", "reading_of": "pia", "targets": ["ddpm_cifar10_2k"]}
        raw["targets"]["ddpm_cifar10_2k"]["attacks"].append("mine")

    @pytest.mark.parametrize("change", [lambda raw: raw["attacks"]["pia"].update(norm=6), read_on], ids=["norm", "new"])
    def test_ranks_that_nobody_has_looked_at_are_looked_at_first(self, change):
        """The gate compares the ranks of attacks, so another attack on the same answers goes through it, too."""
        asked = {name for name in moved(change) if name.startswith("residuals")}
        assert "residuals ddpm_cifar10_2k" in asked
        assert asked <= FASTER

    @pytest.mark.parametrize("module", ["diffmia.denoisers.precision", "diffmia.denoisers.compiled"])
    def test_answers_in_an_arithmetic_are_kept_as_long_as_its_code(self, module, monkeypatch):
        before = {target: numerics(CONFIG, target) for target in ("ddpm_cifar10_2k", "ddpm_digits")}
        change_code_of(module, monkeypatch)
        assert numerics(CONFIG, "ddpm_cifar10_2k") != before["ddpm_cifar10_2k"]
        assert numerics(CONFIG, "ddpm_digits") == before["ddpm_digits"]

    def test_naming_plain_arithmetic_asks_nothing_again(self):
        plain = {"cuda": {"precision": "float32"}, "cpu": {"compile": False}}
        assert not moved(lambda raw: raw["targets"]["ddpm_digits"].update(arithmetic=plain))

    def test_timesteps_and_attacks_train_nothing(self):
        def other_attacks(raw):
            raw["targets"]["ddpm_digits"]["timesteps"] = {"naive": 300}
            raw["attacks"]["pia"]["t"] = 50
            raw["attacks"]["pia_t7"] = {**ATTACKS["pia"], "t": 7}

        assert not {name for name in moved(other_attacks) if name.startswith("training")}

    def test_a_raised_version_trains_every_target(self, monkeypatch):
        before = definition_jobs(SHIPPED)
        monkeypatch.setattr(training_version, "VERSION", training_version.VERSION + 1)
        after = definition_jobs(SHIPPED)
        assert {name for name in before if after[name] != before[name]} == {
            n for n in before if n.startswith("training ")
        }


class TestImport:
    """Taking in of a target that was trained elsewhere."""

    def job(self, **settings):
        target = {"family": "diffusers_ddpm", "split": "digits", "folder": "models/mine", **settings}
        return jobs.import_job(load_config(SHIPPED | {"targets": SHIPPED["targets"] | {"mine": target}}), "mine")

    @pytest.mark.parametrize("settings", [{"folder": "models/other"}, {"schedule": {"beta_end": 0.03}}], ids=str)
    def test_it_is_done_again_for_another_model(self, settings):
        assert self.job(**settings) != self.job()

    @pytest.mark.parametrize(
        "settings",
        [{"shards": 3}, {"batch_size": 7}, {"timesteps": {"naive": 9}}, {"published_as": {"oms": "ddpm_lfw"}}],
        ids=str,
    )
    def test_it_is_not_for_another_way_to_ask_it(self, settings):
        assert self.job(**settings) == self.job()


class TestFetch:
    """Fetching of the files of a target that was trained elsewhere."""

    def job(self, **settings):
        target = {"family": "diffusers_ddpm", "split": "digits", "repo": "a/b", "revision": "0" * 40, **settings}
        return jobs.fetch_job(load_config(SHIPPED | {"targets": SHIPPED["targets"] | {"mine": target}}), "mine")

    @pytest.mark.parametrize("settings", [{"repo": "a/c"}, {"revision": "1" * 40}, {"sha256": "2" * 64}], ids=str)
    def test_it_is_done_again_for_other_files(self, settings):
        assert self.job(**settings) != self.job()

    @pytest.mark.parametrize(
        "settings",
        [{"split": "digits64"}, {"split_hash": "2" * 64}, {"schedule": {"beta_end": 0.03}}, {"shards": 3}],
        ids=str,
    )
    def test_it_is_not_for_what_is_made_of_them(self, settings):
        assert self.job(**settings) == self.job()


@pytest.mark.parametrize("known", [{"revision": "1" * 40}, {"sha256": "2" * 64}, {"members_before": 7}], ids=str)
def test_a_corrected_register_fetches_and_takes_in_again(known, monkeypatch):
    """What a target leaves to the register is what the register says of it, and no setting of its own."""
    target = {"family": "diffusers_ddpm", "split": "digits", "repo": "google/ddpm-cifar10-32"}
    raw = SHIPPED | {"targets": SHIPPED["targets"] | {"mine": target}}

    def of_published_models():
        config = load_config(raw)
        return [
            jobs.fetch_job(config, "mine"),
            jobs.import_job(config, "mine"),
            jobs.fetch_captioner_job(config, "blip"),
        ]

    before, read = of_published_models(), hosted.published_models()
    changed = {id_: model.model_copy(update=known) for id_, model in read.items()}
    monkeypatch.setattr(hosted, "published_models", lambda: changed)
    assert not set(before) & set(of_published_models())


class TestLatentsAndEmbeddings:
    """What a text-to-image target is asked about and told: made once, whatever it is then asked."""

    def jobs(self, told="caption", **settings):
        target = {"family": "diffusers_latent_diffusion", "split": "digits", "folder": "models/mine", **settings}
        config = load_config(SHIPPED | {"targets": SHIPPED["targets"] | {"mine": target}})
        return jobs.latents_job(config, "mine"), jobs.embedding_job(config, "mine", told)

    @pytest.mark.parametrize(
        "settings",
        [{"shards": 3}, {"condition": "none"}, {"timesteps": {"naive": 9}}],
        ids=str,
    )
    def test_they_are_not_made_again_for_another_way_to_ask(self, settings):
        assert self.jobs(**settings) == self.jobs()

    def test_latents_are_made_again_in_other_batches_by_which_their_shards_are_cut(self):
        (latents, embeddings), (others, same) = self.jobs(), self.jobs(encoding_batch_size=2)
        assert latents != others
        assert embeddings == same

    def test_each_condition_has_embeddings_of_its_own(self):
        assert self.jobs(told="none")[1] != self.jobs()[1]

    def test_they_follow_their_code_alone(self):
        latents, embeddings = imported("diffmia.encoding.latents"), imported("diffmia.encoding.embeddings")
        assert "diffmia.models.networks.latent" in latents & embeddings
        assert not {"diffmia.training.trainer", "diffmia.search.noise_search"} & (latents | embeddings)

    @pytest.mark.parametrize(
        "module", ["diffmia.encoding.latents", "diffmia.encoding.embeddings", "diffmia.encoding.rows"]
    )
    def test_answers_about_what_other_code_made_are_not_kept(self, module, monkeypatch):
        """Pieces of a pass do not name the latents that they are about, so the code that made these is in their key."""
        target = {"family": "diffusers_latent_diffusion", "split": "digits", "folder": "models/mine"}
        config = load_config(SHIPPED | {"targets": SHIPPED["targets"] | {"mine": target}})
        before = numerics(config, "mine"), numerics(config, "ddpm_digits")
        change_code_of(module, monkeypatch)
        assert numerics(config, "mine") != before[0]
        assert numerics(config, "ddpm_digits") == before[1]


class TestResidualsAndScores:
    def test_another_norm_is_read_from_the_same_table(self):
        assert moved(lambda raw: raw["attacks"]["pia"].update(norm=5)) - FASTER == scores("pia")

    def test_another_timestep_of_a_target_is_asked_of_that_target(self):
        found = moved(lambda raw: raw["targets"]["ddpm_digits"]["timesteps"].update(naive=120))
        like = LIKE["ddpm_digits"]
        assert found == {f"residuals {target}" for target in like} | scores("naive", like)

    def test_another_timestep_of_an_attack_is_asked_of_targets_without_their_own(self):
        followers = [target for target, spec in CONFIG.targets.items() if "naive" not in spec.timesteps]
        found = moved(lambda raw: raw["attacks"]["naive"].update(t=300))
        assert 0 < len(followers) < len(TARGETS)
        assert found == {f"residuals {target}" for target in followers} | scores("naive", followers)

    @pytest.mark.parametrize(
        ("spec", "asks"),
        [
            ({**ATTACKS["pia"], "t": 123}, True),
            ({**ATTACKS["naive"], "t": 100, "draw": 1}, True),
            ({**ATTACKS["pia"], "t": 100, "norm": 1}, False),  # the digits are asked at 100 already
            ({**ATTACKS["pia"], "t": 1000}, False),  # beyond the last timestep
        ],
        ids=["a new t", "a new draw", "a new norm", "not servable"],
    )
    def test_one_more_attack_that_nobody_selected(self, spec, asks):
        found = moved(lambda raw: raw["attacks"].update(another=spec))
        assert ("residuals ddpm_digits" in found) == asks
        assert not {name for name in found if not name.startswith(("residuals", "score"))}

    def test_the_probes_are_those_of_all_defined_attacks_each_once(self):
        raw = copy.deepcopy(SHIPPED)
        raw["run"]["attacks"] = ["naive"]
        raw["attacks"]["naive_l4"] = {**ATTACKS["naive"], "t": 100, "norm": 4}
        raw["attacks"]["naive_late"] = {**ATTACKS["naive"], "t": 1000}
        names = [probe.name for probe in jobs.questions_of(load_config(raw), "residuals", "ddpm_digits")]
        assert names == sorted(set(names))
        assert "gaussian.t1000" not in names
        assert {
            "gaussian.t100",
            "proximal.t100",
            "proximal_normalised.t100",
            "inverted.t100.k10",
            "inverted.t90.k10",
            "inverted.t100.k10.xt",
            "inverted.t100.k10.x0hat",
        } <= set(names)

    def test_shards_are_asked_and_joined_under_different_texts(self):
        config = load_config(SHIPPED)
        asked, joined = (
            json.loads(jobs.pass_job(config, rule, "residuals", "ddpm_digits", 0))
            for rule in ("ask_target", "merge_answers")
        )
        assert asked["questions"] == joined["questions"]
        assert asked != joined


class TestEvaluation:
    def test_other_settings_judge_everything_again(self):
        found = moved(lambda raw: raw["evaluation"].update(bootstrap=500))
        assert found == {f"evaluation {target}" for target in TARGETS}

    def test_the_seeds_of_a_run_are_part_of_what_it_shows(self):
        assert moved(lambda raw: raw["run"].update(seeds=[1]), of=shown_jobs) == set(shown_jobs(SHIPPED))


# written out: a change of the derivation would silently give every run other splits, models and noise
PINNED = {
    (0, "split"): 4334430513956379144,
    (0, "training"): 2440950710608614359,
    (0, "noise"): 8226343694796210948,
    (0, "evaluation"): 6619194650426729951,
    (0, "learning"): 8366031049750315900,
    (1, "split"): 4215923173971654960,
    (2026, "noise"): 1707902653925947418,
}


class TestSeeds:
    @pytest.mark.parametrize(("run_seed", "child"), PINNED, ids=str)
    def test_they_are_children_of_the_run_seed(self, run_seed, child):
        place = ("split", "training", "noise", "evaluation", "learning").index(child)
        state = np.random.SeedSequence(run_seed, spawn_key=(place,)).generate_state(1, np.uint64)[0]
        assert child_seed(run_seed, child) == int(state) // 2 == PINNED[run_seed, child]

    def test_they_differ(self):
        found = {child_seed(run_seed, child) for run_seed in range(20) for child in CHILDREN}
        assert len(found) == 20 * len(CHILDREN)
        assert all(0 <= seed < 2**63 for seed in found)

    def test_each_job_draws_from_its_own(self):
        texts = definition_jobs(SHIPPED, seed=3)
        for name, child in [
            ("split digits", "split"),
            ("training ddpm_digits", "training"),
            ("residuals ddpm_digits", "noise"),
            ("evaluation ddpm_digits", "evaluation"),
            ("gradients ddpm_digits", "noise"),
            ("learning ddpm_digits gsa_concat", "learning"),
        ]:
            assert json.loads(texts[name])["seed"] == child_seed(3, child)

    def test_another_run_seed_redraws_everything_but_the_data(self):
        first, second = definition_jobs(SHIPPED, seed=0), definition_jobs(SHIPPED, seed=1)
        # scores follow from the residuals, which are a file of the seed
        same = {name for name in first if first[name] == second[name]}
        assert {name.split()[0] for name in same} == {"dataset", "score"}


def test_the_work_of_planning_grows_as_the_jobs_do(monkeypatch):
    lack = Config.lack

    def asked(copies):
        targets = {f"copy{number}": SHIPPED["targets"]["ddpm_digits_smoke"] for number in range(copies)}
        run = SHIPPED["run"] | {"targets": list(targets)}
        config = load_config(SHIPPED | {"targets": SHIPPED["targets"] | targets, "run": run})
        calls = []
        with monkeypatch.context() as patch:
            patch.setattr(Config, "lack", lambda self, *pair: calls.append(pair) or lack(self, *pair))
            for target in config.asked_targets:
                jobs.evaluation_job(config, target, 0)
                jobs.pass_job(config, "ask_target", "gradients", target, 0)
                jobs.pass_job(config, "ask_target", "residuals", target, 0)
            jobs.tables_job(config)
        return len(calls)

    assert 0 < asked(6) == 3 * asked(2)


def test_a_null_target_begins_with_weights_of_its_own():
    raw = copy.deepcopy(SHIPPED)
    raw["targets"]["ddpm_digits"]["null_targets"] = 2
    of = load_config(raw)
    seeds = [json.loads(jobs.training_job(of, t, 0))["seed"] for t in ("ddpm_digits", *of.null_targets("ddpm_digits"))]
    assert len(set(seeds)) == 3


def test_another_timestep_of_what_learns_is_learned_again():
    found = moved(lambda raw: raw["targets"]["ddpm_digits"]["timesteps"].update(quantile=90, secmi_nns=90))
    assert {"learning ddpm_digits quantile", "learning ddpm_digits secmi_nns"} <= found


def test_what_no_model_is_asked_for_follows_its_settings():
    def made(change=lambda raw: None):
        raw = copy.deepcopy(SHIPPED)
        raw["run"]["seeds"] = [0, 1]
        change(raw)
        of = load_config(raw)
        return {
            "duplicates": jobs.duplicates_job(of, "digits"),
            "blind": jobs.blind_job(of, "ddpm_digits", "blind_statistics", 0),
            "transfer": jobs.transfer_job(of, "ddpm_digits"),
        }

    changes = {
        "duplicates": lambda raw: raw.update(duplicates={"bits": 1}),
        "blind": lambda raw: raw["attacks"]["blind_statistics"].update(folds=3),
        "transfer": lambda raw: raw["run"].update(seeds=[0, 2]),
    }
    for name, change in changes.items():
        before, after = made(), made(change)
        assert {key for key in before if before[key] != after[key]} == {name}
