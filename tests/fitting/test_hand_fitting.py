"""Fitting of hands to depth: known hands are recovered, and the misfit never increases."""

from dataclasses import replace

import pytest
import roma
import torch

from posebridge.bodies.parametric_hand import AnnyHand, HandParameters, hand_meshes
from posebridge.cameras.multiview import transform
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence, data_to_model, model_to_data
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.geometry.alignment import fit_similarity
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands
from posebridge.synthesis.hand_poses import PoseDistribution

pytestmark = pytest.mark.usefixtures("one_thread")
SETS, VIEWS, CUBE_M = 2, 3, 0.25
HALF_MM = 500 * CUBE_M
CONFIG = HandFittingConfig(steps=100, gestures=())


@pytest.fixture(scope="module")
def hand() -> AnnyHand:
    return AnnyHand()


def parameters(hand: AnnyHand, away: float) -> HandParameters:
    """The same hands, displaced by ``away`` times about 15 mm."""
    g = generator_for(4, 1)
    pose = 0.25 * torch.randn(SETS, hand.pose_size, generator=g)
    shape = 0.5 * torch.randn(SETS, hand.shape_size, generator=g)
    place = 0.1 * torch.randn(SETS, 3, generator=g)
    moved = [torch.randn(SETS, size, generator=g) for size in (hand.pose_size, hand.shape_size, 3, 3)]
    R = roma.rotvec_to_rotmat(away * 0.15 * moved[2])
    return HandParameters(
        pose + away * 0.12 * moved[0], shape + away * 0.3 * moved[1], R, place + away * 0.04 * moved[3]
    )


@pytest.fixture(scope="module")
def scene(hand):
    """Depth of all views of each set, and transforms to them from the space of the first view."""
    batch = render_depth_hands(DEPTH_STUDIO, SETS, 64, generator_for(1, 1))
    views = CubeViews.of(batch, CUBE_M)
    back = torch.linalg.inv(views.to_candidates(SETS, torch.zeros(SETS, dtype=torch.long)))
    mesh = hand_meshes(hand, parameters(hand, 0.0), views.half_m[::VIEWS])
    vertices_m = views.in_cameras(transform(back, mesh.vertices.repeat_interleave(VIEWS, 0)))
    raster = rasterise(vertices_m, hand.faces(torch.device("cpu")), views.camera.K, 64, 64)
    views = views.with_depth(torch.where(raster.mask, raster.depth_m, 0))
    return views, back


def evidence(views: CubeViews) -> DepthEvidence:
    return DepthEvidence.from_views(views, CONFIG.evidence, generator_for(2, 1))


def errors_mm(hand: AnnyHand, found: HandParameters, half_m) -> torch.Tensor:
    true, own = (hand_meshes(hand, hands, half_m).joints for hands in (parameters(hand, 0.0), found))
    return HALF_MM * (true - own).norm(dim=-1).mean(1)


def test_known_hands_are_recovered_and_better_from_more_views(hand, scene):
    views, back = scene
    half_m, start = views.half_m[::VIEWS], parameters(hand, 1.0)
    together = fit_hands(hand, start, half_m, back, evidence(views), CONFIG)
    first = views.take(torch.arange(0, SETS * VIEWS, VIEWS))
    alone = fit_hands(hand, start, half_m, torch.eye(4).expand(SETS, 4, 4), evidence(first), CONFIG)
    before, by_one, by_three = (errors_mm(hand, found, half_m) for found in (start, alone, together))
    assert before.min() > 8
    assert (by_three < 0.5 * before).all()
    assert by_three.mean() < 3.5
    assert by_three.mean() < by_one.mean() < before.mean()
    torch.testing.assert_close(together.R @ together.R.mT, torch.eye(3).expand(SETS, 3, 3), atol=1e-5, rtol=0)
    assert not any(value.requires_grad for value in vars(together).values())


def test_fitting_never_raises_the_misfit(hand, scene):
    """Neither after one large step from true hands, nor after five from distant ones."""
    views, back = scene
    half_m, seen, faces = views.half_m[::VIEWS], evidence(views), hand.faces(torch.device("cpu"))
    start = parameters(hand, 0.0)
    rash = HandFittingConfig(steps=1, learning_rate=1.0)
    found = fit_hands(hand, start, half_m, back, seen, rash)
    for name, value in vars(found).items():
        assert torch.equal(value, getattr(start, name))

    def misfit(hands: HandParameters) -> torch.Tensor:
        there = transform(back, hand_meshes(hand, hands, half_m).vertices.repeat_interleave(VIEWS, 0))
        both = [side(there, faces, seen, CONFIG.evidence) for side in (model_to_data, data_to_model)]
        return torch.stack(both).sum(0).unflatten(0, (SETS, VIEWS)).mean(1)

    far = parameters(hand, 3.0)
    assert (misfit(fit_hands(hand, far, half_m, back, seen, HandFittingConfig(steps=5))) <= misfit(far)).all()


def test_views_without_depth_are_ignored(hand, scene):
    views, back = scene
    half_m, start = views.half_m[::VIEWS], parameters(hand, 1.0)
    depth_m = views.depth_m.clone()
    depth_m[:VIEWS] = 0  # no view has depth of the first hand
    depth_m[VIEWS] = 0  # and one view has none of the second
    found = fit_hands(hand, start, half_m, back, evidence(views.with_depth(depth_m)), HandFittingConfig(steps=10))
    for name, value in vars(found).items():
        assert torch.equal(value[0], getattr(start, name)[0])
        assert value.isfinite().all()
    fitted, before = errors_mm(hand, found, half_m), errors_mm(hand, start, half_m)
    assert (fitted[1:] < before[1:]).all()


def test_fists_close_from_a_relaxed_prediction(hand):
    """Extended fingers hardly close by descent from the prediction alone. Results are within the joints' limits."""
    fists = PoseDistribution(gesture_weights={"fist": 1.0}, random_share=0.0, blend=0.0, noise_deg=4.0)
    batch = render_depth_hands(replace(DEPTH_STUDIO, poses=fists), 2, 64, generator_for(6, 1))
    views = CubeViews.of(batch, CUBE_M)
    joints = views.in_cubes(batch.joints_m)[::VIEWS]
    zeros = torch.zeros(2, hand.pose_size), torch.zeros(2, hand.shape_size)
    start = HandParameters(*zeros, torch.eye(3).expand(2, 3, 3), torch.zeros(2, 3))
    own = hand_meshes(hand, start, views.half_m[::VIEWS]).joints
    palm = [0, 5, 9, 13, 17]
    place = fit_similarity(own[:, palm], joints[:, palm], with_scale=False)
    start = replace(start, R=place.R, centre=place.apply(own).mean(1))
    first = views.take(torch.arange(0, 2 * VIEWS, VIEWS))

    def fit(gestures: tuple[str, ...]) -> tuple[float, torch.Tensor]:
        config = HandFittingConfig(steps=20, gestures=gestures)
        found = fit_hands(hand, start, first.half_m, torch.eye(4).expand(2, 4, 4), evidence(first), config)
        mesh = hand_meshes(hand, found, first.half_m)
        return HALF_MM * (mesh.joints - joints).norm(dim=-1).mean().item(), found.pose

    (alone_mm, _), (found_mm, pose) = fit(()), fit(("grasp", "fist"))
    assert found_mm < 0.6 * alone_mm
    assert found_mm < 15
    torch.testing.assert_close(hand.clamped_pose(pose), pose)


def test_zero_steps_are_refused():
    with pytest.raises(InputError, match="fitting can't take 0 steps"):
        HandFittingConfig(steps=0)
