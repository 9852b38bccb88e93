"""The commands that render and train: ``demo``, ``render``, ``adapt`` and ``resume``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posebridge.cli.depth import DepthOptions, refuse_flags
from posebridge.cli.train import absolute_weights, run_and_report, run_depth_and_report, tell_files
from posebridge.errors import InputError
from posebridge.training.options import Hardware

Hands = Annotated[Hardware, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class DemoCommand:
    """See the whole story in about ten minutes on two CPU cores.

    Renders labelled hands in a studio and unlabelled hands in the street, trains on the first, adapts to the second,
    scores on street images never seen, and writes a report. The last line is JSON with the numbers.
    """

    out: Path = Path("runs/demo")
    """Folder of the run; a demo that was stopped there goes on."""

    seed: int = 0
    """Another seed gives another draw of everything."""

    hardware: Hands = field(default_factory=Hardware)

    def run(self) -> None:
        """Run the demo."""
        from posebridge.recipes.demo import DemoConfig, run_demo

        print(run_demo(DemoConfig(self.seed), self.out, self.hardware))


@dataclass(frozen=True)
class RenderCommand:
    """Render a labelled set into webdataset shards: images, depth, masks, joints, cameras, poses.

    Go on with one that was stopped, mend one that was damaged, or add to one (with a larger --count) by the same
    command. The same command always gives the same bytes, whoever does the work.
    """

    domain: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DOMAIN")]
    """Look of the set: studio, street or varied; of depth also bare, the street without clutter."""

    count: int
    """Images that the set shall have."""

    out: Path
    """Folder of the set."""

    track: Literal["hand-rgb", "body-rgb", "hand-depth"] = "hand-rgb"
    """What is seen, and by which sensor."""

    size_px: int = 128
    """Side of the square images."""

    seed: int = 0
    """Another seed gives other images of the same look."""

    frames: int | None = None
    """Render videos of this many frames each, of one moving subject. Without it: each image is of another one."""

    shard_size: int = 1024
    """Images of a shard, rounded up to whole chunks of 32 scenes."""

    format: Literal["png", "jpg"] = "png"
    """png keeps every bit of the 8-bit image; jpg takes a quarter of the space."""

    quality: int = 95
    """Of jpg, 1 to 100."""

    depth_unit_mm: float | None = None
    """What one step of the 16-bit depth images stands for: 0.1 for hands, 0.2 for people, where nothing is given.
    The reach is 65535 such steps, 6.55 m for hands."""

    mano: Path | None = None
    """Of track hand-depth: MANO_RIGHT.pkl, or an .npz of its arrays, to show MANO's hands instead of Anny's."""

    workers: int = 1
    """Processes of this machine that share the work, one thread each; 1 is this one alone."""

    ray: str | None = None
    """Address of a Ray cluster that does the work: auto on one of its machines, or host:port."""

    def run(self) -> None:
        """Render, and say what there is."""
        from posebridge.data.sample_codec import ImageCoding
        from posebridge.distribute import Workers
        from posebridge.recipes.render import DEPTH_UNIT_MM, RenderConfig, render_set

        unit_mm = DEPTH_UNIT_MM[self.track] if self.depth_unit_mm is None else self.depth_unit_mm
        coding = ImageCoding(self.format, self.quality, unit_mm)
        what = (self.domain, self.count, self.track, self.size_px, self.seed, self.frames)
        mano = self.mano and self.mano.absolute()
        config = RenderConfig(*what, self.shard_size, coding, mano)
        print(render_set(config, self.out, Workers(self.workers, self.ray)))


@dataclass(frozen=True)
class AdaptCommand:
    """From rendered hands or people to your own images or video, without a label of yours.

    Trains a source model on renders (or takes one with --source), adapts it to the target, predicts the target's
    frames, and writes model, predictions and report into the run's folder.
    """

    method: Annotated[
        tyro.conf.Positional[
            Literal[
                "mean-teacher",
                "integrated-pseudo-labels",
                "geometric-reconstruction",
                "multi-view-fusion",
                "source-only",
            ]
        ],
        tyro.conf.arg(metavar="METHOD"),
    ]
    """mean-teacher, integrated-pseudo-labels, or geometric-reconstruction, which redraws frames of a video from one
    another; multi-view-fusion for depth; or source-only, which stops before adapting, to compare with."""

    target: Path
    """An image, a folder of images, a video, or a folder of videos. For multi-view-fusion, depth: a folder of 16-bit
    pictures, an .npz with depth_m and K, or a folder with cameras.json and a folder of pictures a camera."""

    out: Path
    """Folder of the run."""

    subject: Literal["hand", "body"] = "hand"
    """What is seen in each frame: one hand, or one person."""

    hand: Literal["left", "right", "annotated"] | None = None
    """Which hand is seen; annotated takes it from the file of boxes. Without it: right hands. Not for people."""

    boxes: Path | None = None
    """Where the subject is in each frame, .json or .csv. Without it the whole image is the crop, which suits hands that
    fill it; people need boxes unless they fill the frame."""

    padding: float = 1.0
    """Side of the crop over the larger side of the box."""

    every: int = 1
    """Of videos, use every n-th frame. Frames keep their numbers, by which --stride counts."""

    sequence_by: Literal["folder", "name"] = "folder"
    """What makes images a sequence, for pairs: their folder, or, as in walk_0012, the name before their number."""

    stride: tuple[int, int] = (5, 15)
    """Smallest and largest distance of the two frames of a pair, by the frames' numbers: with --every 5, the default
    pairs frames that are 5, 10 or 15 apart. For geometric-reconstruction."""

    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy in pixels of the files, for poses in metres; pictures of depth need it."""

    depth: Annotated[DepthOptions, tyro.conf.arg(name="")] = field(default_factory=DepthOptions)

    translate: bool = False
    """Of depth: give renders the target's look first, by a CycleGAN that is trained on both."""

    stacks: Literal[1, 2] = 1
    """Of depth: networks of single views, the second of which sees what the first has found; takes longer."""

    source: Path | None = None
    """A trained model (a run or its folder) to start from, instead of training one."""

    domain: str = "varied"
    """Look of the rendered source: varied, studio or street; of depth also bare."""

    size: Literal["small", "full"] = "small"
    """small is made for CPUs (96 px; depth 64 px), full for a GPU (256 px; depth 128 px)."""

    truth: Path | None = None
    """Labels of the target (.npz as for posebridge score), for measuring only; nothing is chosen by them."""

    seed: int = 0
    """Seed of everything that is drawn."""

    encoder_weights: str | None = None
    """Where the encoder of a source model that is trained here starts: timm (downloads ImageNet weights), a file, or
    none. Without it: none."""

    vgg_weights: str | None = None
    """Of the VGG-19 that style and redrawing need in size full: timm (downloads), a file, or none, which does without
    (Fourier style, the pose network's own features). Without it: timm."""

    hardware: Hands = field(default_factory=Hardware)

    def run(self) -> None:
        """Adapt and report."""
        if self.method == "multi-view-fusion":
            self._adapt_depth()
            return
        self.depth.refuse("multi-view-fusion")
        refuse_flags(self, ("translate", "stacks"), "it is for depth, which multi-view-fusion reads")
        from posebridge.data.target import TargetConfig
        from posebridge.recipes.adapt import AdaptConfig, run_adapt
        from posebridge.report.page import write_report

        # Absolute, so that the run can be resumed from anywhere.
        boxes, source, truth = (path and path.absolute() for path in (self.boxes, self.source, self.truth))
        target = TargetConfig(
            self.target.absolute(),
            boxes,
            self.hand,
            padding=self.padding,
            every=self.every,
            sequence_by=self.sequence_by,
            intrinsics_px=self.intrinsics,
        )
        what = (self.domain, self.size, truth, self.seed, self.subject, self.stride)
        weights = (absolute_weights(self.encoder_weights), absolute_weights(self.vgg_weights))
        config = AdaptConfig(self.method, target, source, *what, *weights)
        record = run_adapt(config, self.out, self.hardware)
        write_report(record, self.out / "report.html")
        tell_files(self.out)

    def _adapt_depth(self) -> None:
        from posebridge.recipes.adapt_depth import AdaptDepthConfig, run_adapt_depth
        from posebridge.report.page import write_report

        colour = ("boxes", "padding", "every", "sequence_by", "stride", "encoder_weights", "vgg_weights")
        refuse_flags(self, (*colour, "subject"), "multi-view-fusion reads depth of one hand")
        source, truth = (path and path.absolute() for path in (self.source, self.truth))
        target = self.depth.target(self.target, self.intrinsics, self.hand)
        how = (self.domain, self.size, truth, self.seed, self.depth.mano_file, self.translate, self.stacks)
        config = AdaptDepthConfig(target, source, *how)
        write_report(run_adapt_depth(config, self.out, self.hardware), self.out / "report.html")
        tell_depth(self.out)


