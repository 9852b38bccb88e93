"""Stage 3 of multi-view fusion: self-supervised fine-tuning (Ren et al., CVPR 2022, Sec. 3.4)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.bodies.parametric_hand import HandMesh, HandParameters, hand_meshes, hand_meshes_in_views
from posebridge.cameras.multiview import transform
from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.fitting.depth_misfit import DepthEvidence, misfit
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.depth_views import AugmentedViews
from posebridge.methods.multi_view_fusion.fused_hands import FusedHands
from posebridge.methods.multi_view_fusion.hand_terms import (
    distillation_terms,
    fused_terms,
    labelled_hand,
    mean_of_stacks,
    model_terms,
    pixel_terms,
    prior_terms,
    single_view_terms,
)
from posebridge.methods.multi_view_fusion.supervised_stages import DepthStage
from posebridge.networks.depth_hand import ViewPrediction, with_joint_gradients
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.training.context import Context
from posebridge.training.stage import Terms

_MAX_COORDINATE = 1.5  # of pseudo-labels along each axis, from the cube's centre, in half cubes


class FineTuning(DepthStage):
    """Stage 3: both networks fit the target's depth, and fused hands are pseudo-labels of the single-view network."""

    name = "fine-tuning"

    def __init__(self, config: MultiViewFusionConfig, context: Context, model: DepthHandModel):
        tuning = config.fine_tuning
        streams = {
            "source": context.source.view_sets(tuning.sets, config.single_view.views),
            "target": context.target_frames.view_sets(tuning.sets, 1 if tuning.pseudo_views else tuning.views),
        }
        super().__init__(tuning.schedule, streams, _term_weights(config), context, model, offset=3)
        self.config, self.tuning = config, tuning

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 4, and the supervised terms of the source."""
        source, target = batches["source"], batches["target"]
        assert isinstance(source, LabelledBatch)
        assert isinstance(target, UnlabelledBatch)
        terms = {**self._source_terms(source, generator), **self._target_terms(target, generator)}
        return {name: terms[name] for name in self.term_weights}

    def _source_terms(self, batch: LabelledBatch, generator: Generator) -> Terms:
        """The terms of stages 1 and 2, which stabilise the self-supervised training."""
        config = self.config.single_view
        views = AugmentedViews.draw(batch, self.cube_m, config.augmentation, generator)
        target = labelled_hand(batch, views.complete)
        stacks = self.predict_views(views.erased)
        single = [
            single_view_terms(self.hand, self.spheres, prediction, target, views.erased, config.beta)
            for prediction in stacks
        ]
        sets = len(batch) // config.views
        fused = FusedHands.predict(self.model, self.hand, stacks[-1], views.complete, sets, generator)
        together = fused_terms(self.spheres, fused, target, config.beta)
        return {**_prefixed("source_", mean_of_stacks(single)), **_prefixed("source_fused_", together)}

    def _target_terms(self, batch: UnlabelledBatch, generator: Generator) -> Terms:
        """Eq. 5 to 9."""
        tuning = self.tuning
        if tuning.pseudo_views:
            batch = batch.take(torch.arange(len(batch)).repeat_interleave(tuning.views))
        augmentation = tuning.pseudo_augmentation if tuning.pseudo_views else tuning.augmentation
        augmented = AugmentedViews.draw(batch, self.cube_m, augmentation, generator)
        sets, views = len(batch) // tuning.views, augmented.complete
        evidence = DepthEvidence.from_views(views, tuning.evidence, generator)
        stacks = self.predict_views(augmented.erased)
        terms, pseudo_labels = Terms(), None
        if tuning.combines_views:
            fused = FusedHands.predict(self.model, self.hand, stacks[-1], views, sets, generator)
            pseudo_labels = self._pseudo_labels(fused, evidence)
            terms |= self._fused_terms(fused, evidence, pseudo_labels)
        other = _another_view(sets, tuning.views, generator).to(views.depth_m.device)
        return terms | self._single_view_terms(stacks, views, evidence, other, pseudo_labels)

    def _single_view_terms(
        self,
        stacks: Sequence[ViewPrediction],
        views: CubeViews,
        evidence: DepthEvidence,
        other: Tensor,
        pseudo_labels: HandMesh | None,
    ) -> Terms:
        """Each stack against the depth of the same and of the ``other`` view, against pseudo-labels and the prior."""
        beta, terms = self.config.single_view.beta, []
        T_other_view = views.world_to_cube[other] @ views.cube_to_world
        for prediction in stacks:
            mesh = hand_meshes(self.hand, prediction.hand, views.half_m)
            distilled = Terms()
            if pseudo_labels is not None:
                distilled |= pixel_terms(prediction, pseudo_labels.joints, beta)
                distilled |= model_terms(mesh, pseudo_labels, beta)
            hands = self._with_joint_gradients(prediction.hand, prediction.joints)
            vertices = hand_meshes(self.hand, hands, views.half_m).vertices
            elsewhere = transform(T_other_view, vertices)
            compared = {"fitting": (vertices, evidence), "cross": (elsewhere, evidence.take(other))}
            fitting = {name: self._misfit(*pair).mean() for name, pair in compared.items() if name in self.term_weights}
            prior = prior_terms(self.spheres, mesh, prediction.hand)
            terms.append({**fitting, **_prefixed("distillation_", distilled), **prior})
        return mean_of_stacks(terms)

    def _fused_terms(self, fused: FusedHands, evidence: DepthEvidence, pseudo_labels: HandMesh) -> Terms:
        """Fused hands against the depth of their candidate (L_sm) and of their other views (L_cm), and the prior.

        Fitted pseudo-labels also train them. Others are the fused hands themselves, and the terms have no weight.
        """
        beta = self.config.single_view.beta
        hands = self._with_joint_gradients(fused.prediction.hand, fused.prediction.fusion.joints)
        vertices = hand_meshes_in_views(self.hand, hands, fused.half_m, fused.T_view_candidate).vertices
        misfits = self._misfit(vertices, evidence)
        return {
            "fused_fitting": torch.where(fused.is_candidate, misfits, 0).mean(),
            "fused_cross": torch.where(fused.is_candidate, 0, misfits).mean(),
            **_prefixed("fused_", prior_terms(self.spheres, fused.mesh, fused.prediction.hand)),
            **_prefixed("fused_distillation_", distillation_terms(fused, pseudo_labels, beta)),
        }

    def _pseudo_labels(self, fused: FusedHands, evidence: DepthEvidence) -> HandMesh:
        """Fused hands in every view, fitted to the depth where configured; without gradients.

        Coordinates are clamped a little beyond the cube. Where no hand is visible, pseudo-labels would otherwise
        diverge, as would the forearm, which the depth hardly constrains.
        """
        hands = HandMesh(fused.mesh.vertices, fused.joints)
        if self.tuning.teacher_fitting is not None and self.tuning.distillation_weight > 0:
            hands = fused.fitted(self.hand, evidence, self.tuning.teacher_fitting)
        return HandMesh(
            *(points.detach().clamp(-_MAX_COORDINATE, _MAX_COORDINATE) for points in (hands.vertices, hands.joints))
        )

    def _with_joint_gradients(self, hands: HandParameters, joints: Float[Tensor, "B J 3"]) -> HandParameters:
        """The hands, with gradients to the joints that a joint-based head places them on; the paper's head has none."""
        return hands if self.model.single.config.parameter_head_width is None else with_joint_gradients(hands, joints)

    def _misfit(self, vertices: Float[Tensor, "B V 3"], evidence: DepthEvidence) -> Float[Tensor, "B"]:
        """The sum of Eq. 5 and 6 for each view."""
        return misfit(vertices, self.hand.faces(vertices.device), evidence, self.tuning.evidence)


