"""The stages of both models: their bounds against a second computation, what they train, and resumption."""

import copy
from dataclasses import replace

import pytest
import torch

from methods.disentangled_vae.fans import SCHEDULE, context, estimator, fans, first_terms, synthesiser
from posebridge.data.augment import NONE, draw_views
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError
from posebridge.methods.disentangled_vae.config import BoundConfig, EstimationConfig, SynthesisConfig
from posebridge.methods.disentangled_vae.disentanglement import measure_disentanglement
from posebridge.methods.disentangled_vae.estimation import PoseDisentangling, PoseEmbedding, pose_vae
from posebridge.methods.disentangled_vae.pose_labels import pose_labels
from posebridge.methods.disentangled_vae.synthesis import ImageDisentangling, ImageEmbedding
from posebridge.networks.image_synthesis import POSE
from posebridge.rendering.photometry import OFF
from posebridge.skeletons.hand import HAND21
from posebridge.training.frames import InMemoryFrames
from posebridge.training.run import Run
from training.dots import ONE_CPU, crash, disturb, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")
BOUND = BoundConfig(schedule=SCHEDULE, batch_size=8, beta=0.01)
ESTIMATION = EstimationConfig(disentangling=BOUND, embedding=BOUND, geometry=NONE, appearance=OFF)
SYNTHESIS = SynthesisConfig(disentangling=replace(BOUND, beta=100.0), embedding=replace(BOUND, beta=1.0))


def pose_disentangling(config: EstimationConfig = ESTIMATION) -> PoseDisentangling:
    torch.manual_seed(0)
    return with_trainer(PoseDisentangling(config, context(), pose_vae(estimator().config)))


def pose_embedding(config: EstimationConfig = ESTIMATION) -> PoseEmbedding:
    return with_trainer(PoseEmbedding(config, context(), estimator(), pose_disentangling().vae))


def image_disentangling(content: str = "tags", config: SynthesisConfig = SYNTHESIS) -> ImageDisentangling:
    return with_trainer(ImageDisentangling(config, context(), synthesiser(content)))


def image_embedding(content: str = "tags") -> ImageEmbedding:
    return with_trainer(ImageEmbedding(SYNTHESIS, context(), synthesiser(content)))


STAGES = [
    pytest.param(pose_disentangling, id="pose-disentangling"),
    pytest.param(pose_embedding, id="pose-embedding"),
    pytest.param(image_disentangling, id="image-disentangling"),
    pytest.param(lambda: image_disentangling("extra"), id="image-disentangling-extra"),
    pytest.param(image_embedding, id="image-embedding"),
]


@torch.no_grad()
def test_bound_of_poses_sample_by_sample():
    """Eq. 4.2 without its weights, by a loop with the same draws."""
    stage = pose_disentangling()
    batch = stage.streams["source"].batch(0)
    labels = pose_labels(batch, HAND21)
    found = first_terms(stage)
    vae, sums = stage.vae, dict.fromkeys(found, 0.0)
    generator = torch.Generator().manual_seed(0)
    draw_views(NONE, len(batch), 2, generator)
    noise = torch.randn(len(batch), vae.latent, generator=generator)
    for i in range(len(batch)):
        y = {"canonical": labels.canonical[i].flatten(), "viewpoint": labels.viewpoint[i].flatten()}
        parts = [vae.factor(name).encoder(y[name][None]) for name in y]
        mean, deviation = (torch.cat([getattr(p, name)[0] for p in parts]) for name in ("mean", "deviation"))
        z = mean + deviation * noise[i]
        sums["pose"] += 0.5 * (vae.decoder(z[None])[0] - labels.pose[i].flatten()).square().sum().item()
        for (name, values), part in zip(y.items(), (z[:3], z[3:]), strict=True):
            sums[name] += 0.5 * (vae.factor(name).decoder(part[None])[0] - values).square().sum().item()
        variance = deviation.square()
        sums["divergence"] += 0.5 * (mean.square() + variance - 1 - variance.log()).sum().item()
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: value / len(batch) for name, value in sums.items()}, rel=1e-4
    )


