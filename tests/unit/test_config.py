"""config.yaml: what is shipped is valid and described, and what is wrong is said as its writer would say it."""

import copy
import json
import re
from contextlib import nullcontext
from pathlib import Path

import jsonschema
import pytest
import yaml

from diffmia.attacks.gsa import GradientAttack
from diffmia.attacks.probability_flow import ProbabilityFlowAttack
from diffmia.attacks.quantile import QuantileAttack
from diffmia.attacks.residual import ResidualAttack
from diffmia.attacks.secmi_nns import DifferenceAttack
from diffmia.config.config import SCHEMA_PATH, json_schema, load_config
from diffmia.errors import DiffmiaError
from diffmia.figures import FIGURES
from diffmia.figures.shown import compared_targets, shown_attacks
from diffmia.passes.residuals import count_evaluations
from diffmia.planning import jobs
from diffmia.planning.jobs import learned_from, questions_of
from diffmia.search.probes import Probe
from diffmia.tables import TABLES

AS_SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
BLIND = ("blind_statistics", "blind_cnn")
CONTINUOUS = ("pia_sde", "pia_init1", "pian_init1", "secmi_init1")
# the same with one target in discrete time to attack
SHIPPED = AS_SHIPPED | {
    "run": AS_SHIPPED["run"]
    | {"targets": ["ddpm_digits"], "attacks": [a for a in AS_SHIPPED["run"]["attacks"] if a not in CONTINUOUS]}
}
ABSENT = object()

TOP = "Accepted: run, device, minutes_per_job, datasets, splits, targets, captioners, attacks, duplicates, evaluation"
MODEL = "Accepted: channels, layers_per_block, attention, dropout, norm_groups"
TARGETS = "Defined: " + ", ".join(SHIPPED["targets"]) + " and the targets that are made from them (__null, __epoch<N>)"
ATTACKS = "Defined: " + ", ".join(SHIPPED["attacks"])
SPLITS = "Defined: " + ", ".join(SHIPPED["splits"])
DATASETS = "Defined: " + ", ".join(SHIPPED["datasets"])
NOT_AN_ID = "ids are lower-case letters, digits and underscores, starting with a letter or digit"


def changed(path, value):
    """The shipped configuration with the value at a dotted path set, or taken out if it is ABSENT."""
    config = copy.deepcopy(SHIPPED)
    *parents, last = path.split(".")
    section = config
    for key in parents:
        section = section.setdefault(key, {})
    if value is ABSENT:
        del section[last]
    else:
        section[last] = value
    return config


def complaint(path, value):
    with pytest.raises(DiffmiaError) as caught:
        load_config(changed(path, value))
    return str(caught.value)


def test_the_shipped_config_is_valid():
    config = load_config(AS_SHIPPED)
    assert config.run.targets == ("ddpm_digits", "uvit_digits")
    assert config.timestep("naive", "ddpm_digits") == 100  # the target's own
    assert config.timestep("naive", "ddpm_cifar10") == 350  # the attack's
    assert config.out == "results"
    assert load_config(changed("run.name", "smoke")).out == "results/runs/smoke"


def described(schema):
    return "description" in schema or "const" in schema  # the const tag of a kind is described by the kind


def test_every_key_has_a_description():
    schema = json.loads(json_schema())
    models = {"config.yaml": schema} | schema["$defs"]
    assert [name for name, model in models.items() if "description" not in model] == []
    bare = [
        f"{name}.{key}"
        for name, model in models.items()
        for key, field in model["properties"].items()
        if not described(field) and not described(schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {}))
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("key", "groups", "unknown"),
    [("member_groups", ["lion"], "lion"), ("non_member_groups", ["coco_val2017"], "coco_val2017")],
)
def test_groups_of_a_joined_dataset_are_its_parts(key, groups, unknown):
    assert complaint(f"splits.laion_coco.{key}", groups).startswith(
        f"config: splits.laion_coco.{key} names '{unknown}', which is not defined"
    )


def test_the_schema_file_is_that_of_the_models():
    assert SCHEMA_PATH.read_text() == json_schema(), "the config models changed: `diffmia schema` renews the schema"


