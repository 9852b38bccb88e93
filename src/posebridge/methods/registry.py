"""The one table of methods. A method is its package, one entry here, and a preset (docs/how-to/add-a-method.md).

The table is free of torch: commands read it for their help. Classes are named by ``module:name`` and imported when a
method is used.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from posebridge.contracts.roles import ROLES, Role
from posebridge.contracts.source_labels import SourceLabel
from posebridge.errors import InputError

if TYPE_CHECKING:
    from posebridge.methods.base import Method, MethodConfig

Sensor = Literal["colour", "depth"]
TargetForm = Literal["images", "pairs", "views"]  # single images, pairs of one video, views of one moment
_NEEDS: Mapping[TargetForm, str] = {
    "images": "single images",
    "pairs": "pairs of video frames",
    "views": "calibrated views, or copies of a single one",
}


@dataclass(frozen=True)
class MethodEntry:
    """One method."""

    name: str  # its one spelling, in commands, benchmarks and records
    title: str
    paper: str  # authors, venue and year; empty for baselines
    summary: str  # one line for help texts and docs
    config: str  # module:class of its MethodConfig
    method: str  # module:class of its Method
    sensors: tuple[Sensor, ...] = ("colour", "depth")
    target: TargetForm = "images"
    source_labels: tuple[SourceLabel, ...] = ("joints",)  # a config may need further ones
    role: Role = "adapted"  # of the trained model
    adapts: bool = True  # False: it trains on the source alone, and commands that adapt don't offer it
    default_for: tuple[Sensor, ...] = ()  # chosen for a target of its form where a command names no method

    def config_class(self) -> "type[MethodConfig]":
        """The class of the method's config."""
        return _load(self.config)

    def build(self, config: "MethodConfig") -> "Method":
        """The method with a config. Raises ``TypeError`` for a config of another method."""
        if not isinstance(config, self.config_class()):
            raise TypeError(f"method {self.name} takes a {self.config_class().__name__}, not {type(config).__name__}")
        return _load(self.method)(config)

    @property
    def needs(self) -> str:
        """The form of target that the method needs, for help texts."""
        return _NEEDS[self.target]

    def check_sensor(self, sensor: Sensor, subject: str) -> None:
        """Raise ``InputError`` where the method can't be trained on ``subject``, which ``sensor`` recorded."""
        if sensor not in self.sensors:
            others = ", ".join(entry.name for entry in METHODS.values() if sensor in entry.sensors)
            raise InputError(
                f"method {self.name} takes {' or '.join(self.sensors)}, and {subject} is {sensor}: choose {others}"
            )

    def check_source(self, source: str, labels: Collection[SourceLabel]) -> None:
        """Raise ``InputError`` for a source that lacks a label which the method needs, with methods that do without."""
        missing = next((label for label in self.source_labels if label not in labels), None)
        if missing is not None:
            fitting = [entry for entry in METHODS.values() if {*entry.sensors} & {*self.sensors}]
            others = ", ".join(entry.name for entry in fitting if {*entry.source_labels} <= {*labels})
            raise InputError(
                f"{source} has no label {missing}: it has {', '.join(labels)}. Method {self.name} needs it: "
                f"choose another source, or a method without it ({others})"
            )


def _load(reference: str):
    module, name = reference.split(":")
    return getattr(import_module(module), name)