def test_likelihoods_of_images_sum_over_pixels():
    """Of a decoder that returns one colour, half the squared error over all pixels by the variance."""
    stage = image_disentangling()
    decoder = stage.network.vae.decoder
    torch.nn.init.zeros_(decoder[0].last.weight)
    torch.nn.init.zeros_(decoder[0].last.bias)  # grey after the sigmoid
    images = stage.streams["pairs"].batch(0).rgb[8:]
    expected = 0.5 * (images - 0.5).square().sum() / len(images) / stage.config.image_deviation**2
    assert first_terms(stage)["image"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_tags_show_another_sample_of_the_same_content():
    pairs = image_disentangling().streams["pairs"].batch(0)
    assert pairs.sequence[:8] == pairs.sequence[8:]
    assert all(a != b for a, b in zip(pairs.key[:8], pairs.key[8:], strict=True))


@pytest.mark.parametrize("make", [pose_embedding, image_embedding])
def test_decoders_stay_while_images_are_embedded(tmp_path, make):
    """Weights and running statistics, to the last bit; the encoder moves."""
    stage = make()
    before = copy.deepcopy(stage.state_dict())
    Run(tmp_path, ONE_CPU).train(1, stage)
    moved = {name for name, values in stage.state_dict().items() if not torch.equal(values, before[name])}
    assert moved
    assert all(name.startswith("network.encoder.") for name in moved)


@pytest.mark.parametrize("make", STAGES)
def test_a_stopped_stage_ends_as_an_uninterrupted_one(tmp_path, make):
    run = Run(tmp_path / "whole", ONE_CPU)
    run.train(1, whole := make())
    stopped = Run(tmp_path / "stopped", ONE_CPU, checkpoint_seconds=0)
    disturb(first := make(), {3: crash})
    with pytest.raises(RuntimeError, match="power cut"):
        stopped.train(1, first)
    begun = disturb(resumed := make(), {})
    stopped.train(1, resumed)
    assert begun[0] == 3
    for name, values in whole.result().state_dict().items():
        assert torch.equal(values, resumed.result().state_dict()[name]), name
    tables = [r.layout.stage(1, whole.name).metrics.read_text() for r in (run, stopped)]
    assert tables[0] == tables[1]


def test_inner_loop_trains_encoder_and_decoder_of_poses_alone(tmp_path):
    """Algorithm 4.2, lines 7 to 12: every other step; the others train all."""
    stage = image_disentangling("extra")
    assert stage.is_inner  # step 0
    terms = first_terms(stage)
    assert {name for name, value in terms.items() if value != 0} == {"noise"}
    terms["noise"].backward()
    moved = {name for name, p in stage.network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved
    assert all(name.startswith(f"vae.factors.{POSE}.") for name in moved)
    rows = Run(tmp_path, ONE_CPU)
    rows.train(1, stage)
    header, *lines = rows.layout.stage(1, stage.name).metrics.read_text().splitlines()
    noise = header.split(",").index("noise")
    assert [bool(line.split(",")[noise]) for line in lines] == [True, False] * 3


def test_weak_images_add_their_viewpoint_alone():
    """Another 3D pose in the same viewpoint leaves the weak terms as they are."""
    stage = pose_embedding(replace(ESTIMATION, labelled=16, unlabelled="viewpoints"))
    assert set(stage.streams) == {"source", "weak"}
    stage.eval()  # batch statistics would couple nothing here, but would move
    batches = {name: stream.batch(0) for name, stream in stage.streams.items()}
    fingertips = torch.tensor([HAND21.index(f"{name}_4") for name in ("thumb", "index", "middle")])
    other = batches["weak"].joints_m.clone()
    other[:, fingertips] += 0.02
    changed = {**batches, "weak": replace(batches["weak"], joints_m=other)}
    first, second = (stage.terms(each, torch.Generator().manual_seed(0)) for each in (batches, changed))
    for name in ("weak_viewpoint", "weak_divergence"):
        torch.testing.assert_close(first[name], second[name])
    assert set(first) == set(stage.term_weights)


def test_labels_reach_each_step_by_the_setting():
    """The first 16 of 40 samples are labelled; poses beyond them reach the disentangling step where it takes them."""
    numbers = {name: set() for name in ("none", "poses", "viewpoints")}
    for name, keys in numbers.items():
        config = replace(ESTIMATION, labelled=16, unlabelled=name)
        stage = pose_disentangling(config)
        for n in range(10):
            keys |= {int(key.partition("-")[2]) for key in stage.streams["source"].batch(n).key}
        embedding = pose_embedding(config).streams
        assert {int(k.partition("-")[2]) for n in range(4) for k in embedding["source"].batch(n).key} == {*range(16)}
        if name == "viewpoints":
            weak = {int(k.partition("-")[2]) for n in range(6) for k in embedding["weak"].batch(n).key}
            assert weak == {*range(16, 40)}
    assert numbers == {"none": {*range(16)}, "poses": {*range(40)}, "viewpoints": {*range(16)}}


def test_sources_without_sequences_have_no_tags():
    plain = InMemoryFrames(InMemoryDataset([fans(8, seed=1)]), seed=3)
    with pytest.raises(InputError, match="this source has no tag images"):
        ImageDisentangling(SYNTHESIS, context(source=plain), synthesiser())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(ESTIMATION, geometry=replace(NONE, shear_deg=5.0)), "a sheared view shows no rotated pose"),
        (lambda: replace(ESTIMATION, labelled=0), "0 labelled samples are impossible"),
        (lambda: replace(ESTIMATION, unlabelled="poses"), "unlabelled=poses needs samples without labels"),
        (lambda: replace(SYNTHESIS, image_deviation=0.0), "image_deviation=0 is impossible"),
        (lambda: replace(SYNTHESIS, inner_steps=0), "inner_steps=0 is impossible"),
    ],
)
def test_configs_that_do_not_fit(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_disentanglement_of_a_construction():
    """A network whose images are its latent vectors: leaks are zero, and those that are built in are found."""

    class Plain(torch.nn.Module):
        """The first row of an image is the pose, the second one the content, which leaks into the pose."""

        def __init__(self, leak: float):
            super().__init__()
            self.leak = leak

        def pose_latents(self, images):
            return images[:, 0, 0, :2]

        def content_latents(self, images):
            return images[:, 0, 1, :2]

        def synthesise(self, pose, content):
            image = torch.zeros(len(pose), 3, 2, 2)
            image[:, 0, 0] = pose + self.leak * content
            image[:, 0, 1] = content
            return image, pose[:, None, :].repeat(1, 21, 2)[..., :3]

    images = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    clean, leaking = (measure_disentanglement(Plain(leak), images) for leak in (0.0, 0.5))
    assert clean.pose_leak == clean.content_leak == 0
    assert leaking.content_leak == 0
    assert leaking.pose_leak > 0.1