@pytest.mark.parametrize(
    ("path", "value", "valid"),
    [
        ("run.seeds", [0, 1], True),
        ("devise", "cpu", False),
        ("targets.ddpm_digits.model.chanels", [32, 64], False),
        ("targets.ddpm_digits.training.epochs", 0, False),
        ("attacks.naive.start", "gausian", False),
        ("datasets.digits.source", "digit", False),
        ("datasets.Digits", {"source": "digits"}, False),
        ("run", ABSENT, False),
    ],
)
def test_the_schema_judges_as_the_models_do(path, value, valid):
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text()))
    assert validator.is_valid(SHIPPED)
    assert validator.is_valid(changed(path, value)) == valid


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("tragets", {}, f"unknown key 'tragets' at the top level; did you mean 'targets'? {TOP}"),
        ("zzz", {}, f"unknown key 'zzz' at the top level. {TOP}"),
        (
            "run.atacks",
            [],
            "unknown key 'atacks' in run; did you mean 'attacks'? "
            "Accepted: name, targets, attacks, seeds, partial, tables, figures",
        ),
        (
            "targets.ddpm_digits.model.chanels",
            [32],
            f"unknown key 'chanels' in targets.ddpm_digits.model; did you mean 'channels'? {MODEL}",
        ),
        (
            "datasets.cifar10.mirors",
            [],
            "unknown key 'mirors' in datasets.cifar10; did you mean 'mirrors'? "
            "Accepted: mirrors, archive, sha256, root, part, source",
        ),
        ("run", ABSENT, "key 'run' is missing at the top level"),
        ("run.targets", ABSENT, "key 'targets' is missing in run"),
        ("targets.ddpm_digits.model", ABSENT, "key 'model' is missing in targets.ddpm_digits"),
        ("targets.ddpm_digits.training.epochs", ABSENT, "key 'epochs' is missing in targets.ddpm_digits.training"),
        ("splits.digits.members", ABSENT, "key 'members' is missing in splits.digits"),
        ("datasets.digits.source", ABSENT, "key 'source' is missing in datasets.digits"),
        ("splits.digits.method", ABSENT, "key 'method' is missing in splits.digits"),
        ("targets.ddpm_digits.family", ABSENT, "key 'family' is missing in targets.ddpm_digits"),
        ("attacks.naive.family", ABSENT, "key 'family' is missing in attacks.naive"),
        ("device", "gpu", "device is 'gpu'; did you mean 'cuda'? Accepted: auto, cpu, cuda"),
        (
            "targets.ddpm_digits.schedule.kind",
            "liner",
            "targets.ddpm_digits.schedule.kind is 'liner'; did you mean 'linear'? Accepted: linear, scaled_linear",
        ),
        (
            "attacks.naive.start",
            "gausian",
            "attacks.naive.start is 'gausian'; did you mean 'gaussian'? "
            "Accepted: gaussian, proximal, proximal_normalised, inverted",
        ),
        ("attacks.naive.norm", 7, "attacks.naive.norm is 7. Accepted: 1, 2, 3, 4, 5, 6, inf"),
        ("attacks.naive.norm", "2", "attacks.naive.norm is '2'. Accepted: 1, 2, 3, 4, 5, 6, inf"),
        ("attacks.Naive", SHIPPED["attacks"]["naive"], f"attacks.Naive: {NOT_AN_ID}"),
        ("targets.ddpm-2", SHIPPED["targets"]["ddpm_digits"], f"targets.ddpm-2: {NOT_AN_ID}"),
        ("run.name", "My run", f"run.name: {NOT_AN_ID}"),
    ],
)
def test_a_wrong_key_or_word(path, value, sentence):
    assert complaint(path, value) == f"config: {sentence}"


@pytest.mark.parametrize(
    ("path", "value", "nearest", "others"),
    [
        ("datasets.digits.source", "digit", "digits", {"cifar10", "folder"}),
        ("splits.digits.method", "class-balanced", "class_balanced", {"random", "by_group", "file"}),
        ("targets.ddpm_digits.family", "ddpm", "ddpm_unet", set()),
        ("attacks.naive.family", "residuals", "residual", set()),
    ],
)
def test_an_unknown_kind(path, value, nearest, others):
    said, _, accepted = complaint(path, value).partition(" Accepted: ")
    assert said == f"config: {path} is '{value}'; did you mean '{nearest}'?"
    assert {nearest} | others <= set(accepted.split(", "))  # a new kind is one new file: no test names them all


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("targets.ddpm_digits.training.epochs", -1, "it must be above 0"),
        ("targets.ddpm_digits.training.epochs", "many", "a whole number is needed"),
        ("targets.ddpm_digits.model.channels", 32, "list"),
        ("splits.digits.members", 0, "it must be above 0"),
        ("run.seeds", 3, "list"),
        ("targets.ddpm_digits", None, "mapping"),
        ("splits.digits.non_members", "all", "a whole number is needed.*'rest'"),
        ("datasets.cifar10.sha256", "abc", "64 hexadecimal digits are needed"),
    ],
)
def test_a_wrong_value(path, value, what):
    assert re.fullmatch(f"config: {re.escape(path)} is {value!r}.*{what}.*", complaint(path, value))


