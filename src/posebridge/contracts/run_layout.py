"""The files of a run's folder. Only this module has their names; ``Run`` writes them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunLayout:
    """Paths within the folder of a run."""

    folder: Path

    @property
    def config(self) -> Path:
        """Kind and config of the run."""
        return self.folder / "config.yaml"

    @property
    def recipe(self) -> Path:
        """The preset behind the config."""
        return self.folder / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Versions and machine."""
        return self.folder / "environment.json"

    @property
    def predictions(self) -> Path:
        """Keypoints of the target."""
        return self.folder / "predictions.npz"

    @property
    def meshes(self) -> Path:
        """Meshes of the target, of depth."""
        return self.folder / "meshes.npz"

    @property
    def model(self) -> Path:
        """Weights of the trained model, described by ``model.json`` beside them."""
        return self.folder / "model.safetensors"

    @property
    def sequences(self) -> Path:
        """Scene cuts and camera motion of the target."""
        return self.folder / "sequences.json"

    @property
    def skipped(self) -> Path:
        """Input files that could not be used, with reasons."""
        return self.folder / "skipped.json"

    @property
    def unreadable(self) -> Path:
        """Input files that could not be read while training, a line each."""
        return self.folder / "unreadable.jsonl"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    def outputs(self) -> dict[str, Path]:
        """What a finished run leaves for its user, by title: the files of these that there are."""
        files = {
            "Model": self.model,
            "Predictions": self.predictions,
            "Meshes": self.meshes,
            "Report": self.report,
        }
        return {title: file for title, file in files.items() if file.exists()}

    def stage(self, number: int, name: str) -> "StageLayout":
        """The files of stage ``number``, counted from 1."""
        return StageLayout(self.folder / "stages" / f"{number}-{name}")


@dataclass(frozen=True)
class StageLayout:
    """Paths within the folder of a stage."""

    folder: Path

    @property
    def result(self) -> Path:
        """The weights that the stage keeps."""
        return self.folder / "result.safetensors"

    def other_result(self, name: str) -> Path:
        """Weights of another trained module of a finished stage."""
        return self.folder / f"{name}.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The state of a stage that is still training."""
        return self.folder / "last.ckpt"

    @property
    def metrics(self) -> Path:
        """Loss terms over the steps."""
        return self.folder / "metrics.csv"

    @property
    def report(self) -> Path:
        """Candidates, chosen step and seconds; written when the stage is finished."""
        return self.folder / "stage.json"
