"""Fine-tuning by pseudo-labels and reconstruction (Lin et al., NeurIPS 2023, Sec. 3.3)."""

import copy
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import warp_batch
from posebridge.data.occlude import adaptive_occlusion
from posebridge.data.streams import Stream
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor
from posebridge.methods.geometric_reconstruction.integrated_labels import IntegratedLabels
from posebridge.methods.geometric_reconstruction.perceptual_features import PerceptualLoss
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructionConfig,
    draw_same_views,
    labelled_view,
    reconstruction_loss,
    soft_joints,
)
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.context import Context
from posebridge.training.optimisers import ParameterGroup, Schedule
from posebridge.training.pseudo_labeller import PseudoLabeller
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.source_training import augmented
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.style import Restyler, restyle_randomly
from posebridge.training.supervision import supervised_terms


@dataclass(frozen=True)
class Phase:
    """A part of fine-tuning: its schedule, and where it starts and ends as fractions of the whole."""

    schedule: Schedule
    start_frac: float = 0.0
    end_frac: float = 1.0


class FineTuning(PoseStage):
    """Sec. 3.3: adapts to unlabelled frame pairs while training on the source.

    Without a reconstructor, it trains on pseudo-labels alone and takes single frames.
    """

    name = "fine-tuning"

    def __init__(
        self,
        config: GeometricReconstructionConfig,
        phase: Phase,
        context: Context,
        network: PoseResNet,
        restyler: Restyler | None,
        reconstructor: FrameReconstructor | None = None,
    ):
        reconstruction = config.reconstruction if reconstructor is not None else None
        super().__init__(
            phase.schedule,
            _streams(config, reconstruction, context),
            _term_weights(config, reconstruction),
            **context.stage_options(6 if phase.start_frac == 0 else 7),
        )
        self.config = config
        self.phase = phase
        self.maps = network.maps
        self.skeleton = context.skeleton
        self.student = copy.deepcopy(network).train().requires_grad_(True)
        self.teacher = copy.deepcopy(network).train().requires_grad_(False)
        self.labeller = PseudoLabeller(config, context.skeleton.mirror, self.in_precision(restyler))
        self.integrated = IntegratedLabels.from_context(config.labels, network.maps, context)
        self.reconstructor = copy.deepcopy(reconstructor)
        torch.manual_seed(context.seed)  # frozen features must equal those of the reconstructor's training
        self.temperature = 1.0 if reconstruction is None else reconstruction.joint_temperature
        self.perceptual_loss = None if reconstruction is None else PerceptualLoss(reconstruction.features, network)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 11."""
        source, frames = batches["source"], batches["target"]
        assert isinstance(frames, UnlabelledBatch)
        terms = self._supervised(source, frames, generator)

        pseudo = self.labeller.label(partial(self.predict_poses, self.teacher), frames, source.rgb, generator)
        targets = self.integrated.pseudo_targets(pseudo, frames.camera, frames.rgb.shape[-1], self._progress)
        view, T_view = self._draw_view(frames, generator)
        output = self.predict_maps(self.student, self._student_input(view, pseudo, T_view, generator))
        terms |= self.integrated.terms(output, targets, T_view, view.rgb.shape[-1])  # Eq. 3
        if self.reconstructor is not None:
            uv_px = soft_joints(output[0], self.maps, view.rgb.shape[-1], self.temperature)
            terms["reconstruction"] = self._reconstruction(view, uv_px)
        if "source_pairs" in batches:
            labelled = labelled_view(batches["source_pairs"], self.config.geometry, generator, self.skeleton.mirror)
            terms["source_reconstruction"] = self._reconstruction(*labelled)
        return terms

    def _supervised(self, source: Observation, frames: UnlabelledBatch, generator: Generator) -> Terms:
        """Eq. 1 on the source, partly in the target's style."""
        image = restyle_randomly(
            self.labeller.restyler, source.rgb, frames.rgb, self.config.source_to_target, generator
        )
        view = augmented(replace(source, image=image), self.config, generator, self.skeleton.mirror)
        return supervised_terms(self.maps, self.predict_maps(self.student, view.rgb), view, self.skeleton)

    def _draw_view(self, frames: UnlabelledBatch, generator: Generator) -> tuple[UnlabelledBatch, Tensor]:
        """Random views and their pixel maps. Both frames of a pair share one, so that the background stays in place."""
        if self.reconstructor is None:
            T_view = self.labeller.draw_views(frames, generator)
            return warp_batch(frames, T_view), T_view
        T_view = draw_same_views(frames, self.config.geometry, generator)
        return warp_batch(frames, T_view), T_view

    def _student_input(
        self, view: UnlabelledBatch, pseudo: PseudoLabels, T_view: Tensor, generator: Generator
    ) -> Tensor:
        """The student's views with photometric augmentation and occlusions."""
        labels = pseudo.in_view(T_view, self.skeleton.mirror)
        image = apply_appearance(view.rgb, self.config.appearance, generator)
        image, _ = adaptive_occlusion(image, labels.uv_px, labels.confidence, self.config.occlusion, generator)
        return image

    def _reconstruction(self, view: Observation, uv_px: Float[Tensor, "B K 2"]) -> Float[Tensor, ""]:
        """Eq. 9: the loss of driving frames that are reconstructed from these joints."""
        assert self.reconstructor is not None
        assert self.perceptual_loss is not None
        with self.trainer.precision_plugin.forward_context():
            return reconstruction_loss(self.reconstructor, self.perceptual_loss, view, uv_px)

    @property
    def _progress(self) -> float:
        """Fraction of fine-tuning that is done."""
        step = self.schedule.steps if self._trainer is None else self.global_step  # a finished stage has no trainer
        return self.phase.start_frac + (self.phase.end_frac - self.phase.start_frac) * step / self.schedule.steps

    def optimizer_step(self, *args, **kwargs) -> None:
        """Called by the trainer: update the student, then the teacher as its moving average."""
        super().optimizer_step(*args, **kwargs)
        update_average(self.teacher, self.student, self.config.average_decay)

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """Those of student and learnt bone lengths; those of warping estimator and generator, with their own rate."""
        pose = ParameterGroup((*self.student.parameters(), *self.integrated.parameters()))
        reconstruction = self.config.reconstruction
        if self.reconstructor is None or reconstruction is None:
            return (pose,)
        return pose, ParameterGroup(tuple(self.reconstructor.parameters()), reconstruction.fine_tuning_rate)

    def result(self) -> PoseResNet:
        """The teacher."""
        return self.teacher

    def other_results(self) -> dict[str, nn.Module]:
        """Warping estimator and generator."""
        return {} if self.reconstructor is None else {"reconstructor": self.reconstructor}

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """The pseudo-labels of un-augmented frames."""
        predicted = self.labeller.label_unaugmented(self.teacher, frames)
        targets = self.integrated.pseudo_targets(predicted, frames.camera, frames.rgb.shape[-1], self._progress)
        return targets.merged()


