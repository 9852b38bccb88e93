"""Reconstructed frames against drawn ones: figures that shift and turn, crops that follow, moving cameras."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cameras.rotations import rotation_map
from posebridge.cameras.crop import warp_images
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.geometry.displacement import identity_field
from posebridge.losses.perceptual import perceptual_l1
from posebridge.methods.geometric_reconstruction.frame_reconstructor import (
    FrameReconstructor,
    FrameReconstructorConfig,
    still_camera_transform,
)
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.networks.warping import Warping, WarpingConfig
from posebridge.representations.bone_maps import distance_to_segments
from training.stick_figures import FIGURE, Pairs, draw, pairs, poses, texture

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 64
TINY = FrameReconstructorConfig(
    bone_sigma=1.0,
    warping=WarpingConfig(hourglass=HourglassConfig(blocks=2, channels=8, most_channels=32), mask_prior=2.0),
    generator=GeneratorConfig(channels=8, most_channels=32, residual_blocks=2),
)
TO_BASE = torch.eye(3)[None]


class FixedEstimator(nn.Module):
    """An estimator that knows: each pixel moves with the bone that is drawn there, and nothing has to be painted."""

    def __init__(self, sure: float = math.exp(-2.5), background: Tensor | None = None):
        super().__init__()
        self.sure = sure
        self.background = background

    def forward(self, base: Tensor, bones_base: Tensor, bones_driving: Tensor) -> Warping:
        likely = torch.cat([torch.full_like(bones_driving[:, :1], self.sure), bones_driving], dim=1)
        masks = F.one_hot(likely.argmax(1), likely.shape[1]).movedim(-1, 1).to(base)
        return Warping(masks, torch.ones_like(base[:, :1]), self.background)


def reconstructor(
    config: FrameReconstructorConfig = TINY, estimator: FixedEstimator | None = None, **changes
) -> FrameReconstructor:
    torch.manual_seed(0)
    made = FrameReconstructor(replace(config, **changes), FIGURE).eval()
    if estimator is not None:
        made.estimator = estimator
    return made


def figure(seed: int = 0, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """A pose and a ground."""
    generator = torch.Generator().manual_seed(seed)
    return poses(1, side, generator)[0], texture(1, side, generator)


def inside(uv_px: Tensor, half_width_px: float = 0.9) -> Tensor:
    """Pixels well within a segment."""
    parents, children = (uv_px[:, list(ends)] for ends in zip(*FIGURE.bones, strict=True))
    return (distance_to_segments(parents, children, SIDE, SIDE) < half_width_px).any(1)[0]


def near_joints(uv_px: Tensor, radius_px: float) -> Tensor:
    grid = identity_field(SIDE, SIDE, uv_px)
    return ((grid[:, :, None] - uv_px[0]).norm(dim=-1) < radius_px).any(-1)


@pytest.mark.parametrize("side", [64, 52])
@pytest.mark.parametrize("stride", [1, 4])
def test_an_identical_pair_is_the_identity(side, stride):
    uv, ground = figure(side=side)
    base = draw(uv, FIGURE, ground)
    drawn = reconstructor(estimator=FixedEstimator(), grid_stride=stride)(base, uv, uv, TO_BASE)
    size = side // stride
    assert drawn.field is not None
    torch.testing.assert_close(drawn.field[0], identity_field(size, size, uv), atol=2e-5, rtol=0)
    torch.testing.assert_close(drawn.image, base, atol=1e-4, rtol=0)


def test_every_region_of_an_identical_pair_stays_whatever_the_masks():
    """Not yet trained masks, and all of them at once."""
    uv, ground = figure()
    drawn = reconstructor()(draw(uv, FIGURE, ground), uv, uv, TO_BASE)
    assert drawn.field is not None
    torch.testing.assert_close(drawn.field[0], identity_field(16, 16, uv), atol=2e-5, rtol=0)


def moved_figure(uv: Tensor, motion: str) -> Tensor:
    if motion == "shift":
        return uv + torch.tensor([6.0, -5.0])
    if motion == "shift by parts of a pixel":
        return uv + torch.tensor([2.3, 3.7])
    if motion == "arm":  # a hand about the neck
        T = rotation_map(torch.tensor([0.9]), uv[:, 1])
        return torch.cat([uv[:, :3], apply_affine(T, uv[:, 3:4]), uv[:, 4:]], dim=1)
    degrees = float(motion.split()[1])
    return apply_affine(rotation_map(torch.tensor([math.radians(degrees)]), uv.mean(1)), uv)


@pytest.mark.parametrize(
    "motion", ["shift", "shift by parts of a pixel", "arm", "turn 20", "turn -90", "turn 135", "turn 180"]
)
def test_a_moved_figure_is_reconstructed_in_place(motion):
    """The colour of every limb, at every pixel well within it, and the ground where the figure was not."""
    uv, ground = figure()
    uv_driving = moved_figure(uv, motion)
    base, driving = (draw(pose, FIGURE, ground) for pose in (uv, uv_driving))
    drawn = reconstructor(estimator=FixedEstimator(math.exp(-3 / 4)), grid_stride=1, bone_sigma=2.0)(
        base, uv, uv_driving, TO_BASE
    )
    error = (drawn.image - driving).abs().amax(1)[0]
    limbs = inside(uv_driving) & ~near_joints(uv_driving, 5.0)
    away = ~(inside(uv, 5.0) | inside(uv_driving, 5.0))
    assert limbs.sum() > 30
    assert away.sum() > 1000
    assert error[limbs].max() < 0.12
    assert error[away].max() < 0.005  # the figure's faint rim
    copied = (base - driving).abs().amax(1)[0]
    assert copied[limbs].max() > 0.4  # else it says nothing


@pytest.mark.parametrize("motion", ["shift", "turn 135"])
def test_a_field_on_a_coarser_grid_is_the_same_field(motion):
    uv, ground = figure()
    uv_driving = moved_figure(uv, motion)
    base = draw(uv, FIGURE, ground)
    fields = []
    for stride, sigma in ((1, 3.0), (4, 1.5)):  # one width in pixels of the image
        drawn = reconstructor(estimator=FixedEstimator(), grid_stride=stride, bone_sigma=sigma)(
            base, uv, uv_driving, TO_BASE
        )
        assert drawn.field is not None
        fields.append((drawn.field + 0.5) * stride - 0.5)
    fine = F.avg_pool2d(fields[0].movedim(-1, 1), 4).movedim(1, -1)
    on_the_figure = F.avg_pool2d(inside(uv_driving).float()[None, None], 4)[0, 0] > 0.3
    apart = (fine - fields[1])[0].norm(dim=-1)[on_the_figure]
    assert apart.median() < 0.25


def crops(T_base: Tensor, T_driving: Tensor, scene: Tensor) -> tuple[UnlabelledBatch, UnlabelledBatch]:
    """Two crops of one picture of a scene at rest, 64 px each."""

    def crop(T_crop_file: Tensor) -> UnlabelledBatch:
        image = warp_images(scene, T_crop_file, SIDE, SIDE, antialias=False)
        return UnlabelledBatch(image, ("a",), T_crop_file=T_crop_file.double())

    return crop(T_base), crop(T_driving)


def crop_map(u: float, v: float, zoom: float = 1.0, angle: float = 0.0, mirror: bool = False) -> Tensor:
    c, s = zoom * math.cos(angle), zoom * math.sin(angle)
    side = -1.0 if mirror else 1.0
    return torch.tensor([[[side * c, s, -u if not mirror else 110.0 - u], [-side * s, c, -v], [0.0, 0.0, 1.0]]])


@pytest.mark.parametrize(
    "following",
    [
        (crop_map(10, 5), crop_map(16, 2)),
        (crop_map(10, 5), crop_map(12.5, 7.25)),
        (crop_map(10, 5), crop_map(20, 18, 1.2)),
        (crop_map(20, 18, 1.3), crop_map(10, 5)),
        (crop_map(10, 5), crop_map(16, 20, 1.1, 0.2)),
        (crop_map(10, 5, mirror=True), crop_map(14, 2, mirror=True)),
    ],
    ids=["by whole pixels", "by parts of a pixel", "closer", "away", "turned", "mirrored"],
)
@pytest.mark.parametrize("stride", [1, 4])
def test_crops_that_follow_find_the_background_where_it_is(following, stride):
    """All is background, and smooth, as both crops are samples of one picture already."""
    u, v = identity_field(120, 120, torch.zeros(())).unbind(-1)
    scene = 0.5 + 0.2 * torch.stack([torch.sin(0.2 * u), torch.cos(0.15 * v), torch.sin(0.1 * (u + v))])[None]
    base, driving = crops(*following, scene)
    T = still_camera_transform(base, driving)
    expected = following[0].double() @ torch.linalg.inv(following[1].double())
    torch.testing.assert_close(T.double(), expected, atol=1e-4, rtol=0)
    uv, _ = figure()
    drawn = reconstructor(estimator=FixedEstimator(sure=2.0), grid_stride=stride)(base.rgb, uv, uv, T)
    pixels = identity_field(SIDE, SIDE, T).view(1, -1, 2)
    shown = apply_affine(T, pixels).view(SIDE, SIDE, 2)
    # Half a pixel of the grid at the border is continued, not known.
    margin = 0.5 if stride == 1 else 2.5
    known = ((shown >= margin) & (shown <= SIDE - 1 - margin)).all(-1)
    inner = torch.zeros_like(known)
    inner[stride // 2 : SIDE - stride // 2, stride // 2 : SIDE - stride // 2] = True
    known = known & inner
    assert known.float().mean() > 0.4
    error = (drawn.image - driving.rgb).abs().amax(1)[0][known]
    assert error.max() < 0.01
    assert (base.rgb - driving.rgb).abs().amax(1)[0][known].mean() > 0.02


def test_crops_without_transforms_stay_in_place():
    image = torch.rand(2, 3, 8, 8)
    nothing = UnlabelledBatch(image, ("a", "b"))
    known = UnlabelledBatch(image, ("a", "b"), T_crop_file=crop_map(5, 7, 2.0).repeat(2, 1, 1))
    for base, driving in ((nothing, nothing), (nothing, known), (known, nothing), (known, known)):
        torch.testing.assert_close(still_camera_transform(base, driving), torch.eye(3).repeat(2, 1, 1))


def test_far_crops_lose_no_precision():
    """Crops of a large picture: maps of thousands of pixels cancel."""
    T_base, T_driving = (torch.eye(3)[None].clone() for _ in range(2))
    T_base[:, :2, 2], T_driving[:, :2, 2] = torch.tensor([-7000.3, -4000.1]), torch.tensor([-7001.4, -3999.7])
    both = [UnlabelledBatch(torch.zeros(1, 3, 8, 8), ("a",), T_crop_file=T) for T in (T_base, T_driving)]
    expected = (T_base - T_driving).double()[0, :2, 2]
    torch.testing.assert_close(still_camera_transform(*both)[0, :2, 2].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("stride", [1, 4])
def test_a_predicted_background_moves_by_shares_of_the_image(stride):
    """A shift by half of half the side, and a growth from the image's centre; after what is known of the crops."""
    delta = torch.tensor([[[0.1, 0.0, 0.25], [0.0, -0.2, 0.0]]])
    T_known = torch.eye(3)[None].clone()
    T_known[0, :2, 2] = torch.tensor([4.0, -8.0])
    base = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    uv, _ = figure()
    drawn = reconstructor(estimator=FixedEstimator(2.0, delta), grid_stride=stride)(base, uv, uv, T_known)
    assert drawn.field is not None
    centre = (SIDE - 1) / 2
    u, v = (identity_field(SIDE // stride, SIDE // stride, base) + 0.5).mul(stride).sub(0.5).unbind(-1)
    expected = torch.stack([(u + 4 - centre) * 1.1 + centre + 0.25 * SIDE / 2, (v - 8 - centre) * 0.8 + centre], dim=-1)
    torch.testing.assert_close((drawn.field[0] + 0.5) * stride - 0.5, expected, atol=1e-4, rtol=0)


def test_a_predicted_background_begins_with_the_known_one():
    config = replace(TINY, warping=replace(TINY.warping, background="affine"))
    plain, predicted = reconstructor(), reconstructor(config)
    uv, ground = figure()
    T = crop_map(3, -2, 1.1)
    for made in (plain, predicted):
        made.estimator.masks.bias.data[0] = 50.0  # all is background
    fields = [made(ground, uv, uv + 1, T).field for made in (plain, predicted)]
    assert fields[0] is not None
    torch.testing.assert_close(fields[0], fields[1])


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_gradients_reach_the_joints_of_both_frames(guide):
    data = pairs(2, SIDE, 3)
    joints = [data.uv_base.clone().requires_grad_(), data.uv_driving.clone().requires_grad_()]
    drawn = reconstructor(guide=guide).train()(data.base, *joints, TO_BASE.repeat(2, 1, 1))
    for gradient in torch.autograd.grad((drawn.image - data.driving).square().sum(), joints):
        assert gradient.isfinite().all()
        assert (gradient.abs().sum(-1) > 0).all()


def test_gradient_by_central_differences():
    """Joints of both frames to a loss on the picture, through untrained networks, in float64."""
    made = reconstructor(replace(TINY, generator=GeneratorConfig(4, 8, residual_blocks=1))).double()
    nn.init.normal_(made.estimator.masks.weight, std=0.05)
    data = pairs(1, 32, 4)
    base, driving = data.base.double(), data.driving.double()
    joints = torch.stack([data.uv_base, data.uv_driving]).double().requires_grad_()

    def loss(uv: Tensor) -> Tensor:
        return (made(base, uv[0], uv[1], TO_BASE.double()).image - driving).square().mean()

    (gradient,) = torch.autograd.grad(loss(joints), joints)
    step, found = 1e-6, torch.zeros_like(joints).flatten()
    with torch.no_grad():
        for i in range(joints.numel()):
            offset = torch.zeros_like(found)
            offset[i] = step
            after, before = (loss(joints + sign * offset.view_as(joints)) for sign in (1, -1))
            found[i] = (after - before) / (2 * step)
    assert (gradient.flatten() - found).norm() <= 1e-4 * gradient.norm()


def test_heat_maps_as_guide_need_no_field():
    data = pairs(2, SIDE, 3)
    made = reconstructor(guide="heatmaps")
    drawn = made(data.base, data.uv_base, data.uv_driving, TO_BASE.repeat(2, 1, 1))
    assert drawn.image.shape == data.base.shape
    assert drawn.masks is None
    assert drawn.field is None
    assert drawn.inpainting is None
    other = made(data.base, data.uv_base, data.uv_driving.flip(0), TO_BASE.repeat(2, 1, 1))
    assert (other.image - drawn.image).abs().max() > 1e-6


def test_mixed_precision_keeps_places():
    data = pairs(2, SIDE, 3)
    made, T = reconstructor(), crop_map(3, -2, 1.1).repeat(2, 1, 1)
    nn.init.normal_(made.estimator.masks.weight, std=0.02)
    expected = made(data.base, data.uv_base, data.uv_driving, T)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(data.base, data.uv_base, data.uv_driving, T)
    assert found.field is not None
    assert expected.field is not None
    assert found.field.dtype == torch.float32
    assert found.image.isfinite().all()
    assert (found.image - expected.image).abs().mean() < 0.01
    # What is left is the masks' rounding; a place in bfloat16 would be wrong by up to 1/16 of a pixel anywhere.
    assert (found.field - expected.field).abs().median() < 0.01
    with torch.autocast("cpu", torch.bfloat16):
        given = reconstructor(estimator=FixedEstimator())(data.base, data.uv_base, data.uv_driving, T)
    plain = reconstructor(estimator=FixedEstimator())(data.base, data.uv_base, data.uv_driving, T)
    assert torch.equal(given.field, plain.field)


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_mixed_precision_gives_pictures_that_can_be_compared(guide):
    uv, base = figure()
    made = reconstructor(guide=guide)
    with torch.autocast("cpu", torch.bfloat16):
        image = made(base, uv, uv + 1, TO_BASE).image
    assert image.dtype == base.dtype
    smaller = F.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)  # which knows no bfloat16
    assert smaller.isfinite().all()


def reconstruction_loss(made: FrameReconstructor, data: Pairs, uv_base: Tensor, uv_driving: Tensor) -> Tensor:
    image = made(data.base, uv_base, uv_driving, TO_BASE.repeat(len(uv_base), 1, 1)).image
    return perceptual_l1(lambda x: [x], image, data.driving, (1.0, 0.5, 0.25))


def test_trained_reconstructor_has_a_loss_that_localises_joints():
    """Trained for seconds on true joints. Then joints are moved, by 2 px of 64 in the mean square, and the steepest
    descent points to where they were: over seeds and sizes the mean cosine was 0.42 to 0.58, at tips 0.2 to 0.7.
    """
    torch.manual_seed(0)
    side, count = 48, 96
    made, data, unseen = FrameReconstructor(TINY, FIGURE), pairs(count, side, 1), pairs(64, side, 99)
    adam = torch.optim.Adam(made.parameters(), lr=3e-3)
    for number in range(60):
        part = slice(8 * number % count, 8 * number % count + 8)
        shown = Pairs(*(value[part] for value in vars(data).values()))
        loss = reconstruction_loss(made, shown, shown.uv_base, shown.uv_driving).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    made.eval().requires_grad_(False)
    right = reconstruction_loss(made, unseen, unseen.uv_base, unseen.uv_driving).mean()
    copied = perceptual_l1(lambda x: [x], unseen.base, unseen.driving, (1.0, 0.5, 0.25)).mean()
    assert right < 0.75 * copied
    moved = 2 * side / 64 / math.sqrt(2) * torch.randn(unseen.uv_base.shape, generator=torch.Generator().manual_seed(5))
    for frame in ("base", "driving"):
        joints = {"base": unseen.uv_base.clone(), "driving": unseen.uv_driving.clone()}
        joints[frame] = (joints[frame] + moved).requires_grad_()
        wrong = reconstruction_loss(made, unseen, joints["base"], joints["driving"])
        assert wrong.mean() > 1.05 * right
        (gradient,) = torch.autograd.grad(wrong.sum(), joints[frame])
        cosine = F.cosine_similarity(gradient, moved, dim=-1)
        assert cosine.mean() > 0.3, frame
        assert (cosine.mean(0) > 0.1).all(), frame
