"""Section of the report of pose estimation: errors of canonical pose and viewpoint beside that of the 3D pose."""

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.section import Number, Section
from posebridge.geometry.canonical_pose import angles_between_deg, nearest_rotations, posed
from posebridge.losses.keypoints import weighted_mean
from posebridge.methods.disentangled_vae.estimation import CANONICAL, VIEWPOINT, PoseEmbedding
from posebridge.methods.disentangled_vae.pose_labels import pose_labels

_PART = 64
_MM = 1000.0


@torch.inference_mode()
def estimation_section(stage: PoseEmbedding, labelled: LabelledBatch) -> Section:
    """On labelled images of the target, which have no part in training. Lengths are in mm of the mean hand."""
    parts = [labelled[start : start + _PART] for start in range(0, len(labelled), _PART)]
    device = next(stage.network.parameters()).device
    pose_error, canonical_error, angle_deg, posed_error, usable = [], [], [], [], []
    for part in parts:
        part = part.to(device)
        labels = pose_labels(part, stage.skeleton)
        z = stage.network.encode(part.rgb).mean
        pose = stage.network.decode(z)
        canonical = stage.vae.decode_factor(CANONICAL, z).unflatten(1, (-1, 3))
        viewpoint = nearest_rotations(stage.vae.decode_factor(VIEWPOINT, z))
        pose_error.append((pose - labels.pose).norm(dim=-1).mean(dim=1))
        canonical_error.append((canonical - labels.canonical).norm(dim=-1).mean(dim=1))
        posed_error.append((posed(canonical, viewpoint) - labels.pose).norm(dim=-1).mean(dim=1))
        angle_deg.append(angles_between_deg(viewpoint, labels.viewpoint))
        usable.append(labels.usable)
    mask = torch.cat(usable)
    scale = _MM * (stage.network.reference_length_m or 1 / _MM)
    unit = "mm" if stage.network.reference_length_m else "reference bones"

    def number(label: str, values: list[torch.Tensor], factor: float, unit: str) -> Number:
        return Number(label, float(weighted_mean(torch.cat(values), mask)) * factor, unit)

    numbers = (
        number("3D pose", pose_error, scale, unit),
        number("canonical pose", canonical_error, scale, unit),
        number("3D pose from canonical pose and viewpoint", posed_error, scale, unit),
        number("viewpoint", angle_deg, 1.0, "degrees"),
    )
    text = (
        f"Mean errors on {int(mask.sum())} labelled images of the target, with the root (the skeleton's first joint) "
        "and the scale given. The 3D pose is decoded from all of the latent vector, canonical pose and viewpoint from "
        "their halves; decoded viewpoints are made orthogonal."
    )
    return Section("Pose, canonical pose and viewpoint", text, numbers=numbers)
