"""What a run writes beside its stages: model, predictions, meshes, record, lists of skipped files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.contracts.record_file import save_record
from posebridge.contracts.run_layout import RunLayout
from posebridge.data.sequences import Sequences
from posebridge.deployment.mesh_files import save_meshes
from posebridge.deployment.mesh_set import MeshSet
from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_spec import ModelSpec
from posebridge.deployment.predict_files import list_skipped
from posebridge.report.page import write_report


@dataclass(frozen=True)
class RunOutputs:
    """Writes into the folder of a run. Each file is written atomically."""

    layout: RunLayout

    @classmethod
    def of(cls, folder: Path) -> "RunOutputs":
        """The outputs of the run in a folder."""
        return cls(RunLayout(folder))

    def save_model(self, spec: ModelSpec, network: nn.Module) -> None:
        """Write the model that ``predict`` loads."""
        save_model(self.layout.folder, spec, network)

    def save_predictions(self, keypoints: KeypointSet) -> None:
        """Write the keypoints of the target."""
        keypoints.save(self.layout.predictions)

    def save_meshes(self, meshes: MeshSet) -> None:
        """Write the meshes of the target."""
        save_meshes(meshes, self.layout.folder)

    def save_sequences(self, sequences: Sequences) -> None:
        """Write scene cuts and camera motion."""
        found = {"scene_cuts_before": sequences.cuts, "camera_motion": dict(sequences.motion)}
        write_atomically(self.layout.sequences, json_bytes(found))

    def save_skipped(self, used: int, skipped: Mapping[str, str], warnings: Mapping[str, str] | None = None) -> None:
        """Write the files that could not be used, and warnings of predictions by key; nothing without any of them."""
        if skipped or warnings:
            list_skipped(self.layout.folder, used, dict(skipped), dict(warnings or {}))

    def print_skipped(self, skipped: Mapping[str, str]) -> None:
        """Print where the files are listed that could not be used; nothing where there is none."""
        if skipped:
            print(f"{len(skipped)} files could not be used; they are listed in {self.layout.skipped}")

    def save_record(self, record: Record) -> None:
        """Write the record and the report made from it."""
        save_record(record, self.layout.folder)
        write_report(record, self.layout.report)