def test_a_wrong_entry_of_a_list():
    wrong = "config: run.{} is '{}'; did you mean '{}'? Accepted: {}"
    tables, figures = ", ".join(TABLES), ", ".join(FIGURES)
    assert complaint("run.tables", ["table1", "tablec"]) == wrong.format("tables", "tablec", "tablec1", tables)
    assert complaint("run.figures", ["rock"]) == wrong.format("figures", "rock", "roc", figures)
    assert re.fullmatch(r"config: run\.seeds is -1.*it must be no less than 0", complaint("run.seeds", [0, -1]))
    assert re.fullmatch(r"config: run\.seeds is -1.*it must be no less than 0", complaint("run.seeds", [-1]))
    assert re.fullmatch(r"config: run\.seeds is \[\]: at least one entry is needed", complaint("run.seeds", []))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "targets.ddpm_digits.training.checkpoint_epochs",
            [550, 551, 600],
            "targets.ddpm_digits.training: checkpoint_epochs [551, 600] come after the last epoch, 550",
        ),
        (
            "targets.ddpm_digits.model.attention",
            [True],
            "targets.ddpm_digits.model: attention has 1 entries and channels has 2; "
            "each needs one for every resolution",
        ),
        (
            "targets.ddpm_digits.model.norm_groups",
            64,
            "targets.ddpm_digits.model: norm_groups 64 does not divide channels [32]",
        ),
        ("attacks.naive.k", 10, "attacks.naive: k is needed with start: inverted, and only there"),
        ("attacks.secmi.k", ABSENT, "attacks.secmi: k is needed with start: inverted, and only there"),
        ("attacks.naive.anchor", "xt", "attacks.naive: anchor is for start: inverted"),
        ("attacks.pia.draw", 1, "attacks.pia: draw is for start: gaussian"),
        (
            "datasets.cifar10.archive",
            "copy.tar.gz",
            "datasets.cifar10: archive and sha256 go together: give both, for a local copy, or neither",
        ),
    ],
)
def test_keys_that_contradict_each_other(path, value, sentence):
    assert complaint(path, value) == f"config: {sentence}"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "run.targets",
            ["ddpm_digit"],
            f"run.targets names 'ddpm_digit', which is not defined; did you mean 'ddpm_digits'? {TARGETS}",
        ),
        ("run.targets", ["zzz"], f"run.targets names 'zzz', which is not defined. {TARGETS}"),
        (
            "run.attacks",
            ["naive", "secmi90"],
            f"run.attacks names 'secmi90', which is not defined; did you mean 'secmi_t90'? {ATTACKS}",
        ),
        (
            "splits.digits.dataset",
            "digts",
            f"splits.digits.dataset names 'digts', which is not defined; did you mean 'digits'? {DATASETS}",
        ),
        (
            "targets.ddpm_digits.split",
            "digit",
            f"targets.ddpm_digits.split names 'digit', which is not defined; did you mean 'digits'? {SPLITS}",
        ),
        (
            "targets.ddpm_digits.timesteps",
            {"naiv": 100},
            f"targets.ddpm_digits.timesteps names 'naiv', which is not defined; did you mean 'naive'? {ATTACKS}",
        ),
        (
            "attacks.secmi_t90.reading_of",
            "secm",
            f"attacks.secmi_t90.reading_of names 'secm', which is not defined; did you mean 'secmi'? {ATTACKS}",
        ),
    ],
)
def test_an_id_that_is_not_defined(path, value, sentence):
    assert complaint(path, value) == f"config: {sentence}"


TEXT_TO_IMAGE = {"family": "diffusers_latent_diffusion", "split": "digits", "folder": "a"}


def test_a_text_to_image_target_is_told_captions_and_others_nothing():
    raw = changed("targets.mine", TEXT_TO_IMAGE)
    assert load_config(raw).targets["mine"].condition == "caption"
    assert load_config(raw).targets["ddpm_digits"].condition is None
    assert "targets.ddpm_digits.condition" in complaint("targets.ddpm_digits.condition", "caption")
    assert complaint("targets.mine", TEXT_TO_IMAGE | {"condition": "captions"}) == (
        "config: targets.mine.condition names 'captions', which is not defined; did you mean 'caption'? "
        "Defined: none, caption, blip"
    )


class TestConditions:
    """What an attack tells a text-to-image target: its own choice, or the target's."""

    @staticmethod
    def told(**attack) -> dict:
        raw = changed("targets.mine", TEXT_TO_IMAGE | {"condition": "blip"})
        raw["attacks"]["naive_told"] = raw["attacks"]["naive"] | {"reading_of": "naive", **attack}
        return raw

    def test_an_attack_takes_the_targets_own_if_it_names_none(self):
        config = load_config(self.told(condition="none"))
        of = {id_: spec.condition for id_, (spec, _) in config.table_attacks("mine").items()}
        assert of["naive"] == of["pia"] == "blip"
        assert of["naive_told"] == "none"
        assert [q.condition for q in config.attack("naive_told", "mine").questions(350)] == ["none"]
        assert jobs.conditions_of(config, "residuals", "mine") == ["blip", "none"]

    def test_what_tells_a_text_is_left_out_where_nothing_is_told(self):
        config = load_config(self.told(condition="caption"))
        assert "naive_told" not in config.table_attacks("ddpm_digits")
        assert config.lack("ddpm_digits", "naive_told") == "tells a text, for targets that are told one"
        assert jobs.conditions_of(config, "residuals", "ddpm_digits") == []

    def test_another_text_is_another_pass_and_other_scores(self):
        raw = self.told(condition="none")
        before = load_config(raw)
        raw["targets"]["mine"]["condition"] = "caption"
        after = load_config(raw)
        for job in (jobs.score_job, lambda *of: jobs.pass_job(of[0], "ask_target", "residuals", of[1], 0)):
            assert job(before, "mine") != job(after, "mine")
        assert jobs.import_job(before, "mine") == jobs.import_job(after, "mine")

    def test_it_is_none_caption_or_a_captioner(self):
        with pytest.raises(DiffmiaError, match=r"attacks\.naive_told\.condition names 'blib', .*did you mean 'blip'"):
            load_config(self.told(condition="blib"))

    def test_maps_of_latents_are_no_images(self):
        assert "of latents" in load_config(self.told()).lack("mine", "secmi_nns")


