"""Questions that no attack asks, for figures of how attacks change with the timestep and of how searches converge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from diffmia.search.iterations import parse
from diffmia.search.probes import UNCONDITIONAL, JacobianProbe, Probe, Question, Trajectory
from diffmia.spec import Ascending, Spec

if TYPE_CHECKING:
    from diffmia.attacks.residual import ResidualAttack


class StudiesSpec(Spec):
    """What a target's residual pass is asked besides the attacks' questions, and the whole of its Jacobian pass."""

    timesteps: Ascending[PositiveInt] = Field(
        (), description="Further timesteps of the residual attacks (OMS Fig. 2b, B.1a)"
    )
    iterates: PositiveInt = Field(3, description="Steps of their searches, every pair of which is kept (Fig. 3)")
    iterations: tuple[str, ...] = Field(
        (), description="Other iterations than Picard's, for the same two queries; a table is in docs/design.md"
    )
    steps: PositiveInt = Field(20, description="Steps of the long searches whose convergence is shown (Fig. 1, B.1b)")
    jacobian_samples: NonNegativeInt = Field(
        0, description="Members, and as many non-members, that the Jacobian's norm is taken of; 0 leaves it out"
    )
    jacobian_timesteps: Ascending[PositiveInt] = Field((50, 100, 200), description="Timesteps of it (Fig. 1)")
    variants: dict[str, dict[int, str]] = Field(
        default_factory=dict,
        description="Quantity: {value: target}: targets that differ from this one, which is among them, in one "
        "quantity, for the figure auc_over_variants",
    )
    jacobian_iterates: PositiveInt = Field(3, description="Its last iterate; the first is the initial noise")

    @field_validator("iterations")
    @classmethod
    def _are_known(cls, iterations: tuple[str, ...]) -> tuple[str, ...]:
        for iteration in iterations:
            parse(iteration)
        return iterations

    def questions(self, attacks: dict[str, ResidualAttack], t_of: dict[str, int]) -> list[Question]:
        """What a target is asked of the searches of `attacks`, by id, whose own timesteps are `t_of`."""
        asked: list[Question] = []
        for id_, attack in attacks.items():
            asked.append(attack.probe(t_of[id_], self.iterates))
            asked += [attack.probe(t) for t in self.timesteps]
        at_one_timestep = {id_: attack for id_, attack in attacks.items() if not attack.k}
        for id_, attack in at_one_timestep.items():
            asked += [attack.probe(t_of[id_], iteration=iteration) for iteration in self.iterations]
        return asked + [self.trajectory(attack, t_of[id_]) for id_, attack in at_one_timestep.items()]

    def trajectory(self, attack: ResidualAttack, t: int) -> Trajectory:
        """The long search of an attack all of whose queries are at one timestep."""
        return Trajectory(of=attack.probe(t, self.steps))

    def jacobian_questions(self, condition: str | None) -> list[JacobianProbe]:
        """What the Jacobian pass is asked: about searches from Gaussian noise, the one start that asks no model."""
        if not self.jacobian_samples:
            return []
        search = {"start": "gaussian", "n": self.jacobian_iterates, "condition": condition or UNCONDITIONAL}
        return [JacobianProbe(of=Probe(**search, t=t)) for t in self.jacobian_timesteps]
