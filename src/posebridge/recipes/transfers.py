"""The transfers of Lin et al., NeurIPS 2023: RHD to H3D and to MVHand, SURREAL to Human3.6M and to 3DPW.

An epoch is 500 steps, as in UniFrame's public code, on whose protocol the paper stands: with SURREAL's six million
frames a pass over the source can't be meant. So 40 epochs are 20,000 steps and 80 are 40,000, whatever the sets' sizes.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from posebridge.data.augment import BODY, HAND, GeometryConfig
from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.datasets.registry import DATASETS
from posebridge.data.frames import LabelledFrames
from posebridge.evaluation.protocols import PCK_005, PCK_005_BODY
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.recipes import body_rgb, hand_rgb
from posebridge.recipes.track import TrackSize
from posebridge.recipes.transfer import Part, TransferPlan, TransferSet, TransferSize
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.hand import HAND21
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig

EPOCH = 500  # steps
_THINNED = 5  # every so many frames of Human3.6M's videos: pairs are then 5, 10 or 15 frames apart
_THINNED_SURREAL = 10


def _open(name: str, root: Path, part: Part, options: DatasetOptions | None = None) -> LabelledFrames:
    """A dataset of the table, people with the joints of the public benchmark."""
    dataset = DATASETS[name]
    return dataset.open(root, part, options, MPII16.name if dataset.subject == "body" else None)


def _rhd(root: Path, part: Part, size: TransferSize) -> LabelledFrames:
    return _open("rhd", root, part)


def _h3d(root: Path, part: Part, size: TransferSize) -> LabelledFrames:
    return _open("h3d", root, part)


def _mvhand(root: Path, part: Part, size: TransferSize) -> LabelledFrames:
    return _open("mvhand", root, part)


def _surreal(root: Path, part: Part, size: TransferSize) -> LabelledFrames:
    # Reading a mask takes four times as long as the picture, and no method here uses it.
    return _open("surreal", root, part, DatasetOptions(every=_THINNED_SURREAL, clips=size.source_clips, masks=False))


def _human36m(root: Path, part: Part, size: TransferSize) -> LabelledFrames:
    # Extracted frames have been thinned by whoever extracted them.
    every = _THINNED if (root / "S11" / "Videos").is_dir() else 1
    return _open("human3.6m", root, part, DatasetOptions(every=every))


def _threedpw(root: Path, part: Part, size: TransferSize) -> LabelledFrames:
    return _open("3dpw", root, part)


_RHD = TransferSet("RHD", "training/ and evaluation/", _rhd, hand="annotated")
_SURREAL = TransferSet("SURREAL", "cmu/", _surreal)


def _full(joints: int, geometry: GeometryConfig) -> TransferSize:
    """Sec. 4.2: ResNet-101, 256 px, Adam 1e-4 that falls at epochs 60 and 75, 40 + 80 epochs, batches of 64 and 32."""
    source = SourceTrainingConfig(
        schedule=Schedule(steps=40 * EPOCH, learning_rate=1e-4, decay="none"), batch_size=64, geometry=geometry
    )
    return TransferSize(
        name="full",
        size_px=256,
        network=PoseResNetConfig(encoder="resnet101", pretrained="timm", joints=joints),
        maps=PoseMaps("peak", sigma=2.0),
        source=source,
        supervised_target=source,
        mean_teacher=MeanTeacherConfig(geometry=geometry),
        geometric_reconstruction=GeometricReconstructionConfig(geometry=geometry),
        source_clips=None,
        test_frames=None,
        space_mb=5_000,
    )


def _small(track: TrackSize) -> TransferSize:
    """What SynthShift's small tracks take: for two CPU cores and a first look, not for the papers' numbers."""
    assert track.geometric_reconstruction is not None
    assert track.geometric_reconstruction.reconstruction is not None
    # Of these sources only SURREAL has videos, and its readers give no pairs yet.
    reconstruction = replace(track.geometric_reconstruction.reconstruction, source_videos=False)
    return TransferSize(
        name="small",
        size_px=track.size_px,
        network=track.network,
        maps=track.maps,
        source=track.source,
        supervised_target=track.supervised_target,
        mean_teacher=track.mean_teacher,
        geometric_reconstruction=replace(track.geometric_reconstruction, reconstruction=reconstruction),
        source_clips=2_000,
        test_frames=1_000,
        space_mb=300,
    )


def _moving(sizes: Mapping[str, TransferSize]) -> dict[str, TransferSize]:
    """For targets whose background moves from frame to frame: its motion is predicted, by an affine map."""
    return {
        name: replace(size, geometric_reconstruction=size.geometric_reconstruction.with_moving_background())
        for name, size in sizes.items()
    }


_HAND_SIZES = {"small": _small(hand_rgb.SMALL), "full": _full(len(HAND21), HAND)}
_BODY_SMALL = _small(body_rgb.SMALL)
_BODY_SIZES = {
    "small": replace(_BODY_SMALL, network=replace(_BODY_SMALL.network, joints=len(MPII16))),
    "full": _full(len(MPII16), BODY),
}
_HANDS = replace(PCK_005, root="middle_1", reference_bone=("middle_1", "middle_2"))  # in space: EPE
_BODIES = replace(PCK_005_BODY, groups=MPII16.groups, reference_bone=MPII16.reference_bone)
_KINDS = tuple(joint for joints in MPII16.groups.values() for joint in joints)

TRANSFERS: Mapping[str, TransferPlan] = {
    plan.name: plan
    for plan in (
        TransferPlan(
            name="rhd-to-h3d",
            source=_RHD,
            # The public benchmark makes RHD's hands left ones and leaves H3D's as they are.
            target=TransferSet("H3D", "annotation.json", _h3d, hand="left", hand_is_said=False),
            skeleton=HAND21,
            protocol=_HANDS,
            sizes=_moving(_HAND_SIZES),  # its images are cut out around the hand
            metrics=("PCK@0.05", "EPE"),
        ),
        TransferPlan(
            name="rhd-to-mvhand",
            source=_RHD,
            target=TransferSet("MVHand", "a folder for each of the four persons, such as 7-14-1-2/", _mvhand, "right"),
            skeleton=HAND21,
            protocol=_HANDS,
            sizes=_HAND_SIZES,
            metrics=("PCK@0.05", "EPE"),
        ),
        TransferPlan(
            name="surreal-to-human36m",
            source=_SURREAL,
            target=TransferSet("Human3.6M", "metadata.xml and S1/ to S11/", _human36m),
            skeleton=MPII16,
            protocol=_BODIES,
            sizes={**_BODY_SIZES, "full": replace(_BODY_SIZES["full"], test_frames=3_200)},
            scored=_KINDS,
        ),
        TransferPlan(
            name="surreal-to-3dpw",
            source=_SURREAL,
            target=TransferSet("3DPW", "imageFiles/ and sequenceFiles/", _threedpw),
            skeleton=MPII16,
            protocol=_BODIES,
            sizes=_moving(_BODY_SIZES),  # filmed by a phone that is carried along
            scored=_KINDS,
        ),
    )
}