def test_every_fault_has_a_line():
    config = changed("targets.ddpm_digits.model.chanels", [32])
    config["attacks"]["naive"]["norm"] = 7
    with pytest.raises(DiffmiaError) as caught:
        load_config(config)
    assert str(caught.value).splitlines() == [
        f"config: unknown key 'chanels' in targets.ddpm_digits.model; did you mean 'channels'? {MODEL}",
        "config: attacks.naive.norm is 7. Accepted: 1, 2, 3, 4, 5, 6, inf",
    ]


BEYOND = "it asks the model at timestep 1000, and the target's last is 999"
NO_MULTIPLE = "its timestep 95 is not a multiple of its inversion step k = 10"


@pytest.mark.parametrize(
    ("attack", "t", "reason"), [("naive", 1000, BEYOND), ("secmi", 990, BEYOND), ("secmi", 95, NO_MULTIPLE)]
)
class TestAnAttackThatATargetCannotServe:
    def test_is_refused_where_it_is_selected(self, attack, t, reason):
        sentence = f"config: attack '{attack}' cannot be run on target 'ddpm_digits': {reason}"
        assert complaint("targets.ddpm_digits.timesteps", {attack: t}) == sentence

    def test_is_left_out_of_the_probes_where_it_is_not(self, attack, t, reason):
        raw = changed("targets.ddpm_digits.timesteps", {attack: t})
        raw["run"]["attacks"] = ["pia"]
        config = load_config(raw)
        assert config.refusal(attack, "ddpm_digits") == reason
        asked = {(q.start, q.t) for q in questions_of(config, "residuals", "ddpm_digits") if isinstance(q, Probe)}
        assert (config.attacks[attack].start, t) not in asked
        assert ("proximal", 200) in asked  # the others are asked


@pytest.mark.parametrize(("attack", "t"), [("naive", 999), ("secmi", 980), ("secmi", 0)])
def test_an_attack_may_ask_up_to_the_last_timestep(attack, t):
    config = load_config(changed("targets.ddpm_digits.timesteps", {attack: t}))
    assert config.refusal(attack, "ddpm_digits") is None


def test_a_name_that_no_paper_published():
    assert complaint("targets.ddpm_digits.published_as", {"oms": "ddpm_cifar11"}).startswith(
        "config: targets.ddpm_digits.published_as.oms names 'ddpm_cifar11', which is not defined; "
        "did you mean 'ddpm_cifar10'? Defined: "
    )


def test_a_model_trained_once_is_not_given_a_split_for_each_seed():
    imported = {"family": "diffusers_ddpm", "split": "digits", "folder": "x"}
    raw = changed("targets.mine", imported)
    raw["run"] |= {"targets": ["mine"], "seeds": [0, 1]}
    with pytest.raises(DiffmiaError, match="target 'mine' was trained once, on one split, and each of the run's seeds"):
        load_config(raw)
    raw["run"]["seeds"] = [1]
    load_config(raw)


def test_no_single_members_are_labelled_where_groups_are_kept_whole():
    """Judged members are of the groups of labelled ones, and no judged non-member is: AUC 54 by the group alone."""
    raw = changed("splits.digits.method", "by_group")
    raw["run"]["attacks"] = ["naive", "quantile", "gsa_concat", "gsa_shadow", "secmi_nns"]
    config = load_config(raw)
    assert {attack for _, attack in config.left_out} == {"gsa_concat", "secmi_nns"}
    assert "the split keeps groups whole" in config.left_out["ddpm_digits", "gsa_concat"]


def test_an_entry_twice():
    assert complaint("run.seeds", [0, 1, 0]) == "config: run.seeds: 0 is there more than once"
    assert complaint("evaluation", {"fprs": [0.05, 0.05]}) == "config: evaluation.fprs: 0.05 is there more than once"
    said = complaint("attacks.gsa_concat.timesteps", [100, 100])
    assert said == "config: attacks.gsa_concat.timesteps: 100 is there more than once"
    said = complaint("targets.ddpm_digits.training.checkpoint_epochs", [1, 1])  # of which a whole training came first
    assert said == "config: targets.ddpm_digits.training.checkpoint_epochs: [1, 1] is not ascending, each once"


class TestTargetsThatNameTheirAttacks:
    def test_no_others_are_done_on_them_or_asked(self):
        config = load_config(AS_SHIPPED)
        only = [*AS_SHIPPED["targets"]["uvit_digits"]["attacks"], *BLIND]
        assert [a for t, a in config.pairs if t == "uvit_digits"] == [a for a in config.run.attacks if a in only]
        assert not {pair for pair in config.left_out if pair[0] == "uvit_digits"}
        names = [question.name for question in questions_of(config, "residuals", "uvit_digits")]
        assert "proximal.t100.init1" in names
        assert not [name for name in names if "xt" in name or "map" in name]

    def test_one_of_them_is_selected(self):
        raw = changed("run.attacks", ["gsa_concat"])
        raw["run"]["targets"] = ["ddpm_digits", "uvit_digits"]
        with pytest.raises(DiffmiaError, match=r"run's attacks is done on target 'uvit_digits' \(targets\.uvit_d"):
            load_config(raw)

    def test_they_are_defined(self):
        assert "targets.uvit_digits.attacks names 'piaa', which is not defined; did you mean 'pia'?" in complaint(
            "targets.uvit_digits.attacks", ["piaa"]
        )


