"""SemiHand: semi-supervised hand pose estimation with consistency (Yang, Chen and Yao, ICCV 2021).

A network of joints and hand mask is trained on the source. On the target it learns from its own predictions, corrected
by the anatomy of a hand and selected by their stability, while views and modalities have to agree.
"""

import copy
from collections.abc import Generator

import torch

from posebridge.contracts.section import Section
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.methods.semihand.adaptation import Adaptation, AdaptationConfig
from posebridge.methods.semihand.circle_training import CircleTraining
from posebridge.methods.semihand.config import SemiHandConfig, check_target
from posebridge.methods.semihand.evidence import semihand_sections
from posebridge.methods.semihand.pretraining import Pretraining
from posebridge.networks.circle_hand import CircleHand
from posebridge.networks.multi_task import MultiTaskNetwork
from posebridge.networks.pose_network import FeatureNetwork, network_as
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.registration import PoseRegistration, template


class SemiHand(Method[SemiHandConfig]):
    """Pretraining of joints and mask, the circles' radii, and adaptation (Algorithm 6.1)."""

    def stages(self, context: Context) -> Stages:
        """The stages in order; each is made when the one before is done.

        Raises ``InputError`` for other joints than a hand's, a target of one frame, and a template of another skeleton.
        """
        self._check(context)
        adapts = self.config.adaptation
        backgrounds = self._backgrounds()
        network = self._start(context)
        yield Pretraining(self.config.pretraining, context, network, backgrounds), None
        if adapts is None:
            return
        register = PoseRegistration.from_context(context, self.config.correction, self.config.bone_lengths)
        circles = yield from self._circles(adapts, context)
        yield Adaptation(adapts, context, network, circles, register, backgrounds), context.selection

    def _check(self, context: Context) -> None:
        if context.skeleton.name != HAND21.name:
            raise InputError(
                f"semihand adapts hands of skeleton {HAND21.name}, not {context.skeleton.name}: choose another method"
            )
        if self.config.bone_lengths is not None:
            template(self.config.bone_lengths, context.skeleton)
        if self.config.adaptation is not None:
            check_target(len(context.target_frames))

    def _start(self, context: Context) -> MultiTaskNetwork:
        """A copy of the source model, or a new network; with new heads for the mask."""
        given = context.source_network
        pose = network_as(context.new_network() if given is None else copy.deepcopy(given), FeatureNetwork)
        torch.manual_seed(context.seed)
        return MultiTaskNetwork(pose.requires_grad_(True), ("mask",))

    def _backgrounds(self) -> UnconstrainedImages | None:
        """Images behind source hands, where the config exchanges backgrounds."""
        stages = (self.config.pretraining, self.config.adaptation)
        needed = any(stage is not None and stage.composited_frac > 0 for stage in stages)
        return UnconstrainedImages(self.config.unconstrained) if needed else None

    def _circles(
        self, config: AdaptationConfig, context: Context
    ) -> Generator[tuple[CircleTraining, None], None, CircleHand | None]:
        """Trains the circles where cross-modal consistency needs them. For ``yield from``."""
        if not config.cross_modal:
            return None
        stage = CircleTraining(self.config.circles, context)
        yield stage, None
        return stage.result()

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """Convergence of pseudo-labels, circles, and masks."""
        return semihand_sections(evidence)
