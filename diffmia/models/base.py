"""What every target says of itself in `config.yaml`, whatever its family."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator

from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.models.published import PublishedModel, published_models
from diffmia.models.schedule import ContinuousScheduleSpec, ScheduleSpec
from diffmia.search.studies import StudiesSpec
from diffmia.spec import Ascending, Sha256, Spec

if TYPE_CHECKING:
    from diffmia.denoisers.denoiser import Denoiser

EXACT = "float32"
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
TrainingPrecision = Literal["float32", "tf32", "bfloat16"]  # float16 would want its loss scaled


class TrainingSpec(Spec):
    """How a target is trained on its members."""

    epochs: PositiveInt = Field(description="Passes over the members")
    batch_size: PositiveInt = Field(128, description="Images per step")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="Optimiser")
    learning_rate: float = Field(2e-4, gt=0, description="Learning rate after warm-up")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay")
    warmup_steps: NonNegativeInt = Field(0, description="Steps of linear warm-up")
    gradient_clip: float | None = Field(1.0, gt=0, description="Largest gradient norm, or null for no clipping")
    ema_decay: float = Field(
        0.9999, ge=0, lt=1, description="Decay of the weights' moving average, which is what is attacked"
    )
    horizontal_flip: bool = Field(False, description="Mirror images at random while training")
    precision: TrainingPrecision = Field(
        EXACT, description="Arithmetic inside the model; tf32 and bfloat16 are faster on recent GPUs"
    )
    compile: bool = Field(
        False, description="Make kernels for the model by torch.compile: a minute at the start, then faster on GPUs"
    )
    seconds_between_saves: NonNegativeFloat = Field(
        30.0, description="How often the state is saved that a killed training goes on from; changes no number"
    )
    checkpoint_epochs: Ascending[NonNegativeInt] = Field(
        (),
        description="Epochs after which the EMA weights are kept, each a target <id>__epoch<N>; 0: before the first, "
        "which is a null control",
    )

    @model_validator(mode="after")
    def _checkpoints_are_reached(self) -> TrainingSpec:
        if late := [epoch for epoch in self.checkpoint_epochs if epoch > self.epochs]:
            raise ValueError(f"checkpoint_epochs {late} come after the last epoch, {self.epochs}")
        return self


class Arithmetic(Spec):
    """How a model computes inside; what goes in and comes out of it is float32."""

    precision: Precision = Field(EXACT, description="Arithmetic inside the model; others than float32 are coarser")
    compile: bool = Field(
        False, description="Make kernels for the model by torch.compile: a minute at the start, then faster on GPUs"
    )

    def __str__(self) -> str:
        return self.precision + (", compiled" if self.compile else "")


class ArithmeticSpec(Spec):
    """How a model computes on each kind of device: what is fast on one may be slow on another."""

    cpu: Arithmetic = Field(default_factory=Arithmetic, description="On processors")
    cuda: Arithmetic = Field(default_factory=Arithmetic, description="On GPUs")


class TargetSpec(Spec):
    """A model to attack: what it was trained on, and when it is probed."""

    kind: ClassVar[str]  # of model: targets of one kind share the papers' tables (ddpm, uvit, ldm)
    latent: ClassVar[bool] = False  # whether it is asked about latents of the images, and told texts

    split: str = Field(description="Id of the split whose members the model was trained on")
    schedule: ScheduleSpec | ContinuousScheduleSpec = Field(description="Forward process")
    attacks: tuple[str, ...] | None = Field(
        None, description="Ids of the only attacks that a run does on it, of those it selects; null for all"
    )
    condition: None = Field(None, description="Only text-to-image targets are told anything")
    timesteps: dict[str, NonNegativeInt] = Field(
        default_factory=dict, description="Attack id: timestep, where it differs from the attack's own"
    )
    published_as: dict[str, str] = Field(
        default_factory=dict, description="Paper id: the target's name in that paper's published results"
    )
    studies: StudiesSpec | None = Field(
        None, description="What the residual pass is asked besides attacks' questions, for figures; null for nothing"
    )
    shards: PositiveInt = Field(
        1, description="Jobs that each pass, and the making of latents, is cut into; changes no number"
    )
    batch_size: PositiveInt = Field(256, description="Samples per model call in the residual pass; changes no number")
    arithmetic: ArithmeticSpec = Field(
        default_factory=ArithmeticSpec,
        description="How the residual pass computes inside the model, by kind of device; what is not plain float32 is "
        "refused unless it ranks samples as that does, under every attack that reads the pass",
    )
    gradient_batch_size: PositiveInt = Field(
        4, description="Samples per backward pass, each at every timestep, in the gradient pass; changes no number"
    )
    null_targets: NonNegativeInt = Field(
        0,
        description="Number of further targets like it, <id>__null, <id>__null1, ..., each trained on a random half of "
        "the auxiliary samples: the first is its null control, and attacks may learn from all as shadow targets",
    )
    auxiliary_half: NonNegativeInt | None = Field(
        None, description="Which random half of the auxiliary samples it is trained on in place of the members, if any"
    )
    relative_of: str | None = Field(None, description="Id of the target this one was made from; set by the workflow")
    at_epoch: NonNegativeInt | None = Field(
        None, description="Epoch of that target's training it is the checkpoint of, if any; set by the workflow"
    )

    @model_validator(mode="after")
    def _studies_are_exact(self) -> TargetSpec:
        for device, arithmetic in self.arithmetic:
            if self.studies is not None and arithmetic.precision != EXACT:
                raise ValueError(
                    f"arithmetic: {device} is {arithmetic.precision}, and studies look at differences of iterates "
                    "that it rounds away; leave out one of the two"
                )
        return self

    @abstractmethod
    def load(self, folder: Path) -> Denoiser:
        """Read the model from the target's folder; nothing in it is executed."""


