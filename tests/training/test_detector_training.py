"""The detector's training on coins: it finds them, with their sides, and all terms have gradients."""

import numpy as np
import pytest
import torch

from posebridge.contracts.scene_batch import NO_SIDE, NO_SUBJECT
from posebridge.data.scene_stream import SceneStream
from posebridge.deployment.detector import DetectOptions, Detector
from posebridge.deployment.model_spec import DetectorSpec
from posebridge.geometry.boxes import box_iou
from posebridge.networks.detector import DetectorNetwork
from posebridge.representations.centre_maps import CentreMaps
from posebridge.synthesis.whole_scenes import SceneComposer, SceneDistribution
from posebridge.training.detector_training import detection_terms
from posebridge.training.run import Run
from training.coins import SMALL, FewScenes, coin, coin_scenes, detector_stage
from training.dots import ONE_CPU

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_few_scenes_are_learnt():
    torch.manual_seed(0)
    scenes = coin_scenes(8)
    batch, network = FewScenes(scenes).batch(0), DetectorNetwork(SMALL)
    adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(120):
        adam.param_groups[0]["lr"] = 1e-2 * (1 - step / 120)
        terms = detection_terms(CentreMaps(8), network, network(batch.rgb), batch)
        adam.zero_grad()
        (terms["centre"] + 2 * terms["box"] + terms["side"]).backward()
        adam.step()
    detector = Detector(DetectorSpec(SMALL, size_px=96), network, DetectOptions(least_confidence=0.4))
    for scene in scenes:
        labelled = [region for region in scene.regions if not region.ignored]
        found = detector.detect(scene.image)
        ignored = len(scene.regions) - len(labelled)
        assert len(labelled) <= len(found) <= len(labelled) + ignored
        overlap = box_iou(np.array([r.box_xyxy for r in labelled]).reshape(-1, 4), found.boxes_xyxy)
        for region, row in zip(labelled, overlap, strict=True):
            assert row.max() > 0.7
            assert found.hand[int(row.argmax())] == ("left" if region.mirrored else "right")


def test_a_stage_trains_the_network_and_its_average(tmp_path):
    stage = detector_stage(coin_scenes(3))
    before = [p.detach().clone() for p in stage.network.parameters()]
    report = Run(tmp_path, ONE_CPU).train(1, stage)
    assert report.steps == 3
    assert all(not torch.equal(p, old) for p, old in zip(stage.network.parameters(), before, strict=True))
    assert stage.result() is stage.average
    first, latest = (next(iter(net.parameters())) for net in (stage.average, stage.network))
    assert not torch.equal(first, latest)
    assert np.isfinite(float(stage.latest["loss"]))


def test_every_term_reaches_the_shared_features():
    network, batch = DetectorNetwork(SMALL), FewScenes(coin_scenes(6)).batch(0)
    terms = detection_terms(CentreMaps(8), network, network(batch.rgb), batch)
    assert terms.keys() == {"centre", "box", "side"}
    for name, term in terms.items():
        [gradient] = torch.autograd.grad(term, [next(network.stages[0].parameters())], retain_graph=True)
        assert gradient.norm() > 1e-3 * term.detach(), name


def test_ignored_subjects_change_no_term():
    scenes = coin_scenes(6)
    batch = FewScenes(scenes).batch(0)
    network = DetectorNetwork(SMALL)
    output = network(batch.rgb).detach()
    extra = torch.full((len(scenes), 1), NO_SUBJECT)
    padded = batch.__class__(
        image=batch.image,
        key=batch.key,
        boxes_xyxy=torch.cat([batch.boxes_xyxy, torch.rand(len(scenes), 1, 4)], dim=1),
        kind=torch.cat([batch.kind, extra], dim=1),
        side=torch.cat([batch.side, torch.full_like(extra, NO_SIDE)], dim=1),
        ignored=torch.cat([batch.ignored, torch.ones_like(extra, dtype=torch.bool)], dim=1),
    )
    before, after = (detection_terms(CentreMaps(8), network, output, b) for b in (batch, padded))
    torch.testing.assert_close(before, after)


def test_batches_are_functions_of_their_number():
    stream = SceneStream(SceneComposer(SceneDistribution(), [coin()], []), batch_size=2, seed=3)
    first, again, other = stream.batch(4), stream.batch(4), stream.batch(10)
    assert torch.equal(first.rgb, again.rgb)
    assert torch.equal(first.boxes_xyxy, again.boxes_xyxy)
    assert first.rgb.shape == other.rgb.shape
    assert not torch.equal(first.rgb, other.rgb)
    assert {stream.batch(n).rgb.shape[-2:] for n in range(6)} == set(stream.shapes_px)
