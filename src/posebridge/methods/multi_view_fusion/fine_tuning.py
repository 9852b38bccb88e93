"""Stage 3 of multi-view fusion: self-supervised fine-tuning (Ren et al., CVPR 2022, Sec. 3.4)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.bodies.parametric_hand import HandMesh, HandParameters, hand_meshes, hand_meshes_in_views
from posebridge.cameras.multiview import transform
from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.fitting.depth_misfit import DepthEvidence, misfit
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.depth_views import DrawnViews
from posebridge.methods.multi_view_fusion.supervised_stages import (
    DepthStage,
    FusedInViews,
    distillation_terms,
    fused_terms,
    mean_of_stacks,
    model_terms,
    pixel_terms,
    prior_terms,
    single_terms,
    true_hand,
)
from posebridge.networks.depth_hand import with_joint_gradients
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.training.context import Context
from posebridge.training.stage import Terms

_FARTHEST = 1.5  # of what is taught, from the cube's centre along each axis, in halves of the cube


class FineTuning(DepthStage):
    """Stage 3: both networks explain the target's depth, and the single views learn from all of them together."""

    name = "fine-tuning"

    def __init__(self, config: MultiViewFusionConfig, context: Context, model: DepthHandModel):
        own = config.fine_tuning
        streams = {
            "source": context.source.view_sets(own.sets, config.single.views),
            "target": context.target_frames.view_sets(own.sets, 1 if own.single_view else own.views),
        }
        super().__init__(own.schedule, streams, _weights(config), context, model, offset=3)
        self.config, self.own = config, own

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 4, and labels of the source beside it."""
        source, target = batches["source"], batches["target"]
        assert isinstance(source, LabelledBatch)
        assert isinstance(target, UnlabelledBatch)
        terms = {**self._source_terms(source, generator), **self._target_terms(target, generator)}
        return {name: terms[name] for name in self.term_weights}

    def _source_terms(self, batch: LabelledBatch, generator: Generator) -> Terms:
        """As in the stages before, which keeps the self-supervised training stable."""
        config = self.config.single
        drawn = DrawnViews.of(batch, self.cube_m, config.augmentation, generator)
        truth = true_hand(batch, drawn.whole)
        stacks = self.see(drawn.shown)
        found = [single_terms(self.hand, self.spheres, seen, truth, drawn.shown, config.beta) for seen in stacks]
        fused = FusedInViews.of(self.model, self.hand, stacks[-1], drawn.whole, len(batch) // config.views, generator)
        single, together = mean_of_stacks(found), fused_terms(self.spheres, fused, truth, config.beta)
        return {**_named("source_", single), **_named("source_fused_", together)}

    def _target_terms(self, batch: UnlabelledBatch, generator: Generator) -> Terms:
        """Eq. 5 to 9."""
        own, beta = self.own, self.config.single.beta
        if own.single_view:
            batch = batch.take(torch.arange(len(batch)).repeat_interleave(own.views))
        augmentation = own.pseudo_augmentation if own.single_view else own.augmentation
        drawn = DrawnViews.of(batch, self.cube_m, augmentation, generator)
        sets, views = len(batch) // own.views, drawn.whole
        evidence = DepthEvidence.from_views(views, own.evidence, generator)
        stacks = self.see(drawn.shown)
        fused = FusedInViews.of(self.model, self.hand, stacks[-1], views, sets, generator)
        taught = self._taught(fused, evidence)
        other = _another_view(sets, own.views, generator).to(views.depth_m.device)
        found: list[Terms] = []
        for seen in stacks:
            mesh = hand_meshes(self.hand, seen.hand, views.half_m)
            targets = {**pixel_terms(seen, taught.joints, beta), **model_terms(mesh, taught, beta)}
            own_view = hand_meshes(self.hand, self._movable(seen.hand, seen.joints), views.half_m).vertices
            elsewhere = transform(views.world_to_cube[other] @ views.cube_to_world, own_view)
            fitting = self._misfits({"fitting": (own_view, evidence), "cross": (elsewhere, evidence.take(other))})
            found.append({**fitting, **_named("distillation_", targets), **prior_terms(self.spheres, mesh, seen.hand)})
        movable = self._movable(fused.told.hand, fused.told.fusion.joints)
        in_all_views = hand_meshes_in_views(self.hand, movable, fused.half_m, fused.T_view_candidate).vertices
        return {
            **mean_of_stacks(found),
            **self._misfits({"fused_fitting": (in_all_views, evidence)}),
            **_named("fused_", prior_terms(self.spheres, fused.hand, fused.told.hand)),
            # Fused hands differ from what they teach only where that is fitted, and only then these have a weight.
            **_named("fused_distillation_", distillation_terms(fused, taught, beta)),
        }

    def _taught(self, fused: FusedInViews, seen: DepthEvidence) -> HandMesh:
        """What stands for labels in every view. Where there is no hand to see, lessons of one's own making would run
        away: they end a little beyond the cube. So does the forearm, of which the depth tells little.
        """
        teacher = HandMesh(fused.hand.vertices, fused.joints)
        if self.own.teacher is not None and self.own.distillation_weight > 0:
            teacher = fused.fitted(self.hand, seen, self.own.teacher)
        return HandMesh(
            *(points.detach().clamp(-_FARTHEST, _FARTHEST) for points in (teacher.vertices, teacher.joints))
        )

    def _movable(self, hands: HandParameters, joints: Float[Tensor, "B J 3"]) -> HandParameters:
        """Hands that take the joints along on which they lie; the paper's head lies on none."""
        return hands if self.model.single.config.parameter_head_width is None else with_joint_gradients(hands, joints)

    def _misfits(self, meshes: Mapping[str, tuple[Float[Tensor, "B V 3"], DepthEvidence]]) -> Terms:
        """Eq. 5 and 6 together, the mean over views; of the terms that have a weight."""
        terms: Terms = {}
        for name, (vertices, evidence) in meshes.items():
            if name in self.term_weights:
                faces = self.hand.faces(vertices.device)
                terms[name] = misfit(vertices, faces, evidence, self.own.evidence).mean()
        return terms


