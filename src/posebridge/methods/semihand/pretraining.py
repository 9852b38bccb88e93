"""The pretraining stage: poses and hand masks of the source (Sec. 6.3.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Generator, nn

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import draw_views, warp_batch
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.methods.semihand.views import DiversityConfig, TermWeights
from posebridge.networks.multi_task import MultiTaskNetwork
from posebridge.networks.pose_network import FeatureNetwork
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.context import Context
from posebridge.training.multi_task import labelled_terms
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import PoseStage, Terms


@dataclass(frozen=True)
class PretrainingConfig:
    """Defaults are the dissertation's (Sec. 6.4.1): 100 epochs of RHD's 41,258 images, a tenth at 60 and 90."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=128_900, learning_rate=1e-3, decay="steps", drops=(0.6, 0.9))
    )
    batch_size: int = 32
    weights: TermWeights = field(default_factory=TermWeights)
    diversity: DiversityConfig = field(default_factory=DiversityConfig)
    # Fraction of the source images whose background is exchanged for a crop of an unconstrained image. RHD has
    # photographs behind its hands; plain walls of renders teach masks that fail elsewhere.
    composited_frac: float = 0.0

    def __post_init__(self):
        if not 0 <= self.composited_frac <= 1:
            raise InputError(f"composited_frac={self.composited_frac} is no fraction: give a number in [0, 1]")


class DiverseViews:
    """Source samples with exchanged backgrounds, in diverse views."""

    def __init__(self, diversity: DiversityConfig, composited_frac: float, backgrounds: UnconstrainedImages | None):
        self.diversity = diversity
        self.composited_frac = composited_frac
        self.backgrounds = backgrounds

    def __call__(self, batch: Observation, generator: Generator) -> LabelledBatch:
        """Warped, some before other backgrounds, then with photometric changes of the picture as one.

        Raises ``ValueError`` for samples without hand masks where backgrounds are exchanged.
        """
        assert isinstance(batch, LabelledBatch)
        size_px, device = batch.rgb.shape[-1], batch.rgb.device
        view = warp_batch(batch, draw_views(self.diversity.geometry, len(batch), size_px, generator, device))
        image = view.rgb
        if self.backgrounds is not None and self.composited_frac:
            if view.hand_mask is None:
                raise ValueError("backgrounds are exchanged behind hand masks, and these source samples have none")
            image = self.backgrounds.behind(image, view.hand_mask, self.composited_frac, generator)
        return replace(view, image=apply_appearance(image, self.diversity.appearance, generator))


class Pretraining(PoseStage):
    """Trains joints and mask on the source (Eq. 6.3), at every stack of the network."""

    name = "pretraining"

    def __init__(
        self,
        config: PretrainingConfig,
        context: Context,
        network: MultiTaskNetwork,
        backgrounds: UnconstrainedImages | None,
    ):
        super().__init__(
            config.schedule,
            {"source": context.source.batches(config.batch_size)},
            {"pose": 1.0, "heat": config.weights.heat, "mask": config.weights.mask},
            **context.stage_options(11),
        )
        self.config, self.skeleton = config, context.skeleton
        self.views = DiverseViews(config.diversity, config.composited_frac, backgrounds)
        self.network = network.train()

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 6.3 on diverse views."""
        view = self.views(batches["source"], generator)
        with self.trainer.precision_plugin.forward_context():
            predicted = self.network(view.rgb)
        maps = [stack.float() for stack in predicted]
        return labelled_terms(self.network.pose.maps, maps, view, self.skeleton, self.config.weights.depth)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()

    def result(self) -> FeatureNetwork:
        """The network of joints."""
        return self.network.pose

    def other_results(self) -> Mapping[str, nn.Module]:
        """The heads of the mask."""
        return {"mask-heads": self.network.heads}