@dataclass(frozen=True)
class ResumeCommand:
    """Go on with a run that was stopped, exactly where it stood."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    hardware: Hands = field(default_factory=Hardware)

    def run(self) -> None:
        """Read the run's config and run it again; finished stages are loaded."""
        from posebridge.recipes.adapt import AdaptConfig, run_adapt
        from posebridge.recipes.adapt_depth import AdaptDepthConfig, run_adapt_depth
        from posebridge.recipes.demo import DemoConfig, run_demo
        from posebridge.recipes.depth_transfers import DepthTransferConfig
        from posebridge.recipes.synthshift import SynthShiftConfig, run_synthshift
        from posebridge.recipes.transfer import TransferConfig
        from posebridge.report.page import write_report
        from posebridge.training.config_file import load_config

        if not self.run_folder.is_dir():
            raise InputError(f"{self.run_folder} is not a folder: give the folder of a run")
        kinds = {
            "demo": SynthShiftConfig,
            "adapt": AdaptConfig,
            "adapt-depth": AdaptDepthConfig,
            "synthshift": SynthShiftConfig,
            "train": TransferConfig,
            "depth-transfer": DepthTransferConfig,
        }
        kind, config = load_config(self.run_folder / "config.yaml", kinds)
        if kind == "demo":
            print(run_demo(DemoConfig(config.seed), self.run_folder, self.hardware))
        elif isinstance(config, AdaptConfig):
            write_report(run_adapt(config, self.run_folder, self.hardware), self.run_folder / "report.html")
            tell_files(self.run_folder)
        elif isinstance(config, AdaptDepthConfig):
            write_report(run_adapt_depth(config, self.run_folder, self.hardware), self.run_folder / "report.html")
            tell_depth(self.run_folder)
        elif isinstance(config, DepthTransferConfig):
            run_depth_and_report(config, self.run_folder, self.hardware)
        elif isinstance(config, TransferConfig):
            run_and_report(config, self.run_folder, self.hardware)
        else:
            print(json.dumps(run_synthshift(config, self.run_folder, self.hardware).row()))


def tell_depth(folder: Path) -> None:
    """Say what a run on depth has left."""
    tell_files(folder)
    print(f"Meshes: {folder / 'meshes.npz'}")
