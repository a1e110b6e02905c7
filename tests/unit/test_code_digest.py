"""The digest of code: it moves with what a stage does, and with nothing else; so a rerun does what changed."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from diffmia.config.config import load_config
from diffmia.planning import code_digest as module
from diffmia.planning import jobs
from diffmia.planning.code_digest import code_digest, imported
from diffmia.training import version as training_version

REPOSITORY = Path(__file__).parents[2]

TRAINING_CODE = (
    *("diffmia.training.trainer", "diffmia.training.latent_data"),
    *("diffmia.models.ddpm_unet", "diffmia.models.uvit", "diffmia.models.latent_diffusion"),
)
TRAINING_PINNED = (1, "02341f55e078c53e")

PACKAGE = {
    "__init__": "",
    "stage": '''
"""What this does."""
from typing import TYPE_CHECKING
from toy.direct import f
if TYPE_CHECKING:
    from toy.types import T

def run(x: "T") -> int:
    """Doubles."""
    from toy.late import g
    return f(x) + g(x)  # once more
''',
    "direct": "from toy import deep\ndef f(x):\n    return deep.h(x)\n",
    "deep": "def h(x):\n    return 2 * x\n",
    "late": "def g(x):\n    return 1\n",
    "types": "T = int\n",
    "unrelated": "x = 1\n",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Digest of the stage of a toy package, some modules of which have another text."""
    monkeypatch.setattr(module, "PACKAGE_ROOT", tmp_path)

    def digest(script=None, **texts):
        (tmp_path / "toy").mkdir(exist_ok=True)
        (tmp_path / "scripts").mkdir(exist_ok=True)
        for name, text in (PACKAGE | texts).items():
            (tmp_path / "toy" / f"{name}.py").write_text(text)
        if script is not None:
            (tmp_path / "scripts" / "run_stage.py").write_text(script)
        module._module.cache_clear()
        return code_digest("toy.stage", script=None if script is None else "run_stage")

    yield digest
    module._module.cache_clear()


class TestWhatMovesIt:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("# once more", "# twice"),
            ("  # once more", ""),
            ("What this does", "What it is for"),
            ('    """Doubles."""\n', ""),
            ("return f(x) + g(x)", "return (\n        f(x)\n        + g(x)\n    )"),
            ("    from toy.types import T", "    from toy.unrelated import x"),
        ],
        ids=["comment", "no comment", "docstring", "no docstring", "format", "import for type checkers"],
    )
    def test_not_how_a_module_is_written(self, toy, old, new):
        text = PACKAGE["stage"]
        assert old in text
        assert toy(stage=text.replace(old, new)) == toy()

    @pytest.mark.parametrize(("old", "new"), [("f(x) + g(x)", "f(x) - g(x)"), ("def run(x", "def run(y")])
    def test_a_statement(self, toy, old, new):
        text = PACKAGE["stage"]
        assert old in text
        assert toy(stage=text.replace(old, new)) != toy()

    @pytest.mark.parametrize("name", ["direct", "deep", "late"])
    def test_what_it_imports_at_any_depth_and_inside_functions(self, toy, name):
        assert toy(**{name: PACKAGE[name] + "y = 3\n"}) != toy()

    @pytest.mark.parametrize("name", ["unrelated", "types"])
    def test_not_other_modules(self, toy, name):
        assert toy(**{name: PACKAGE[name] + "y = 3\n"}) == toy()

    @pytest.mark.parametrize("statement", ["from .direct import f", "from . import direct", "import toy.direct as d"])
    def test_any_form_of_import(self, toy, statement):
        stage = f"{statement}\n"
        assert toy(stage=stage, direct="x = 1\n") != toy(stage=stage, direct="x = 2\n")

    def test_what_runs_where_type_checkers_do_not(self, toy):
        stage = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 0\nelse:\n    x = {}\n"
        assert toy(stage=stage.format(1)) != toy(stage=stage.format(2))

    def test_the_rules_script_but_not_what_the_script_imports(self, toy):
        script = "from toy.unrelated import x\nrun(x)\n"
        assert toy(script) != toy()
        assert toy(script) == toy(script + "# a remark\n") == toy(script, unrelated="x = 2\n")
        assert toy(script) != toy(script.replace("run(x)", "run(2 * x)"))

    def test_a_module_that_is_not_there_is_an_error(self):
        with pytest.raises(ModuleNotFoundError, match=r"no module diffmia\.nowhere"):
            code_digest("diffmia.nowhere")