class TestContinuousTime:
    def test_attacks_that_need_it_are_left_out_in_discrete_time(self):
        config = load_config(AS_SHIPPED)
        left_out = {attack: lack for (target, attack), lack in config.left_out.items() if target == "ddpm_digits"}
        assert list(left_out) == list(CONTINUOUS)
        assert all(lack.endswith("for targets in continuous time (vp_sde)") for lack in left_out.values())

    @pytest.mark.parametrize(("t", "right"), [(1000, True), (1001, False)])
    def test_its_last_timestep_is_1000(self, t, right):
        raw = changed("targets.uvit_digits.timesteps", {"naive": t})
        raw["run"]["targets"] = ["uvit_digits"]
        expected = nullcontext() if right else pytest.raises(DiffmiaError, match="the target's last is 1000")
        with expected:
            load_config(raw)

    def test_ddpms_are_in_discrete_time(self):
        assert "targets.ddpm_digits.schedule.kind" in complaint("targets.ddpm_digits.schedule", {"kind": "vp_sde"})


class TestStudies:
    def test_they_are_asked_besides_the_attacks_questions(self):
        asked = questions_of(load_config(AS_SHIPPED), "residuals", "ddpm_digits")
        names = {question.name: question for question in asked}
        assert names["gaussian.t100"].n == 3
        assert names["gaussian.t250"].n == 2
        assert {"inverted.t250.k10", "gaussian.t100:trajectory20", "proximal.t100:trajectory20"} <= set(names)
        without = questions_of(load_config(changed("targets.ddpm_digits.studies", None)), "residuals", "ddpm_digits")
        assert {q.name for q in without} < set(names)
        assert "gaussian.t250" not in {q.name for q in without}

    def test_null_targets_are_not_studied(self):
        names = [q.name for q in questions_of(load_config(AS_SHIPPED), "residuals", "ddpm_digits__null")]
        assert "gaussian.t250" not in names

    def test_a_sweep_shares_its_queries(self):
        """OMS Fig. 2b: a chain to 260 (27), SecMI +OMS at each of 11 timesteps, NA and PIA two each: 82 a sample."""
        config = load_config(AS_SHIPPED)
        sweep = config.targets["ddpm_digits"].studies.timesteps
        attacks = [config.attacks[id_] for id_ in ("naive", "pia", "secmi")]
        assert len(sweep) == 11
        assert count_evaluations([attack.probe(t) for attack in attacks for t in sweep]) == 82

    def test_attacks_by_another_iteration_are_asked_and_not_studied(self):
        raw = changed("attacks.naive_anderson", AS_SHIPPED["attacks"]["naive"] | {"t": 100, "iteration": "anderson-1"})
        names = [q.name for q in questions_of(load_config(raw), "residuals", "ddpm_digits")]
        assert "gaussian.t100.anderson-1" in names
        assert not [name for name in names if name.startswith("gaussian.t250") and "anderson" in name]
        assert "there is no iteration 'newton'" in complaint("attacks.naive.iteration", "newton")

    def test_they_are_in_plain_float32(self):
        faster = {"cuda": {"precision": "tf32"}}
        assert complaint("targets.ddpm_digits.arithmetic", faster) == (
            "config: targets.ddpm_digits: arithmetic: cuda is tf32, and studies look at differences of iterates "
            "that it rounds away; leave out one of the two"
        )
        without = changed("targets.ddpm_digits.studies", None)
        without["targets"]["ddpm_digits"]["arithmetic"] = faster
        assert load_config(without).targets["ddpm_digits"].arithmetic.cuda.precision == "tf32"

    def test_their_timesteps_ascend(self):
        assert "[70, 50] is not ascending" in complaint("targets.ddpm_digits.studies", {"timesteps": [70, 50]})

    def test_jacobians_are_taken_up_to_the_last_timestep(self):
        assert complaint("targets.ddpm_digits.studies", {"jacobian_samples": 1, "jacobian_timesteps": [1000]}) == (
            "config: targets.ddpm_digits.studies.jacobian_timesteps has 1000: " + BEYOND
        )

    def test_every_attack_can_be_asked_at_them(self):
        assert complaint("targets.ddpm_digits.studies", {"timesteps": [50, 95]}) == (
            "config: targets.ddpm_digits.studies.timesteps has 95, where attack 'secmi' cannot be asked: " + NO_MULTIPLE
        )