def _term_weights(
    config: GeometricReconstructionConfig, reconstruction: ReconstructionConfig | None
) -> dict[str, float]:
    """Eq. 11 and, within the pseudo-labels, Eq. 3."""
    weights = {"heat": config.heat_weight, "depth": config.depth_weight}
    weights |= {name: config.pseudo_label_weight * weight for name, weight in config.labels.weights.items()}
    if reconstruction is None:
        return weights
    weights["reconstruction"] = reconstruction.weight
    if reconstruction.keeps_source_videos:
        weights["source_reconstruction"] = reconstruction.weight  # trains the reconstructor alone
    return weights


def _streams(
    config: GeometricReconstructionConfig, reconstruction: ReconstructionConfig | None, context: Context
) -> dict[str, Stream[Observation]]:
    """Batches of the source and of the target: single frames, or pairs for reconstruction."""
    streams: dict[str, Stream[Observation]] = {"source": context.source.batches(config.batch_size)}
    if reconstruction is None:
        return streams | {"target": context.target_frames.batches(config.batch_size)}
    streams["target"] = context.target_frames.pairs(config.batch_size // 2, reconstruction.pairs)
    if reconstruction.keeps_source_videos:
        streams["source_pairs"] = context.source.pairs(reconstruction.batch_pairs // 2, reconstruction.source_pairs)
    return streams