@pytest.mark.parametrize(
    ("stage", "inside", "outside"),
    [
        (
            "passes.residuals",
            {"search.noise_search", "denoisers.schedules", "search.noise", "search.probes"},
            {
                "training.trainer",
                "scoring.reading",
                "splits",
                "config.config",
                "gradients.norms",
                "gradients.layers",
                "passes.gradients",
            },
        ),
        (
            "scoring.reading",
            {"attacks.base", "search.probes", "running.finite"},
            {"training.trainer", "passes.engine", "search.noise_search", "splits"},
        ),
        (
            "evaluation.stage",
            {"evaluation.roc", "evaluation.thresholds", "evaluation.resampling"},
            {"search.noise_search"},
        ),
        ("datasets.prepare", {"datasets.base", "datasets.download"}, {"splits", "datasets.cifar10"}),
        (
            "models.ddpm_unet",
            {"models.networks.unet", "denoisers.schedules", "denoisers.denoiser"},
            {"training.trainer"},
        ),
        (
            "training.trainer",
            {"models.base", "files.images", "denoisers.denoiser"},
            {"passes.engine", "search.noise_search", "running.runtime"},
        ),
    ],
)
def test_what_a_stage_rests_on(stage, inside, outside):
    assert imported(*(f"diffmia.{name}" for name in outside))  # or it raises: there is no such module
    found = imported(f"diffmia.{stage}")
    assert {f"diffmia.{name}" for name in inside} <= found
    assert not {f"diffmia.{name}" for name in outside} & found


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the code that digests are taken of, and the jobs' texts as it stands."""
    root = tmp_path_factory.mktemp("source")
    for folder in ("diffmia", "scripts"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PACKAGE_ROOT", root)
        yield root, texts()
    module._module.cache_clear()


def texts():
    """Text of one job of each rule, and of each dataset, table and figure."""
    config = load_config(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))
    target = "ddpm_digits"
    module._module.cache_clear()
    return {
        **{f"dataset {name}": jobs.dataset_job(config, "prepare_dataset", name) for name in config.datasets},
        "split": jobs.split_job(config, "digits", 0),
        "training": jobs.training_job(config, target, 0),
        "residuals": jobs.pass_job(config, "ask_target", "residuals", target, 0),
        "gradients": jobs.pass_job(config, "ask_target", "gradients", target, 0),
        "score": jobs.score_job(config, target),
        **{f"learning {a}": jobs.learning_job(config, target, a, 0) for a in ("gsa_concat", "quantile", "secmi_nns")},
        "evaluation": jobs.evaluation_job(config, target, 0),
        "metrics": jobs.selection_job(config, "aggregate_metrics", "diffmia.evaluation.stage"),
        "tables": jobs.tables_job(config),
        **{f"figure {name}": jobs.figure_job(config, name, target) for name in config.run.figures},
    }


@pytest.mark.parametrize(
    ("edited", "reruns"),
    [
        ("diffmia/datasets/digits.py", "dataset (captioned_)?digits"),
        ("diffmia/datasets/prepare.py", "dataset .*"),
        ("diffmia/splits.py", "split|residuals|gradients|learning .*|evaluation|metrics|tables"),
        ("diffmia/search/noise.py", "residuals|gradients"),
        ("diffmia/search/noise_search.py", "residuals|gradients"),
        ("diffmia/denoisers/schedules.py", "residuals|gradients"),
        ("diffmia/models/networks/unet.py", "residuals|gradients"),
        ("diffmia/gradients/norms.py", "gradients"),
        ("diffmia/gradients/layers.py", "gradients"),
        ("diffmia/passes/gradients.py", "gradients"),
        ("diffmia/passes/residuals.py", "residuals"),
        ("diffmia/passes/engine.py", "residuals|gradients"),
        ("diffmia/scoring/learning.py", "learning .*"),
        ("diffmia/attacks/gsa.py", "learning gsa_concat|evaluation"),
        ("diffmia/attacks/learners/boosting.py", "learning gsa_concat|evaluation"),
        ("diffmia/attacks/learners/resnet.py", "learning (quantile|secmi_nns)|evaluation"),
        ("diffmia/attacks/learners/conformal.py", "learning quantile|evaluation"),
        ("scripts/learn_attack.py", "learning .*"),
        ("diffmia/attacks/residual.py", "score|evaluation"),  # the rows of metrics.csv have its queries and flags
        ("diffmia/evaluation/delong.py", "evaluation|metrics"),
        ("diffmia/tables/tablec1.py", "tables"),
        ("diffmia/tables/latex.py", "tables"),
        ("diffmia/figures/training_loss.py", "figure training_loss"),
        ("diffmia/figures/figure.py", "figure .*"),
        ("scripts/score_attacks.py", "score"),
        ("diffmia/training/trainer.py", "nothing"),  # its version is raised by hand
        ("diffmia/config/errors.py", "nothing"),
        ("diffmia/commands/run.py", "nothing"),
    ],
)
def test_an_edit_reruns_what_it_decides(source, edited, reruns):
    root, before = source
    text = (root / edited).read_text()
    (root / edited).write_text(f"{text}\nedited = True\n")
    after = texts()
    (root / edited).write_text(text)
    assert {name for name in before if before[name] != after[name]} == {n for n in before if re.fullmatch(reruns, n)}


def test_published_numbers_are_part_of_tables(tmp_path, monkeypatch):
    published = shutil.copytree(jobs.PUBLISHED, tmp_path / "published")
    monkeypatch.setattr(jobs, "PUBLISHED", published)
    before = texts()
    with (published / "results.csv").open("a") as file:
        file.write("\n")
    after = texts()
    assert {name.split()[0] for name in before if before[name] != after[name]} == {"tables"}


def test_training_code_is_what_its_version_stands_for():
    assert (training_version.VERSION, code_digest(*TRAINING_CODE)) == TRAINING_PINNED, (
        "training code changed: raise diffmia/training/version.py VERSION if what it makes changes, "
        "then pin the new digest here"
    )
