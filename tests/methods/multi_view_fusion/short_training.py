"""Configs of the supervised stages of multi-view fusion that train in seconds, without augmentation."""

from posebridge.data.augment import GeometryConfig
from posebridge.methods.multi_view_fusion.depth_views import DepthViewConfig
from posebridge.methods.multi_view_fusion.supervised_stages import DepthTrainingConfig
from posebridge.training.optimisers import Schedule

STILL = DepthViewConfig(GeometryConfig(0.0, 0.0, 0.0, (1.0, 1.0)), depth_shift=0.0, erased_frac=0.0)
QUICK = DepthTrainingConfig(
    schedule=Schedule(steps=30, learning_rate=5e-3, decay="cosine", warmup=0.1, clip_norm=5.0),
    sets=2,
    augmentation=STILL,
)