def _term_weights(config: MultiViewFusionConfig) -> dict[str, float]:
    """Weights of all terms but those with a weight of zero."""
    tuning, labels = config.fine_tuning, config.single_view.weights
    prior = {name: getattr(labels, name) * tuning.prior_weight for name in ("shape", "collision")}
    distillation = labels.by_term("distillation_", ("shape", "collision"))
    weights = {
        **{name: tuning.source_weight * value for name, value in labels.by_term("source_").items()},
        **{name: tuning.source_weight * value for name, value in labels.by_term("source_fused_", ("maps",)).items()},
        "fitting": tuning.fitting_weight,
        "cross": tuning.cross_weight,
        **{name: tuning.distillation_weight * value for name, value in distillation.items()},
        **prior,
    }
    if tuning.combines_views:
        weights |= {"fused_fitting": tuning.fitting_weight, "fused_cross": tuning.cross_weight}
        weights |= {f"fused_{name}": value for name, value in prior.items()}
    if tuning.teacher_fitting is not None:
        fused = labels.by_term("fused_distillation_", ("maps", "shape", "collision"))
        weights |= {name: tuning.distillation_weight * value for name, value in fused.items()}
    return {name: value for name, value in weights.items() if value > 0}


def _another_view(sets: int, views: int, generator: Generator) -> Tensor:
    """For each sample of set-major views, the index of another view of its set; its own for sets of one view."""
    view = torch.arange(views).repeat(sets)
    step = torch.randint(1, max(2, views), (sets * views,), generator=generator)
    first = torch.arange(sets).repeat_interleave(views) * views
    return first + (view + step) % views


def _prefixed(prefix: str, terms: Terms) -> Terms:
    return {f"{prefix}{name}": value for name, value in terms.items()}
