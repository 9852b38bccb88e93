"""The ``posebridge`` command: parse, choose, call one function.

A command is a frozen dataclass whose fields are its flags and whose ``run`` does the work; ``COMMANDS`` lists them.
Heavy libraries are imported inside ``run``, so that help appears at once and ``report`` never loads torch.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

import tyro

from posebridge.cli.depth import DepthOptions, refuse_flags
from posebridge.cli.runs import AdaptCommand, DemoCommand, RenderCommand, ResumeCommand
from posebridge.cli.train import TrainCommand
from posebridge.errors import InputError
from posebridge.evaluation.protocols import ScoreOptions

INPUT_ERROR, INTERRUPTED = 2, 130


class Command(Protocol):
    """What every command can do."""

    def run(self) -> None:
        """Do the work; raise ``InputError`` for bad input."""
        ...


@dataclass(frozen=True)
class ScoreCommand:
    """Compare predicted joints with the truth, ours or anyone's.

    Both files are .npz with key (N,) and uv_px (N,J,2), xyz_mm (N,J,3) or uvd (N,J,3); joint_names (J,) where
    the orders may differ. Frames are matched by key, joints by name.
    """

    predictions: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PREDICTIONS")]
    """The predictions, such as predictions.npz."""

    truth: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TRUTH")]
    """The labels, such as labels.npz."""

    options: Annotated[ScoreOptions, tyro.conf.arg(name="")] = field(default_factory=ScoreOptions)

    json: bool = False
    """Print one JSON object and nothing else."""

    def run(self) -> None:
        """Score and print."""
        from posebridge.evaluation.score import score_files
        from posebridge.evaluation.score_table import score_table

        scores = score_files(self.predictions, self.truth, self.options)
        print(json.dumps(scores.to_json()) if self.json else score_table(scores))


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run: one HTML page that needs nothing else."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run; its record.json is read."""

    out: Path | None = None
    """Where the page goes. Without it: report.html in the run's folder."""

    def run(self) -> None:
        """Read the record, write the page."""
        from posebridge.contracts.record_file import load_record
        from posebridge.report.page import write_report

        out = self.out or self.run_folder / "report.html"
        write_report(load_record(self.run_folder), out)
        print(out)


@dataclass(frozen=True)
class PredictCommand:
    """Find the joints in images or videos, in pixels of the files as they lie on disk; of depth, the mesh too.

    Writes predictions.npz (key, joint_names, uv_px, xyz_mm, confidence), the skeletons drawn over the frames, and
    skipped.json, the list of what could not be read. An earlier outcome in the same folder is replaced.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """A run's folder, or a model's."""

    input: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="INPUT")]
    """An image, a video, or a folder of either. For a model of depth: a folder of 16-bit pictures, an .npz with depth_m
    and K, or a folder with cameras.json and a folder of pictures a camera."""

    out: Path
    """Folder for the outcome."""

    hand: Literal["left", "right", "annotated"] | None = None
    """Which hand the frames show; annotated: as the file of boxes tells. Without it: as the boxes tell, else right."""

    boxes: Path | None = None
    """Where the subject is: .json {key: [x0, y0, x1, y1]}, or .csv with key,x0,y0,x1,y1 and perhaps hand. Without it
    the whole frame is looked at."""

    padding: float = 1.0
    """Side of the square that is looked at, over the box's larger side."""

    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy in pixels of the files: joints in space then come out in the camera's frame, not relative to the
    root. Pictures of depth need it."""

    depth: Annotated[DepthOptions, tyro.conf.arg(name="")] = field(default_factory=DepthOptions)

    follow: bool = False
    """Of depth: the frames are a stream of one camera, and the hand is looked for where it was in the frame before."""

    meshes: Literal["npz", "ply", "none"] = "npz"
    """Of depth: meshes.npz, or meshes/KEY.ply a frame for any 3D viewer."""

    view_3d: bool = False
    """Of depth: hands.rrd besides, with what was measured, mesh and joints in space over time. Needs the extra
    posebridge[view]; rerun hands.rrd plays it."""

    fit_steps: int = 0
    """Of depth: move each hand for so many steps towards what was measured in all views of its moment. 40 make hands
    more exact and take half a second a frame on two CPU cores. 0: hands are as the network tells them."""

    every: int = 1
    """Of videos, each n-th frame only."""

    overlays: int | None = None
    """Draw this many frames at most, of each video where there are several; 0 draws none. Without it: all."""

    batch_size: int = 16
    """Frames that go through the network together."""

    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, ...; with workers or Ray, auto is the CPU."""

    workers: int = 1
    """Processes of this machine that share the work, one thread each; 1 is this one alone."""

    ray: str | None = None
    """Address of a Ray cluster that does the work: auto on one of its machines, or host:port."""

    def run(self) -> None:
        """Predict, and say what was written and what was skipped."""
        from posebridge.deployment.model_file import kind_of_model
        from posebridge.deployment.model_kinds import DEPTH_HAND

        if kind_of_model(self.model) is DEPTH_HAND:
            self._predict_depth()
            return
        self.depth.refuse("a model of multi-view-fusion")
        refuse_flags(
            self,
            ("follow", "meshes", "view_3d", "fit_steps"),
            "it is for models of multi-view-fusion, and this one reads colour",
        )
        from posebridge.data.target import TargetConfig
        from posebridge.deployment.predict_files import PredictConfig, predict_files
        from posebridge.distribute import Workers

        target = TargetConfig(
            path=self.input,
            boxes=self.boxes,
            hand=self.hand,
            padding=self.padding,
            every=self.every,
            intrinsics_px=self.intrinsics,
        )
        workers = Workers(self.workers, self.ray)
        config = PredictConfig(self.model, target, self.out, self.overlays, self.batch_size, self.device, workers)
        print(predict_files(config))

    def _predict_depth(self) -> None:
        from posebridge.deployment.predict_depth import PredictDepthConfig, predict_depth_files
        from posebridge.fitting.hand_fitting import HandFittingConfig

        refuse_flags(self, ("boxes", "padding", "every", "workers", "ray"), "this model reads depth")
        target = self.depth.target(self.input, self.intrinsics, self.hand)
        how = (self.meshes, self.follow, self.overlays, self.batch_size, self.device)
        fitting = HandFittingConfig(self.fit_steps) if self.fit_steps else None
        what = (self.depth.mano_file, self.view_3d, fitting)
        print(predict_depth_files(PredictDepthConfig(self.model, target, self.out, *how, *what)))


@dataclass(frozen=True)
class DoctorCommand:
    """Say what this machine offers, and what to do about what is missing."""

    def run(self) -> None:
        """Print a line each; fail where something is broken that every run needs."""
        from posebridge.deployment.doctor import examine

        broken: list[str] = []
        for finding in examine():
            print(finding, flush=True)
            if finding.state == "broken":
                broken.append(finding.subject)
        if broken:
            raise InputError(f"broken: {', '.join(broken)}; the lines above say what to do")


COMMANDS: dict[str, type[Command]] = {
    "demo": DemoCommand,
    "render": RenderCommand,
    "adapt": AdaptCommand,
    "train": TrainCommand,
    "predict": PredictCommand,
    "score": ScoreCommand,
    "resume": ResumeCommand,
    "report": ReportCommand,
    "doctor": DoctorCommand,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for bad input (told in one line), or 130 after ctrl-c."""
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="posebridge",
            description="Train hand and body pose estimators without one label from the place where they will be used.",
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        command.run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return INPUT_ERROR
    except BrokenPipeError:  # the reader of our output has gone, as head does
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("stopped: what was finished is on disk", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