class TestNullTargets:
    """`null_targets: n` adds n targets like one, each trained on a half of the auxiliary samples."""

    def test_they_are_like_it_but_for_what_they_are_trained_on(self):
        config = load_config(changed("targets.ddpm_digits.null_targets", 2))
        for half, id_ in enumerate(["ddpm_digits__null", "ddpm_digits__null1"]):
            like = config.targets["ddpm_digits"]
            once = like.training.model_copy(update={"checkpoint_epochs": ()})
            assert config.targets[id_] == like.model_copy(
                update={
                    "auxiliary_half": half,
                    "published_as": {},
                    "studies": None,
                    "relative_of": "ddpm_digits",
                    "training": once,
                }
            )

    def test_the_first_is_the_control_and_all_are_shadows(self):
        config = load_config(changed("targets.ddpm_digits.null_targets", 2))
        assert config.controls_of("ddpm_digits") == ["ddpm_digits__null", "ddpm_digits__epoch0"]
        assert config.controls == ["ddpm_digits__null", "ddpm_digits__epoch0"]
        nulls = ["ddpm_digits__null", "ddpm_digits__null1"]
        assert learned_from(config, "ddpm_digits", "gsa_shadow") == ["ddpm_digits", *nulls]
        assert learned_from(config, "ddpm_digits__null", "gsa_shadow") == ["ddpm_digits__null", *nulls]
        assert learned_from(config, "ddpm_digits", "gsa_concat") == ["ddpm_digits"]

    def test_every_attack_that_asks_a_model_is_run_on_the_control_too(self):
        pairs = load_config(SHIPPED).pairs
        on_target = [attack for target, attack in pairs if target == "ddpm_digits"]
        assert on_target == SHIPPED["run"]["attacks"]
        on_control = [attack for target, attack in pairs if target == "ddpm_digits__null"]
        assert on_control == [attack for attack in on_target if attack not in BLIND]

    def test_a_shadow_is_asked_for_what_the_attack_needs_even_if_it_is_no_control(self):
        raw = changed("targets.ddpm_digits.null_targets", 2)
        raw["run"]["attacks"] = ["gsa_shadow"]
        config = load_config(raw)
        asked = {t: [q.loss for q in questions_of(config, "gradients", t)] for t in config.targets}
        assert asked["ddpm_digits__null1"] == asked["ddpm_digits"] == ["base", "detached"]
        assert asked["ddpm_cifar10"] == []

    def test_there_must_be_something_to_train_them_on(self):
        raw = changed("splits.digits.auxiliary", 0)
        with pytest.raises(DiffmiaError, match=r"ddpm_digits\.null_targets is 1, and .* split 'digits' has none"):
            load_config(raw)

    def test_their_name_must_be_free(self):
        raw = changed("targets.ddpm_digits__null", SHIPPED["targets"]["ddpm_digits_smoke"])
        with pytest.raises(DiffmiaError, match="ddpm_digits__null is the name of a null target of 'ddpm_digits'"):
            load_config(raw)

    def test_a_model_trained_elsewhere_has_none(self):
        raw = changed("targets.mine", {"family": "diffusers_ddpm", "split": "digits", "folder": "x", "null_targets": 1})
        with pytest.raises(DiffmiaError, match=r"targets\.mine\.null_targets"):
            load_config(raw)


class TestCheckpoints:
    """Each epoch of `checkpoint_epochs` before the last adds a target: the model as it was then."""

    def test_they_are_like_the_target_but_earlier(self):
        config = load_config(changed("targets.ddpm_digits.training.checkpoint_epochs", [0, 275, 550]))
        assert config.checkpoints("ddpm_digits") == {
            0: "ddpm_digits__epoch0",
            275: "ddpm_digits__epoch275",
            550: "ddpm_digits",
        }
        like, early = config.targets["ddpm_digits"], config.targets["ddpm_digits__epoch275"]
        assert (early.at_epoch, early.relative_of, early.training) == (275, "ddpm_digits", like.training)
        assert (early.studies, early.null_targets) == (None, 0)
        assert config.trained_as("ddpm_digits__epoch275") == config.trained_as("ddpm_digits") == "ddpm_digits"
        assert config.trained_as("ddpm_digits__null") == "ddpm_digits__null"
        assert config.checkpoints("ddpm_digits__epoch275") == config.checkpoints("ddpm_digits_smoke") == {}

    def test_the_one_before_training_is_a_null_control(self):
        config = load_config(changed("targets.ddpm_digits.training.checkpoint_epochs", [275]))
        assert config.controls_of("ddpm_digits") == ["ddpm_digits__null"]
        assert config.controls_of("uvit_digits") == ["uvit_digits__epoch0"]

    def test_only_their_residuals_are_asked_for(self):
        config = load_config(AS_SHIPPED)
        untrained = "ddpm_digits__epoch0"
        assert list(config.run_attacks(untrained)) == SHIPPED["run"]["attacks"][:7]
        assert questions_of(config, "gradients", untrained) == []
        assert not [q for q in questions_of(config, "residuals", untrained) if q.name.endswith(":map")]

    def test_a_control_on_which_nothing_is_done_is_none(self):
        raw = changed("run.attacks", ["gsa_concat", "quantile"])
        assert load_config(raw).controls == ["ddpm_digits__null"]

    def test_their_name_must_be_free(self):
        raw = changed("targets.ddpm_digits__epoch0", SHIPPED["targets"]["ddpm_digits_smoke"])
        with pytest.raises(DiffmiaError, match="ddpm_digits__epoch0 is the name of a checkpoint of 'ddpm_digits'"):
            load_config(raw)

    @pytest.mark.parametrize(("key", "value"), [("at_epoch", 5), ("relative_of", "uvit_digits")])
    def test_nobody_else_says_whose_checkpoint_a_target_is(self, key, value):
        with pytest.raises(DiffmiaError, match=rf"targets\.ddpm_digits\.{key} is set by the workflow"):
            load_config(changed(f"targets.ddpm_digits.{key}", value))


