"""Terms of Eq. 5.1 to 5.10, against loops, Monte Carlo, and batches with missing modalities."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from methods.aligned_latent_spaces.far_dots import CONFIG, NETWORK, SIDE, network
from posebridge.errors import InputError
from posebridge.losses.clouds import chamfer_distance, earth_movers_distance
from posebridge.methods.aligned_latent_spaces.models import LatentModels, Modalities, Posterior
from posebridge.methods.aligned_latent_spaces.objective import (
    alignment_term,
    cloud_term,
    heat_term,
    objective,
    pose_term,
)
from posebridge.representations.gaussian import Gaussian, product_of_experts

pytestmark = pytest.mark.usefixtures("one_thread")
MAPS = NETWORK.heat_maps
ROWS = torch.arange(4)


def samples(count: int = 4, seed: int = 0) -> Modalities:
    generator = torch.Generator().manual_seed(seed)
    there = torch.ones(count, dtype=torch.bool)
    return Modalities(
        image=torch.rand(count, 3, SIDE, SIDE, generator=generator),
        cloud=torch.randn(count, 16, 3, generator=generator),
        pose=torch.randn(count, 3, 3, generator=generator),
        uv_px=2 + (SIDE - 5) * torch.rand(count, 3, 2, generator=generator),
        has_image=there,
        has_cloud=there.clone(),
        has_joint=there[:, None].repeat(1, 3),
        has_pixel=there[:, None].repeat(1, 3),
    )


def models(**changes) -> LatentModels:
    torch.manual_seed(1)
    return LatentModels(replace(CONFIG, **changes), network())


def terms_of(made: LatentModels, known: Modalities, beta: float = 1e-3) -> dict[str, torch.Tensor]:
    return objective(made, known, made.posteriors(known), beta, torch.Generator().manual_seed(0))


def test_poses_by_the_norm_of_all_coordinates():
    known = samples()
    known.has_joint[0, 1] = known.has_joint[3] = False
    predicted = torch.randn(4, 3, 3)
    norms = []
    for i, joints in ((0, (0, 2)), (1, (0, 1, 2)), (2, (0, 1, 2))):
        squares = [(predicted[i, j, c] - known.pose[i, j, c]).item() ** 2 for j in joints for c in range(3)]
        norms.append(math.sqrt(sum(squares)))
    assert pose_term(predicted, known, ROWS).item() == pytest.approx(sum(norms) / 3, rel=1e-5)


def test_heat_maps_by_the_norm_of_each_map():
    known = samples()
    known.has_pixel[0, 1] = known.has_pixel[2] = False
    known.uv_px[1, 0] = -10.0  # outside the crop
    predicted = torch.randn(4, 3, 8, 8)
    total = 0.0
    for i, joints in ((0, (0, 2)), (1, (1, 2)), (3, (0, 1, 2))):
        for j in joints:
            centre = ((known.uv_px[i, j] + 0.5) * 8 / SIDE - 0.5).tolist()
            target = [
                [math.exp(-((u - centre[0]) ** 2 + (v - centre[1]) ** 2) / 2) for u in range(8)] for v in range(8)
            ]
            total += (predicted[i, j] - torch.tensor(target)).norm().item()
    assert heat_term(predicted, MAPS, known, ROWS).item() == pytest.approx(total / 3, rel=1e-5)


def test_clouds_of_the_samples_that_have_one():
    known = samples()
    known.has_cloud[:] = torch.tensor([True, False, True, False])
    known.cloud[1] = torch.nan
    predicted = torch.randn(4, 16, 3)
    kept = torch.tensor([0, 2])
    pairs = predicted[kept], known.cloud[kept]
    expected = (chamfer_distance(*pairs) + earth_movers_distance(*pairs)).mean()
    torch.testing.assert_close(cloud_term(predicted, known, ROWS), expected)
    known.has_cloud[:] = False
    assert cloud_term(predicted, known, ROWS).item() == 0


def test_divergences_by_monte_carlo():
    """Of the joint Gaussian from that of images (Eq. 5.3), not the reverse."""
    torch.manual_seed(0)
    image = Gaussian(torch.randn(1, 2), 0.5 * torch.randn(1, 2))
    joint = Gaussian(torch.randn(1, 2), 0.5 * torch.randn(1, 2) - 1)
    p, q = (Normal(g.mean, g.deviation) for g in (image, joint))
    z = q.sample(torch.Size([200_000]))
    expected = (q.log_prob(z) - p.log_prob(z)).sum(dim=-1).mean()
    posteriors = {"image": Posterior(torch.tensor([0]), image), "joint": Posterior(torch.tensor([0]), joint)}
    assert alignment_term(posteriors).item() == pytest.approx(expected.item(), rel=0.02)


def test_pairs_are_aligned_with_their_own_image():
    gaussian = Gaussian(torch.randn(3, 2), torch.randn(3, 2))
    posteriors = {
        "image": Posterior(torch.tensor([1, 4, 6]), gaussian),
        "joint": Posterior(torch.tensor([1, 6]), gaussian[torch.tensor([0, 2])]),
    }
    assert alignment_term(posteriors).item() == 0
    assert alignment_term({"image": posteriors["image"]}).item() == 0


@pytest.mark.parametrize(
    ("changes", "spaces", "names"),
    [
        ({"alignment": "none", "clouds": None}, {"image"}, {"pose", "heat", "divergence"}),
        ({"alignment": "none"}, {"image"}, {"pose", "heat", "cloud", "divergence"}),
        ({"alignment": "divergence"}, {"image", "joint"}, {"pose", "heat", "cloud", "divergence", "alignment"}),
        ({"alignment": "product"}, {"image", "cloud", "joint"}, {"pose", "heat", "cloud", "divergence"}),
    ],
)
def test_terms_are_sums_over_the_latent_spaces_of_a_strategy(changes, spaces, names):
    made, known = models(**changes), samples()
    posteriors = made.posteriors(known)
    assert set(posteriors) == spaces
    terms = terms_of(made, known)
    assert set(terms) == names
    generator = torch.Generator().manual_seed(0)
    made = made.eval()  # as with statistics of one batch alone, which change nothing between the two passes
    posteriors = made.posteriors(known)
    poses = [
        pose_term(made.network.decode_pose(p.gaussian.sample(generator)), known, p.rows) for p in posteriors.values()
    ]
    torch.testing.assert_close(terms_of(made, known)["pose"], sum(poses))


def test_products_have_no_divergence_of_their_own():
    """Expanded Eq. 5.4: the divergences of images and of clouds, weighted by beta."""
    made, known = models().eval(), samples()
    posteriors = made.posteriors(known)
    expected = sum(posteriors[name].gaussian.divergence().sum(1).mean() for name in ("image", "cloud"))
    torch.testing.assert_close(terms_of(made, known, beta=0.25)["divergence"], 0.25 * expected)


@pytest.mark.parametrize("prior", [False, True])
def test_joint_spaces_are_products(prior):
    made, known = models(prior_expert=prior).eval(), samples()
    known.has_cloud[1] = known.has_image[2] = False
    found = made.posteriors(known)
    assert found["image"].rows.tolist() == [0, 1, 3]
    assert found["cloud"].rows.tolist() == [0, 2, 3]
    assert found["joint"].rows.tolist() == [0, 3]
    pair = [found["image"].gaussian[torch.tensor([0, 2])], found["cloud"].gaussian[torch.tensor([0, 2])]]
    expected = product_of_experts(pair, prior)
    torch.testing.assert_close(found["joint"].gaussian.mean, expected.mean)
    torch.testing.assert_close(found["joint"].gaussian.log_variance, expected.log_variance)


def test_missing_modalities_are_no_error():
    """What is missing may hold anything, and trains nothing."""
    made, known = models().eval(), samples()
    known.has_cloud[1] = known.has_image[2] = False
    known.has_joint[0] = known.has_pixel[0] = False
    one = terms_of(made, known)
    known.cloud[1], known.image[2], known.pose[0], known.uv_px[0] = 7.0, 7.0, 7.0, 7.0
    other = terms_of(made, known)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_unpaired_samples_train_their_own_encoder():
    """Clouds with poses, from another set than images."""
    made, known = models(), samples()
    known.has_image[:] = False
    sum(terms_of(made, known).values()).backward()
    assert made.cloud_encoder is not None
    assert all(parameter.grad is not None for parameter in made.cloud_encoder.parameters())
    assert all(parameter.grad is None for parameter in made.network.encoder.parameters())
    assert made.network.pose_decoder[-1].weight.grad.abs().max() > 0


def test_batches_without_any_modality_are_refused():
    known = samples()
    known.has_image[:] = known.has_cloud[:] = False
    with pytest.raises(InputError, match="no sample of the batch has an image or a cloud"):
        models().posteriors(known)


def test_gradients_at_the_start():
    """Weighted as in Eq. 5.10, poses, heat maps and clouds reach the image encoder with gradients of similar size."""
    sizes = {}
    for name, weight in {"pose": 1.0, "heat": CONFIG.heat_weight, "cloud": CONFIG.cloud_weight}.items():
        made = models()
        (weight * terms_of(made, samples())[name]).backward()
        squares = [p.grad.square().sum() for p in made.network.encoder.parameters() if p.grad is not None]
        sizes[name] = torch.stack(squares).sum().sqrt().item()
    assert 1e-3 < sizes["pose"] < 1e3
    assert sizes["pose"] / 1e4 < sizes["heat"] < 100 * sizes["pose"]
    assert sizes["pose"] / 1e3 < sizes["cloud"] < 1e3 * sizes["pose"]
