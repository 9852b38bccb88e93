"""What ``adapt`` adapts: hands or people, the renders that it starts from, and the sizes of its runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from posebridge.data.augment import GeometryConfig
from posebridge.data.pairs import PairConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.vgg import VggConfig
from posebridge.recipes import hand_rgb
from posebridge.recipes.body_rgb import BODY_RGB
from posebridge.recipes.hand_rgb import HAND_RGB
from posebridge.recipes.track import TrackPlan
from posebridge.recipes.trained_features import vggs_of, with_weights
from posebridge.rendering.photometry import STRONG
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.style import FourierStyle

AdaptMethod = Literal["mean-teacher", "source-only", "integrated-pseudo-labels", "geometric-reconstruction"]


@dataclass(frozen=True)
class AdaptSize:
    """How large a network, and how long it trains."""

    name: str
    size_px: int
    source_samples: int
    replayed_samples: int  # of the source, where its model is given
    source_frames: int  # of its videos, where the method learns from them
    network: PoseResNetConfig
    maps: PoseMaps
    source: SourceTrainingConfig
    mean_teacher: MeanTeacherConfig
    geometric_reconstruction: GeometricReconstructionConfig | None = None  # None: the method is another one

    def of(self, method: AdaptMethod, pairs: PairConfig) -> "AdaptSize":
        """The size with what a method needs of it."""
        whole = self.geometric_reconstruction
        if whole is None or method in ("mean-teacher", "source-only"):
            return replace(self, geometric_reconstruction=None)
        if whole.reconstruction is None or method == "integrated-pseudo-labels":
            return replace(self, geometric_reconstruction=whole.without_reconstruction())
        reconstruction = replace(whole.reconstruction, pairs=pairs)
        return replace(self, geometric_reconstruction=replace(whole, reconstruction=reconstruction))

    @property
    def needs_source_videos(self) -> bool:
        """Whether a reconstructor learns from videos of the source."""
        geometric = self.geometric_reconstruction
        return geometric is not None and geometric.reconstruction is not None and geometric.reconstruction.source_videos

    def vggs_of(self, method: AdaptMethod) -> tuple[VggConfig, ...]:
        """The trained networks whose features a method needs beside its own; of a size that is the method's."""
        if self.geometric_reconstruction is not None:
            return vggs_of(self.geometric_reconstruction)
        return vggs_of(self.mean_teacher) if method == "mean-teacher" else ()

    def with_weights(self, encoder: str | None, vgg: str | None) -> "AdaptSize":
        """The size with weights from elsewhere: "timm", a file, or "none". None leaves them as they are."""
        return with_weights(self, encoder, vgg)

    def with_moving_background(self) -> "AdaptSize":
        """The size for cameras that move: where frames are redrawn, their background goes by a predicted affine map."""
        whole = self.geometric_reconstruction
        return self if whole is None else replace(self, geometric_reconstruction=whole.with_moving_background())


@dataclass(frozen=True)
class AdaptSubject:
    """What the frames show."""

    track: TrackPlan  # whose domains render the source
    sizes: Mapping[str, AdaptSize]


_HANDS = GeometryConfig(rotation_deg=45.0, shear_deg=12.0, translation=0.06, scale=(0.75, 1.25))
# People stand upright more often than hands do, and have a left and a right.
_PEOPLE = replace(_HANDS, rotation_deg=25.0, shear_deg=8.0, flip_probability=0.5)
_APPEARANCE = replace(STRONG, erase_probability=0.15)


def _small(joints: int, geometry: GeometryConfig, target_rotation_deg: float) -> AdaptSize:
    """For CPUs."""
    source = SourceTrainingConfig(
        schedule=Schedule(
            steps=4_000, learning_rate=2e-3, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0
        ),
        batch_size=64,
        geometry=geometry,
        appearance=_APPEARANCE,
        depth_weight=0.5,
    )
    mean_teacher = MeanTeacherConfig(
        style=FourierStyle(),
        schedule=Schedule(steps=600, learning_rate=5e-4, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0),
        batch_size=32,
        geometry=replace(geometry, rotation_deg=target_rotation_deg),
        appearance=STRONG,
        average_decay=0.99,
        teacher_views=2,
        kept_share=0.6,
        heat_weight=1.0,
        depth_weight=0.5,
    )
    return AdaptSize(
        name="small",
        size_px=96,
        source_samples=30_000,
        replayed_samples=6_000,
        source_frames=3_000,
        network=PoseResNetConfig(encoder="resnet18", encoder_stride=16, decoder_channels=64, skips=True, joints=joints),
        maps=PoseMaps("softmax", sigma=1.5),
        source=source,
        mean_teacher=mean_teacher,
        geometric_reconstruction=_in_the_manner_of(mean_teacher, source),
    )


def _in_the_manner_of(teacher: MeanTeacherConfig, source: SourceTrainingConfig) -> GeometricReconstructionConfig:
    """The benchmark's small geometric reconstruction, with views and a teacher as for photographs."""
    benchmark = hand_rgb.SMALL_GEOMETRIC_RECONSTRUCTION
    assert benchmark.reconstruction is not None
    redrawing = replace(
        benchmark.reconstruction.reconstructor, bone_sigma=1.8
    )  # its 1.2, of images half as large again
    return replace(
        benchmark,
        source=source,
        reconstruction=replace(
            benchmark.reconstruction,
            reconstructor=redrawing,
            batch_pairs=teacher.batch_size // 2,
            warm_start=replace(teacher.schedule, steps=teacher.schedule.steps // 2),
        ),
        schedule=teacher.schedule,
        batch_size=teacher.batch_size,
        geometry=teacher.geometry,
        appearance=teacher.appearance,
        average_decay=teacher.average_decay,
        teacher_views=teacher.teacher_views,
        kept_share=teacher.kept_share,
    )


def _full(joints: int, geometry: GeometryConfig) -> AdaptSize:
    """For a GPU."""
    return AdaptSize(
        name="full",
        size_px=256,
        source_samples=60_000,
        replayed_samples=60_000,
        source_frames=15_000,
        network=PoseResNetConfig(encoder="resnet101", joints=joints),
        maps=PoseMaps("peak", sigma=2.0),
        source=SourceTrainingConfig(geometry=geometry, appearance=_APPEARANCE),
        mean_teacher=MeanTeacherConfig(geometry=geometry),
        geometric_reconstruction=GeometricReconstructionConfig(geometry=geometry),
    )


def _subject(track: TrackPlan, geometry: GeometryConfig, target_rotation_deg: float) -> AdaptSubject:
    joints = len(track.skeleton)
    sizes = (_small(joints, geometry, target_rotation_deg), _full(joints, geometry))
    return AdaptSubject(track, {size.name: size for size in sizes})


HAND = _subject(HAND_RGB, _HANDS, target_rotation_deg=30.0)
BODY = _subject(BODY_RGB, _PEOPLE, target_rotation_deg=15.0)
SUBJECTS = {"hand": HAND, "body": BODY}
