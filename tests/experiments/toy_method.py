"""A toy method: supervised training on the source, and the same heat maps for clean and noisy target images."""

import copy
from dataclasses import dataclass, field

import numpy as np
import torch

from posebridge.contracts.section import GroupChart, Number, Picture, PictureRow, PoseOverlay, Section
from posebridge.data.augment import GeometryConfig
from posebridge.methods.base import Evidence, Method, MethodConfig, Stages
from posebridge.methods.registry import MethodEntry
from posebridge.networks.pose_network import HeatmapNetwork, network_as
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import augmented
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.supervision import supervised_terms


@dataclass(frozen=True)
class ToyConfig(MethodConfig):
    """Training with a consistency term."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=4, learning_rate=1e-3))
    batch_size: int = 4
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    noise: float = 0.1  # standard deviation, of colours in [0, 1]


class Consistency(PoseStage):
    """Labels of the source, and stable heat maps on the target."""

    name = "consistency"

    def __init__(self, config: ToyConfig, context: Context, network: HeatmapNetwork):
        frames = {"source": context.source, "target": context.target_frames}
        streams = {name: own.batches(config.batch_size) for name, own in frames.items()}
        weights = {"heat": 1.0, "depth": 0.1, "consistency": 1.0}
        super().__init__(config.schedule, streams, weights, **context.stage_options(9))
        self.config, self.network, self.skeleton = config, network.train(), context.skeleton

    def terms(self, batches, generator: torch.Generator) -> Terms:
        view = augmented(batches["source"], self.config, generator, self.skeleton.mirror)
        terms = supervised_terms(self.network.maps, self.predict_maps(self.network, view.rgb), view, self.skeleton)
        clean = batches["target"].rgb
        noisy = clean + self.config.noise * torch.randn(clean.shape, generator=generator)
        change = self.predict_maps(self.network, noisy)[0] - self.predict_maps(self.network, clean)[0].detach()
        return {**terms, "consistency": change.square().mean()}

    def result(self) -> HeatmapNetwork:
        return self.network


class Toy(Method[ToyConfig]):
    """One stage after the source model."""

    def stages(self, context: Context) -> Stages:
        network = copy.deepcopy(network_as(context.trained_network, HeatmapNetwork))
        yield Consistency(self.config, context, network), context.selection

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        joints, batch = evidence.context.skeleton.joints, evidence.context.target_frames.batches(1).batch(0)
        before, after = (evidence.predictions[role].keypoints.uv_px for role in ("source_only", "adapted"))
        moved_px = np.linalg.norm(after - before, axis=-1)
        chart = GroupChart("Change by joint", "px", joints, {"mean": tuple(moved_px.mean(0).tolist())})
        uv_px = evidence.stages[-1].result().eval().predict(batch.rgb).uv_px[0].numpy(force=True)
        image = (255 * batch.rgb[0]).byte().permute(1, 2, 0).numpy()
        rows = (PictureRow(batch.key[0], (Picture(image, "a target frame", (PoseOverlay("predicted", uv_px),)),)),)
        number = Number("mean change", float(moved_px.mean()), "px")
        return (Section("Toy consistency", numbers=(number,), group_charts=(chart,), picture_rows=rows),)


ENTRY = MethodEntry("toy-consistency", "Toy", "", "a toy", f"{__name__}:ToyConfig", f"{__name__}:Toy", ("colour",))
