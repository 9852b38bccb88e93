"""Config of multi-view fusion (Ren et al., *Mining Multi-View Information*, CVPR 2022)."""

from dataclasses import dataclass, field, replace

from posebridge.contracts.batch import Observation
from posebridge.data.augment import GeometryConfig
from posebridge.data.multiview_stream import moments_of
from posebridge.fitting.depth_misfit import EvidenceConfig
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.methods.base import MethodConfig
from posebridge.methods.multi_view_fusion.depth_views import DepthViewConfig
from posebridge.methods.multi_view_fusion.supervised_stages import DepthTrainingConfig
from posebridge.methods.multi_view_fusion.translation import TranslationConfig
from posebridge.training.optimisers import Schedule

_MAX_VIEWS = 3  # of a moment; with one camera, copies of its image
_MAX_DRAWS = 150  # of one moment in fine-tuning
PSEUDO_VIEWS = DepthViewConfig(
    GeometryConfig(rotation_deg=180.0, shear_deg=0.0, translation=0.08, scale=(0.8, 1.2)), depth_shift=0.08
)


@dataclass(frozen=True)
class FineTuningConfig:
    """Stage 3. The paper gives neither steps nor weights. A weight of 0 leaves a term out (Table 2)."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=20_000, learning_rate=3e-4, decay="cosine", warmup=0.02, clip_norm=5.0)
    )
    sets: int = 10  # per batch, of the target and of the source each
    views: int = 3  # per set
    pseudo_views: bool = False  # the views of a set are differently augmented copies of one image
    augmentation: DepthViewConfig = field(default_factory=DepthViewConfig)
    pseudo_augmentation: DepthViewConfig = PSEUDO_VIEWS  # for pseudo views; stronger, as in the paper
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    fitting_weight: float = 10.0  # w_sm: each view's hand against the depth of the same view
    cross_weight: float = 10.0  # w_cm: against the depth of another view
    distillation_weight: float = 1.0  # w_ms
    prior_weight: float = 1.0  # w_prior
    source_weight: float = 1.0
    teacher_fitting: HandFittingConfig | None = None  # fits fused hands to the depth before they are pseudo-labels

    @property
    def combines_views(self) -> bool:
        """Whether views of the target are fused: for L_cm and L_ms. Fused hands pass gradients to all their views."""
        return self.cross_weight > 0 or self.distillation_weight > 0


@dataclass(frozen=True)
class MultiViewFusionConfig(MethodConfig):
    """Stages of Sec. 3.4.

    ``fine_tuning`` is for calibrated views. ``one_camera`` is for single views, whose augmented copies replace further
    views. Copies don't resolve whether a hand faces the camera, so no hand is fitted there before it is a pseudo-label.
    """

    translate: bool = False  # translate source images to the target domain first
    translation: TranslationConfig = field(default_factory=TranslationConfig)
    single_view: DepthTrainingConfig = field(default_factory=DepthTrainingConfig)
    fusion: DepthTrainingConfig = field(
        default_factory=lambda: DepthTrainingConfig(
            Schedule(steps=10_000, learning_rate=1e-3, decay="cosine", warmup=0.02, clip_norm=5.0)
        )
    )
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
    one_camera: FineTuningConfig = field(default_factory=lambda: FineTuningConfig(pseudo_views=True))

    def with_translation(self) -> "MultiViewFusionConfig":
        """The config with a CycleGAN that translates source images to the target's style before anything else."""
        return replace(self, translate=True)

    def for_one_camera(self) -> "MultiViewFusionConfig":
        """The config for single views."""
        return replace(self, fine_tuning=self.one_camera)

    def for_target(self, frames: Observation) -> "MultiViewFusionConfig":
        """The config for as many views as the target's moments have, three at most.

        Fine-tuning is shorter where there are few moments: pseudo-labels drift when the same moments repeat too often.
        """
        cameras = [1] * len(frames) if frames.T_world_cam is None else [len(views) for views in moments_of(frames)]
        views = min(_MAX_VIEWS, max(cameras))
        chosen = self.one_camera if views == 1 else self.fine_tuning
        moments = sum(count >= views for count in cameras)
        steps = min(chosen.schedule.steps, -(-_MAX_DRAWS * moments // chosen.sets))
        schedule = replace(chosen.schedule, steps=steps)
        return replace(self, fine_tuning=replace(chosen, schedule=schedule, views=_MAX_VIEWS if views == 1 else views))

    def with_source_steps(self, steps: int) -> "MultiViewFusionConfig":
        """The config with so many steps of the single-view network, and half as many of view fusion."""
        single, fusion = (
            replace(stage, schedule=replace(stage.schedule, steps=count))
            for stage, count in ((self.single_view, steps), (self.fusion, -(-steps // 2)))
        )
        return replace(self, single_view=single, fusion=fusion)

    def source_recipe(self) -> tuple[object, ...]:
        """The settings of translation and of the two supervised stages."""
        return (self.translate, self.translation if self.translate else None, self.single_view, self.fusion)

    def notes(self) -> tuple[str, ...]:
        """The origin of the views."""
        if self.fine_tuning.pseudo_views:
            return ("one camera recorded each moment: rotated, scaled and shifted copies of its image replace views",)
        return (f"calibrated cameras recorded each moment: fine-tuning compares {self.fine_tuning.views} views of it",)
