"""The stages on the source: joints and masks before exchanged backgrounds, and the radii of the circles."""

from dataclasses import replace

import pytest
import torch

from methods.semihand.hands import RADIUS, SIDE, VIEWS, circle_hand, context, first_terms, hands, multi_task, source
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.methods.semihand.circle_training import CircleTraining, CircleTrainingConfig, labelled_circles
from posebridge.methods.semihand.evidence import circle_iou, circle_picture, predicted_mask_iou
from posebridge.methods.semihand.pretraining import DiverseViews, Pretraining, PretrainingConfig
from posebridge.methods.semihand.views import NO_DIVERSITY, TermWeights
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.multi_task import MultiTaskNetwork
from posebridge.networks.stacked_hourglass import StackedHourglass, StackedHourglassConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.multi_task import labelled_terms
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from training.dots import ONE_CPU, crash, files_of, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULE = Schedule(steps=6, learning_rate=1e-3)
CONFIG = PretrainingConfig(SCHEDULE, 4, TermWeights(heat=10.0), VIEWS, composited_frac=0.5)


def pretraining(config: PretrainingConfig = CONFIG, network: MultiTaskNetwork | None = None) -> Pretraining:
    return with_trainer(Pretraining(config, context(), network or multi_task(), UnconstrainedImages()))


def with_radii(radius: float) -> CircleTraining:
    config = CircleTrainingConfig(Schedule(steps=100, learning_rate=0.05, decay="cosine"), batch_size=8)
    stage = with_trainer(CircleTraining(config, context()))
    stage.circles.load_state_dict(circle_hand(radius).state_dict())
    return stage


def test_every_stack_is_trained():
    """The terms are means over stacks, so that the first stack's head gets gradients by itself, too."""
    config = StackedHourglassConfig(map_px=SIDE, width=8, hourglass=HourglassConfig(2, 4, 8))
    pose = StackedHourglass(config, PoseMaps("softmax", decoding="mean"))
    stage = pretraining(replace(CONFIG, diversity=NO_DIVERSITY, composited_frac=0.0), multi_task(pose))
    terms = first_terms(stage)
    batch = stage.streams["source"].batch(0)
    stacks = stage.network(batch.rgb)
    alone = [labelled_terms(pose.maps, [maps], batch, stage.skeleton, 50.0) for maps in stacks]
    for name, value in terms.items():
        assert value.item() == pytest.approx(sum(term[name].item() for term in alone) / 2, rel=1e-4)
    assert set(terms) == set(stage.term_weights) == {"pose", "heat", "mask"}


def test_other_backgrounds_leave_the_hand():
    batch = hands(40, seed=9)
    view = DiverseViews(NO_DIVERSITY, 0.5, UnconstrainedImages())(batch, torch.Generator().manual_seed(0))
    inner = torch.nn.functional.max_pool2d((~view.hand_mask).float()[:, None], 3, 1, 1)[:, 0] == 0
    same = ((view.rgb - batch.rgb).abs() < 1e-5).all(1)
    assert same[inner].all()
    changed = (~same).flatten(1).any(1)
    assert 10 < changed.sum() < 30


def test_samples_without_hand_masks_are_refused():
    bare = replace(source(), hand_mask=None)
    with pytest.raises(ValueError, match="these source samples have none"):
        DiverseViews(NO_DIVERSITY, 0.5, UnconstrainedImages())(bare, torch.Generator())
    with pytest.raises(ValueError, match="no uv_px or no hand_mask"):
        labelled_circles(circle_hand(), bare, 64)
    with pytest.raises(InputError, match="composited_frac=2"):
        replace(CONFIG, composited_frac=2)


def test_pretraining_resumes_bit_exactly(tmp_path):
    Run(tmp_path / "one", ONE_CPU).train(1, pretraining())
    stage, calls = pretraining(), []
    inner = stage.terms

    def terms(batches, generator):
        calls.append(0)
        if len(calls) == 4:
            crash()
        return inner(batches, generator)

    stage.terms = terms
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "cut", ONE_CPU, checkpoint_seconds=0).train(1, stage)
    Run(tmp_path / "cut", ONE_CPU).train(1, pretraining())
    one, cut = (tmp_path / name / "stages/1-pretraining" for name in ("one", "cut"))
    assert files_of(one) == files_of(cut)
    assert (one / "mask-heads.safetensors").read_bytes() == (cut / "mask-heads.safetensors").read_bytes()


def test_a_finished_stage_has_its_mask_heads_again(tmp_path):
    trained = pretraining()
    Run(tmp_path, ONE_CPU).train(1, trained)
    again = pretraining(network=multi_task())
    Run(tmp_path, ONE_CPU).train(1, again)
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


@pytest.mark.parametrize("start", [0.6, 1.6])
def test_radii_are_learnt_from_masks(tmp_path, start):
    """Masks of circles of a known radius; from smaller and from larger ones. Unseen hands are measured."""
    stage, unseen = with_radii(start * RADIUS), hands(16, seed=30)
    before = circle_iou(stage, unseen).mean()
    Run(tmp_path, ONE_CPU).train(1, stage)
    after = circle_iou(stage, unseen).mean()
    assert before < 0.85
    assert after > 0.96
    tips = [9 * finger + 8 for finger in range(5)]  # at the silhouette in nearly all poses
    assert stage.result().log_radius.exp()[tips].tolist() == pytest.approx([RADIUS] * 5, rel=0.15)


def test_hands_with_unlabelled_joints_do_not_count():
    batch = source().take(torch.arange(8))
    half = batch.valid.clone()
    half[::2, 3] = False
    uv_px = batch.uv_px.clone()
    uv_px[::2, 3] = torch.nan
    unlabelled = replace(batch, valid=half, uv_px=uv_px)
    stage = with_radii(0.15)
    found = stage.terms({"source": unlabelled}, torch.Generator())
    expected = stage.terms({"source": batch.take(torch.arange(1, 8, 2))}, torch.Generator())
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-5)


def test_radii_are_saved_with_the_run(tmp_path):
    stage = with_radii(0.3)
    stage.schedule = replace(stage.schedule, steps=2)
    Run(tmp_path, ONE_CPU).train(1, stage)
    again = with_radii(0.1)
    Run(tmp_path, ONE_CPU).train(1, again)
    assert torch.equal(again.result().log_radius, stage.result().log_radius)


def test_predicted_masks_are_measured_at_the_size_of_maps():
    """A network whose mask is the brightness of its image finds hands that are brighter than noise."""

    class Bright(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, images):
            small = torch.nn.functional.avg_pool2d(images, 2).amin(1)
            return (type("Maps", (), {"mask": self.scale * (small - 0.45)})(),)

    assert predicted_mask_iou(Bright(), hands(20, seed=12)).mean() > 0.9


def test_circles_are_drawn_where_they_lie():
    """Outlines of the enlarged picture are at a radius from their centre."""
    batch = hands(1, seed=3)
    circles = circle_hand()(batch.uv_px, SIDE)
    black = torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8).numpy()
    drawn = torch.from_numpy(circle_picture(black, circles, 0)).float().amax(-1) > 100
    v, u = drawn.nonzero().float().T
    at = (torch.stack([u, v], -1) + 0.5) / (len(drawn) / SIDE) - 0.5
    away = (at[:, None] - circles.centres[0]).norm(dim=-1) - circles.radii[0]
    assert away.abs().amin(1).max() < 0.75
    assert len(at) > 500