class TestAttacksForSomeTargets:
    """An attack that names targets costs the others no query."""

    def test_they_and_what_is_made_from_them_are_asked(self):
        config = load_config(changed("attacks.naive_t200.targets", ["ddpm_digits"]))
        asked = [id_ for id_ in config.targets if "naive_t200" in config.table_attacks(id_)]
        assert {"ddpm_digits", "ddpm_digits__null", "ddpm_digits__epoch0"} <= set(asked)
        assert {config.targets[id_].relative_of or id_ for id_ in asked} == {"ddpm_digits"}

    def test_as_shipped_the_targets_of_the_default_run_pay_nothing(self):
        config, without = load_config(AS_SHIPPED), copy.deepcopy(AS_SHIPPED)
        del without["attacks"]["naive_t200"]
        without = load_config(without)
        for id_ in config.asked_targets:
            assert questions_of(config, "residuals", id_) == questions_of(without, "residuals", id_)
        assert "naive_t200" in config.table_attacks("ddpm_cifar10")

    def test_those_of_the_runs_attacks_are_defined(self):
        said = complaint("attacks.naive.targets", ["ddpm_digitz"])
        assert said.startswith("config: attacks.naive.targets names 'ddpm_digitz', which is not defined; did you mean")

    def test_who_replaces_the_targets_can_leave_the_attacks(self):
        raw = copy.deepcopy(SHIPPED)
        raw["targets"] = {"ddpm_digits": raw["targets"]["ddpm_digits"] | {"studies": {}}}
        assert "naive_t200" not in load_config(raw).table_attacks("ddpm_digits")

    def test_a_target_of_which_none_is_asked_is_named_with_what_can_be(self):
        said = complaint("run.attacks", ["naive_t200"])
        assert "none of the run's attacks is done on target 'ddpm_digits'" in said
        assert "select one of naive, secmi" in said


class TestMain:
    """Main tables and figures show another reading of an attack only where the run has not that attack."""

    def test_a_reading_stands_in_the_place_of_its_attack(self):
        raw = changed("run.attacks", ["naive", "naive_t200", "secmi_t90"])
        config = load_config(raw)
        assert [config.is_main(attack, "ddpm_digits") for attack in raw["run"]["attacks"]] == [True, False, True]
        raw["run"]["attacks"] = ["naive_t200", "pia"]
        raw["run"]["targets"] = ["ddpm_cifar10"]
        config = load_config(raw)
        assert config.is_main("naive_t200", "ddpm_cifar10")
        assert list(shown_attacks(config, "ddpm_cifar10")) == ["naive_t200", "pia"]
        assert questions_of(config, "residuals", "ddpm_cifar10") == questions_of(
            load_config(changed("run.targets", ["ddpm_cifar10"])), "residuals", "ddpm_cifar10"
        )

    def test_so_does_a_reading_of_a_reading(self):
        raw = changed("run.attacks", ["naive", "naive_t500_none"])
        raw["run"]["targets"] = ["sd15_laion_coco"]
        assert not load_config(raw).is_main("naive_t500_none", "sd15_laion_coco")
        raw["run"]["attacks"] = ["pia", "naive_t500_none"]
        assert load_config(raw).is_main("naive_t500_none", "sd15_laion_coco")

    def test_readings_of_each_other_end(self):
        raw = changed("attacks.naive.reading_of", "naive_t200")
        raw["run"]["attacks"] = ["secmi", "naive_none"]
        raw["run"]["targets"] = ["ldm_digits"]
        assert load_config(raw).is_main("naive_none", "ldm_digits")

    def test_and_where_a_target_leaves_the_attack_out(self):
        raw = changed("run.attacks", ["naive", "naive_t200"])
        raw["run"] |= {"targets": ["ddpm_cifar10", "ddpm_cifar100"], "seeds": [0, 1]}
        raw["targets"]["ddpm_cifar100"]["attacks"] = ["naive_t200"]
        config = load_config(raw)
        shown = {target: list(shown_attacks(config, target)) for target in config.run.targets}
        assert shown == {"ddpm_cifar10": ["naive"], "ddpm_cifar100": ["naive_t200"]} == config.surrogates

    def test_the_pia_papers_preset_shows_its_naive_attack(self):
        preset = yaml.safe_load((Path(__file__).parents[2] / "profiles/pia_paper/overrides.yaml").read_text())
        config = load_config(changed("run", preset["run"]))
        papers = ["naive_t200", "secmi", "pia", "pian"]
        for target in config.run.targets:
            assert config.surrogates[target] == papers
            assert list(shown_attacks(config, target))[:4] == papers


class TestSurrogates:
    """Another seed's target chooses thresholds if it is another model, trained on other members."""

    def test_attacks_with_thresholds_on_targets_trained_here(self):
        raw = copy.deepcopy(AS_SHIPPED)
        assert load_config(raw).surrogates == {}
        raw["run"]["seeds"] = [0, 1]
        found = load_config(raw).surrogates
        assert list(found) == ["ddpm_digits", "uvit_digits"]
        assert found["uvit_digits"] == ["naive", "secmi", "pia", "pian", "quantile"]
        raw["run"]["attacks"].remove("secmi")
        readings = ["secmi_t90", "secmi_oms_x0hat", "secmi_oms_xt"]
        assert load_config(raw).surrogates["ddpm_digits"][:6] == ["naive", "pia", "pian", *readings]

    def test_a_fixed_split_has_none(self):
        raw = changed("run.seeds", [0, 1])
        raw["splits"]["digits"] = {"dataset": "digits", "method": "file", "path": "fixed.npz", "auxiliary_key": "rest"}
        assert load_config(raw).surrogates == {}


