"""What multi-view fusion is configured by (Ren et al., *Mining Multi-View Information*, CVPR 2022)."""

from dataclasses import dataclass, field

from posebridge.data.augment import GeometryConfig
from posebridge.fitting.depth_misfit import EvidenceConfig
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.methods.multi_view_fusion.depth_views import DepthViewConfig
from posebridge.methods.multi_view_fusion.supervised_stages import DepthTrainingConfig
from posebridge.methods.multi_view_fusion.translation import TranslationConfig
from posebridge.training.optimisers import Schedule

PSEUDO_VIEWS = DepthViewConfig(
    GeometryConfig(rotation_deg=180.0, shear_deg=0.0, translation=0.08, scale=(0.8, 1.2)), shift=0.08
)


@dataclass(frozen=True)
class FineTuningConfig:
    """Stage 3. The paper gives neither steps nor weights; a weight of 0 leaves a term out (Table 2)."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=20_000, learning_rate=3e-4, decay="cosine", warmup=0.02, clip_norm=5.0)
    )
    sets: int = 10  # of the target in a batch, and as many of the source
    views: int = 3  # of a set; of a target of single views, pseudo views of each
    single_view: bool = False  # pseudo multi-view: differently augmented samples of one picture are the views
    augmentation: DepthViewConfig = field(default_factory=DepthViewConfig)
    pseudo_augmentation: DepthViewConfig = PSEUDO_VIEWS  # of single views' copies; the paper: stronger
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    fitting_weight: float = 10.0  # w_sm: the views' own hands in their own views
    cross_weight: float = 10.0  # w_cm: in the other views
    distillation_weight: float = 1.0  # w_ms
    prior_weight: float = 1.0  # w_prior
    source_weight: float = 1.0
    teacher: HandFittingConfig | None = None  # fused hands are fitted to their views before they teach


@dataclass(frozen=True)
class MultiViewFusionConfig:
    """Stages of Sec. 3.4. Without a ``translation`` the source keeps its own look."""

    translation: TranslationConfig | None = None
    single: DepthTrainingConfig = field(default_factory=DepthTrainingConfig)
    fusion: DepthTrainingConfig = field(
        default_factory=lambda: DepthTrainingConfig(
            Schedule(steps=10_000, learning_rate=1e-3, decay="cosine", warmup=0.02, clip_norm=5.0)
        )
    )
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