_ENTRIES = (
    MethodEntry(
        name="source-only",
        title="Source only",
        paper="",
        summary="trains on the labelled source alone: the lower bound",
        config="posebridge.methods.source_only:SourceOnlyConfig",
        method="posebridge.methods.source_only:SourceOnly",
        role="source_only",
    ),
    MethodEntry(
        name="mean-teacher",
        title="Mean teacher (UniFrame)",
        paper="Kim et al., ECCV 2022",
        summary="learns from pseudo-labels of a slow teacher, with style transfer both ways",
        config="posebridge.methods.mean_teacher.config:MeanTeacherConfig",
        method="posebridge.methods.mean_teacher.method:MeanTeacher",
        default_for=("colour",),
    ),
    MethodEntry(
        name="self-training",
        title="Self-training",
        paper="",
        summary="learns from its own most confident predictions, in rounds",
        config="posebridge.methods.self_training.config:SelfTrainingConfig",
        method="posebridge.methods.self_training.method:SelfTrainingMethod",
        sensors=("colour",),
    ),
    MethodEntry(
        name="cc-ssl",
        title="CC-SSL",
        paper="Mu et al., CVPR 2020",
        summary="self-training on predictions that agree in several views of a frame",
        config="posebridge.methods.self_training.config:SelfTrainingConfig",
        method="posebridge.methods.self_training.method:SelfTrainingMethod",
        sensors=("colour",),
    ),
    MethodEntry(
        name="regda",
        title="RegDA",
        paper="Jiang et al., CVPR 2021",
        summary="trains features on which an adversarial head can't predict other joints than the pose head",
        config="posebridge.methods.regda.config:RegDAConfig",
        method="posebridge.methods.regda.method:RegDA",
        sensors=("colour",),
    ),
    MethodEntry(
        name="integrated-pseudo-labels",
        title="Integrated pseudo-labels",
        paper="Lin et al., NeurIPS 2023",
        summary="geometric reconstruction without its reconstruction: pseudo-labels corrected by anatomy",
        config="posebridge.methods.geometric_reconstruction.config:GeometricReconstructionConfig",
        method="posebridge.methods.geometric_reconstruction.method:GeometricReconstruction",
        sensors=("colour",),
    ),
    MethodEntry(
        name="geometric-reconstruction",
        title="Geometric reconstruction",
        paper="Lin et al., NeurIPS 2023",
        summary="reconstructs frames of a video from one another through the pose",
        config="posebridge.methods.geometric_reconstruction.config:GeometricReconstructionConfig",
        method="posebridge.methods.geometric_reconstruction.method:GeometricReconstruction",
        sensors=("colour",),
        target="pairs",
        default_for=("colour",),
    ),
    MethodEntry(
        name="masked-reconstruction",
        title="Masked reconstruction",
        paper="Park et al., arXiv 2025",
        summary="pretrains a transformer by masked patches of the subject, and keeps its attention on the target",
        config="posebridge.methods.masked_reconstruction.config:MaskedReconstructionConfig",
        method="posebridge.methods.masked_reconstruction.method:MaskedReconstruction",
        sensors=("colour",),
        source_labels=("joints", "mask"),
    ),
    MethodEntry(
        name="semihand",
        title="SemiHand",
        paper="Yang et al., ICCV 2021",
        summary="selects and corrects pseudo-labels of hands; views agree, and poses agree with masks",
        config="posebridge.methods.semihand.config:SemiHandConfig",
        method="posebridge.methods.semihand.method:SemiHand",
        sensors=("colour",),
        source_labels=("joints", "hand_mask"),
    ),
    MethodEntry(
        name="dual-modality",
        title="Dual-modality network",
        paper="Yang, dissertation 2022, chapter 7",
        summary="aligns colour with depth of the source, and trains on corrected pseudo-labels of both; hands only",
        config="posebridge.methods.dual_modality.config:DualModalityConfig",
        method="posebridge.methods.dual_modality.method:DualModality",
        sensors=("colour",),
        source_labels=("joints", "hand_mask", "depth"),
    ),
    MethodEntry(
        name="disentangled-vae",
        title="Disentangled VAE",
        paper="Yang and Yao, CVPR 2019",
        summary="learns a latent space of canonical pose and viewpoint, or of pose and image content, from the source",
        config="posebridge.methods.disentangled_vae.config:DisentangledVAEConfig",
        method="posebridge.methods.disentangled_vae.method:DisentangledVAE",
        sensors=("colour",),
        role="source_only",
        adapts=False,
    ),
    MethodEntry(
        name="aligned-latent-spaces",
        title="Aligned latent spaces",
        paper="Yang, dissertation 2022",
        summary="trains on the labelled source alone, in one latent space of images, point clouds, heat maps and poses",
        config="posebridge.methods.aligned_latent_spaces.config:AlignedLatentSpacesConfig",
        method="posebridge.methods.aligned_latent_spaces.method:AlignedLatentSpaces",
        sensors=("colour",),
        role="source_only",
        adapts=False,
    ),
    MethodEntry(
        name="multi-view-fusion",
        title="Multi-view fusion",
        paper="Ren et al., CVPR 2022",
        summary="explains depth, from one or several views, by one hand model",
        config="posebridge.methods.multi_view_fusion.config:MultiViewFusionConfig",
        method="posebridge.methods.multi_view_fusion.method:MultiViewFusion",
        sensors=("depth",),
        target="views",
        source_labels=("joints", "vertices"),
        default_for=("depth",),
    ),
    MethodEntry(
        name="supervised-target",
        title="Target supervised",
        paper="",
        summary="trains on labels of the target: the upper bound, for measuring only",
        config="posebridge.methods.supervised_target:SupervisedTargetConfig",
        method="posebridge.methods.supervised_target:SupervisedTarget",
        role="supervised_target",
    ),
)
METHODS: dict[str, MethodEntry] = {entry.name: entry for entry in _ENTRIES}


def describe_methods(
    sensor: Sensor | None = None,
    roles: tuple[Role, ...] = ROLES,
    target: TargetForm | None = None,
    adapting: bool = False,
) -> str:
    """The methods for a sensor and a form of target (None: any) with their summaries, for help texts.

    ``adapting`` leaves out those that don't adapt.
    """
    entries = [
        entry
        for entry in METHODS.values()
        if sensor in (None, *entry.sensors)
        and entry.role in roles
        and target in (None, entry.target)
        and (entry.adapts or not adapting)
    ]
    return "; ".join(f"{entry.name} ({entry.summary})" for entry in entries)


def default_method(sensor: Sensor, target: TargetForm) -> MethodEntry:
    """The method for targets of a form, where the user names none. There is one for colour images and pairs, and for
    views of depth.
    """
    return next(entry for entry in _ENTRIES if sensor in entry.default_for and entry.target == target)


def upper_bound() -> MethodEntry:
    """The method that trains on labels of the target."""
    return next(entry for entry in METHODS.values() if entry.role == "supervised_target")


def find_method(name: str) -> MethodEntry:
    """The entry of a method. Raises ``InputError`` for an unknown name, with all names."""
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}: choose {', '.join(METHODS)}")
    return METHODS[name]