class TestVariants:
    """`studies.variants` names targets that differ from one in a quantity."""

    OF = "targets.ddpm_digits.studies"

    def test_they_are_defined_targets_and_the_target_itself(self):
        config = load_config(changed(self.OF, {"variants": {"channels": {8: "ddpm_digits_smoke", 32: "ddpm_digits"}}}))
        found = compared_targets(config, "auc_over_variants", "ddpm_digits")
        assert found == {("channels", 8): "ddpm_digits_smoke", ("channels", 32): "ddpm_digits"}
        assert compared_targets(config, "auc_over_timesteps", "ddpm_digits") == {}
        assert "which is not defined" in complaint(self.OF, {"variants": {"x": {1: "nowhere", 2: "ddpm_digits"}}})
        assert "variants.x must have 'ddpm_digits' itself" in complaint(
            self.OF, {"variants": {"x": {1: "ddpm_digits_smoke"}}}
        )


class TestWhatATargetLacks:
    """An attack that lacks something on a target is left out there, with the reason; the rest of the run goes on."""

    def test_shadows(self):
        raw = changed("targets.ddpm_digits.null_targets", 0)
        config = load_config(raw)
        assert config.left_out == {
            ("ddpm_digits", "gsa_shadow"): "needs shadow targets and has none (null_targets)",
        }
        assert ("ddpm_digits", "gsa_shadow") not in config.pairs
        assert ("ddpm_digits", "gsa_concat") in config.pairs

    def test_auxiliary_samples(self):
        raw = changed("splits.digits.auxiliary", 0)
        raw["targets"]["ddpm_digits"]["null_targets"] = raw["targets"]["ddpm_digits_smoke"]["null_targets"] = 0
        config = load_config(raw)
        assert {attack for _, attack in config.pairs} == {*SHIPPED["run"]["attacks"][:7], *BLIND}
        asked = [question.name for question in questions_of(config, "residuals", "ddpm_digits")]
        assert not [name for name in asked if name.endswith(":map")]

    def test_nothing_left_to_run(self):
        raw = changed("targets.ddpm_digits.null_targets", 0)
        raw["run"]["attacks"] = ["gsa_shadow"]
        with pytest.raises(DiffmiaError, match=r"nothing is left to run: attack 'gsa_shadow' needs shadow targets"):
            load_config(raw)

    def test_too_few_auxiliary_samples_for_any_alpha(self):
        raw = changed("splits.digits.auxiliary", 38)  # 19 for the null target
        raw["run"]["attacks"] = ["quantile"]
        with pytest.raises(DiffmiaError, match=r"'quantile' .* 'ddpm_digits__null': no alpha is left .* has 19"):
            load_config(raw)


def test_captions_are_asked_for_where_there_are_some():
    raw = changed("targets.mine", TEXT_TO_IMAGE)
    raw["run"]["targets"], raw["run"]["attacks"] = ["mine"], ["naive", "blind_captions"]
    with pytest.raises(
        DiffmiaError, match=r"'mine' is told captions, and dataset 'digits' has none; set targets\.mine\."
    ):
        load_config(raw)
    raw["targets"]["mine"]["condition"] = "blip"
    assert load_config(raw).left_out == {("mine", "blind_captions"): "needs captions of the samples and has none"}
    raw["attacks"]["naive_told"] = raw["attacks"]["naive"] | {"reading_of": "naive", "condition": "caption"}
    config = load_config(raw)  # defined and not selected: the pass must not ask under captions that are not there
    assert config.lack("mine", "naive_told") == "needs captions of the samples and has none"
    assert jobs.conditions_of(config, "residuals", "mine") == ["blip"]
    raw["datasets"]["captions"] = {"source": "digits", "captions": True}
    raw["datasets"]["both"] = {"source": "joined", "parts": ["digits", "captions"]}
    for dataset in ("captions", "both"):  # that some samples have none is told where one is asked about
        raw["splits"]["digits"]["dataset"] = dataset
        assert load_config(raw).left_out == {}


@pytest.mark.parametrize(
    "spec",
    [
        ResidualAttack(family="residual", label="A", start="gaussian", t=100, norm=2),
        ResidualAttack(family="residual", label="A", start="inverted", t=100, k=10, norm=2),
        ProbabilityFlowAttack(family="probability_flow", label="A", t=100, norm=4),
        QuantileAttack(family="quantile", label="A"),
        DifferenceAttack(family="secmi_nns", label="A"),
        GradientAttack(family="gsa", label="A", oms="concat"),
    ],
    ids=lambda spec: spec.family,
)
def test_every_question_of_an_attack_is_asked_under_its_condition(spec):
    told = spec.model_copy(update={"condition": "caption"})
    for attack, condition in ((spec, "none"), (told, "caption")):
        assert {question.condition for question in attack.questions(100)} == {condition}
