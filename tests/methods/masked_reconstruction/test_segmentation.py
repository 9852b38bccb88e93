"""Training of the segmentation network on a few hundred rendered hands."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import MILD, NONE
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.methods.masked_reconstruction.masks import predict_masks
from posebridge.methods.masked_reconstruction.segmentation import SegmentationTraining, SegmentationTrainingConfig
from posebridge.metrics.masks import mask_iou
from posebridge.networks.segmentation import SegmentationConfig
from posebridge.rendering.photometry import OFF, WEAK
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis import backgrounds
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from training.dots import ONE_CPU, crash, disturb

SIDE, TRAINED, TESTED = 32, 256, 64
CONFIG = SegmentationTrainingConfig(
    network=SegmentationConfig(width=8, most_channels=64),
    schedule=Schedule(steps=120, learning_rate=1e-2, decay="cosine", warmup=0.1, clip_norm=5.0),
    batch_size=16,
    geometry=MILD,
    appearance=WEAK,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def _renders(domain: str, count: int, seed: int) -> InMemoryDataset[LabelledBatch]:
    config = RenderConfig(domain=domain, count=count, size_px=SIDE, seed=seed)
    return InMemoryDataset(open_samples(config).chunks(count))


@pytest.fixture(scope="module")
def studio() -> InMemoryDataset[LabelledBatch]:
    return _renders("studio", TRAINED, 0)


@pytest.fixture(scope="module")
def unconstrained() -> UnconstrainedImages:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backgrounds, "_BANK_SIZE", 32)
        backgrounds.painted_tiles.cache_clear()
        images = UnconstrainedImages()
        backgrounds.painted_tiles.cache_clear()
    return images


def _context(source: InMemoryDataset[LabelledBatch]) -> Context:
    return Context(
        new_network=nn.Identity,
        skeleton=HAND21,
        source=InMemoryFrames(source, seed=0),
        target=None,
        selection=None,
        seed=0,
    )


def _iou(stage: SegmentationTraining, frames: LabelledBatch) -> float:
    assert frames.mask is not None
    network = copy.deepcopy(stage.result()).eval()  # the stage's own stays in training mode
    return mask_iou(predict_masks(network, frames.rgb), frames.mask).mean().item()


def test_masks_of_another_domain(studio, unconstrained, tmp_path):
    """Plain walls and light hands in training, clutter and all skin tones in the test."""
    street, held_out = _renders("street", TESTED, 1).all(), _renders("studio", TESTED, 2).all()
    stage = SegmentationTraining(CONFIG, _context(studio), unconstrained)
    before = _iou(stage, held_out)
    Run(tmp_path, ONE_CPU).train(1, stage)
    assert street.mask is not None
    everything = street.mask.float().mean().item()  # IoU of a mask without a background
    assert _iou(stage, held_out) > max(0.7, before + 0.2)
    assert _iou(stage, street) > max(0.5, everything + 0.1)


def test_a_resumed_training_ends_with_the_same_weights(studio, unconstrained, tmp_path):
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, steps=4))
    whole = SegmentationTraining(config, _context(studio), unconstrained)
    Run(tmp_path / "whole", ONE_CPU).train(1, whole)
    run = Run(tmp_path / "stopped", ONE_CPU, checkpoint_seconds=0)
    stopped = SegmentationTraining(config, _context(studio), unconstrained)
    disturb(stopped, {2: crash})
    with pytest.raises(RuntimeError, match="power cut"):
        run.train(1, stopped)
    torch.rand(5)  # a new process has another global random state
    resumed = SegmentationTraining(config, _context(studio), unconstrained)
    begun = disturb(resumed, {})
    run.train(1, resumed)
    assert begun == [2, 3]
    trained = resumed.result().state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in whole.result().state_dict().items())


def test_the_foreground_stays_and_the_background_changes(studio, unconstrained):
    config = replace(CONFIG, geometry=NONE, appearance=OFF, composited_frac=1.0)
    stage = SegmentationTraining(config, _context(studio), unconstrained)
    source = studio.part(slice(0, 16))
    view = stage._view(source, torch.Generator().manual_seed(0))
    assert source.mask is not None
    assert torch.equal(view.mask, source.mask)
    inner = -torch.nn.functional.max_pool2d(-source.mask.float()[:, None], 3, 1, 1) > 0
    far = torch.nn.functional.max_pool2d(source.mask.float()[:, None], 3, 1, 1) == 0
    difference = (view.rgb - source.rgb).abs().mean(1, keepdim=True)
    assert difference[inner].max() < 1e-6
    assert difference[far].mean() > 0.1
    kept = SegmentationTraining(replace(config, composited_frac=0.0), _context(studio), unconstrained)
    torch.testing.assert_close(kept._view(source, torch.Generator().manual_seed(0)).rgb, source.rgb)


def test_views_follow_the_generator(studio, unconstrained):
    stage = SegmentationTraining(CONFIG, _context(studio), unconstrained)
    views = [stage._view(studio.part(slice(0, 8)), torch.Generator().manual_seed(seed)).rgb for seed in (0, 0, 1)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_a_source_without_masks_is_refused(studio, unconstrained):
    bare = studio.map(lambda batch: replace(batch, mask=None))
    stage = SegmentationTraining(CONFIG, _context(bare), unconstrained)
    with pytest.raises(ValueError, match="these source samples have none"):
        stage._view(bare.part(slice(0, 4)), torch.Generator())


def test_fractions_are_fractions():
    with pytest.raises(InputError, match=r"composited_frac=1\.5 is no fraction"):
        replace(CONFIG, composited_frac=1.5)