class TrainedTarget(TargetSpec):
    """A target that this workflow trains on the members of its split."""

    # what makes the data of its training, `module:function` (spec, TrainingFiles, device) -> TrainingData
    preparation: ClassVar[str] = "diffmia.training.data:prepare_pixels"

    training: TrainingSpec = Field(description="How it is trained")

    @abstractmethod
    def build(self, image_shape: tuple[int, int, int]) -> Denoiser:
        """A model of this target's shape with fresh weights, for images of shape (C, H, W)."""

    @abstractmethod
    def save(self, denoiser: Denoiser, folder: Path) -> None:
        """Write the model's configuration and weights below `folder`, for `load`."""


class ImportedTarget(TargetSpec):
    """A target that was trained elsewhere."""

    auxiliary_half: None = Field(None, description="Only targets that are trained here are trained on something else")
    null_targets: Literal[0] = Field(0, description="Only targets that are trained here have others like them")

    origin: str | None = Field(
        None, description="Its id in the register of published models, diffmia/published/models.yaml, if it is there"
    )
    sha256: Sha256 | None = Field(
        None,
        description="Checksum of the file with its denoiser's weights; null: the register's, or any if that has none",
    )
    split_hash: Sha256 | None = Field(
        None, description="Hash of the split it was trained on (split_hash of the split's manifest); null: any"
    )

    @field_validator("origin")
    @classmethod
    def _is_registered(cls, origin: str | None) -> str | None:
        if origin is not None and origin not in published_models():
            raise ValueError(f"'{origin}' is not in the register, which has {', '.join(published_models())}")
        return origin

    @property
    def published(self) -> PublishedModel | None:
        """What the register says of it."""
        return published_models().get(self.origin)

    @property
    def published_name(self) -> str | None:
        """What it is called wherever its files lie, None if it has no such name."""
        return self.origin

    @abstractmethod
    def inputs(self) -> list[str]:
        """Local files the model is read from, which the workflow depends on; none if it is downloaded."""

    def whereabouts(self) -> dict[str, str]:
        """Where its files are had from and kept, for people."""
        return {"from": self.published.page if self.published else "you", "kept in": ", ".join(self.inputs())}

    def missing(self) -> list[str]:
        """What of it is not here yet."""
        return [path for path in self.inputs() if not Path(path).is_file()]

    def fetch(self) -> list[SourceFile]:
        """Make the files the model is read from present, and say which they are.

        Of those that are no JSON the one with the denoiser's weights comes first.

        Raises
        ------
        DiffmiaError
            If a file is absent or cannot be downloaded.
        """
        if self.published and (missing := self.missing()):
            raise DiffmiaError(
                f"{', '.join(missing)} is not there, and cannot be downloaded by a program; get it from "
                f"{self.published.page}"
            )
        return [SourceFile.of(path) for path in self.inputs()]

    @abstractmethod
    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """Check that the model is what the config says, takes images of shape (C, H, W), and copy it for `load`.

        `files` are those of `fetch`, by name.
        """


class CheckpointTarget(ImportedTarget):
    """A target that was trained elsewhere and is one file."""

    checkpoint: str = Field(description="File of torch.save (.pth or .pt; read without running code) or .safetensors")

    def inputs(self) -> list[str]:
        """See `ImportedTarget.inputs`."""
        return [self.checkpoint]