def _weights(config: MultiViewFusionConfig) -> dict[str, float]:
    """Of all terms, but for those that a weight of zero leaves out."""
    own, labels = config.fine_tuning, config.single.weights
    prior = {name: getattr(labels, name) * own.prior_weight for name in ("shape", "collision")}
    weights = {
        **{name: own.source_weight * value for name, value in labels.of_terms("source_").items()},
        **{name: own.source_weight * value for name, value in labels.of_terms("source_fused_", ("maps",)).items()},
        "fitting": own.fitting_weight,
        "cross": own.cross_weight,
        # The fused hand is compared with all views at once, so its fitting is both.
        "fused_fitting": own.fitting_weight if own.cross_weight == 0 else own.cross_weight,
        **{
            name: own.distillation_weight * value
            for name, value in labels.of_terms("distillation_", ("shape", "collision")).items()
        },
        **prior,
        **{f"fused_{name}": value for name, value in prior.items()},
    }
    if own.teacher is not None:
        lessons = labels.of_terms("fused_distillation_", ("maps", "shape", "collision"))
        weights |= {name: own.distillation_weight * value for name, value in lessons.items()}
    return {name: value for name, value in weights.items() if value > 0}


def _another_view(sets: int, views: int, generator: Generator) -> Tensor:
    """For every sample of set-major views, another one of its set; itself where a set has one view."""
    place = torch.arange(views).repeat(sets)
    step = torch.randint(1, max(2, views), (sets * views,), generator=generator)
    first = torch.arange(sets).repeat_interleave(views) * views
    return first + (place + step) % views


def _named(prefix: str, terms: Terms) -> Terms:
    return {f"{prefix}{name}": value for name, value in terms.items()}
