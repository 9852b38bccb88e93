"""Export of pose models to ONNX: a graph of crops, and one of whole frames with boxes."""

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from posebridge.cameras.crop import affine_map
from posebridge.cameras.pinhole import Camera
from posebridge.cameras.view_correction import from_view, view_axes
from posebridge.contracts.files import write_atomically
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import CROP_KINDS
from posebridge.deployment.model_spec import CropPoseSpec, skeleton_of
from posebridge.deployment.onnx_model import CROP_INPUTS, METADATA, OUTPUTS, OnnxDescription, OnnxModel
from posebridge.deployment.predictor import file_axes, file_pixels
from posebridge.deployment.shipped_models import ModelRef, model_path
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.networks.pose_network import PoseNetwork
from posebridge.representations.pose25d import lift, lift_weak_perspective

FRAME_INPUTS = ("frame", "box_xyxy", "mirror", "K")
_OPSET = 20  # the first with GridSample of linear mode
_TOLERANCE_PX = 1e-3  # largest difference of an exported graph from the model
_COMPARED = 8  # images
_MOST_SAMPLES = 256  # per side of a crop's pixel


class CropGraph(nn.Module):
    """What ``PosePredictor`` computes of crops, in tensors alone."""

    def __init__(self, spec: CropPoseSpec, network: PoseNetwork):
        super().__init__()
        self.spec = spec
        self.skeleton = skeleton_of(spec)
        self.network = network

    def forward(
        self, image: Float[Tensor, "B 3 S S"], T_crop_file: Float[Tensor, "B 3 3"], K: Float[Tensor, "B 3 3"]
    ) -> tuple[Tensor, ...]:
        """``uv_px`` (B, J, 2) in pixels of the files, ``confidence`` (B, J), and ``xyz_mm`` (B, J, 3).

        ``K`` of zeros is unknown: joints are then relative to the root. Without a reference length, ``xyz_mm`` is left
        out.
        """
        output = self.network.predict(image)
        uv_file = file_pixels(output.uv_px, T_crop_file)
        if output.joints_m is not None:
            return uv_file, output.confidence, 1000 * self._with_axes(output.joints_m, T_crop_file, K, image.shape[-1])
        length, depth = self.spec.reference_length_m, output.relative_depth
        if length is None or depth is None:
            return uv_file, output.confidence
        length_m = uv_file.new_full((uv_file.shape[0],), length)
        known = K[:, 0, 0] != 0
        in_camera = lift(output.uv_px, depth, _crop_camera(T_crop_file, K), self.skeleton, length_m)[0]
        relative = lift_weak_perspective(uv_file, depth, self.skeleton, length_m)[0]
        return uv_file, output.confidence, 1000 * torch.where(known[:, None, None], in_camera, relative)

    def _with_axes(
        self,
        joints_m: Float[Tensor, "B J 3"],
        T_crop_file: Float[Tensor, "B 3 3"],
        K: Float[Tensor, "B 3 3"],
        size: int,
    ) -> Float[Tensor, "B J 3"]:
        """Joints that the network predicts in metres, as ``PosePredictor`` returns them."""
        in_file = file_axes(joints_m, T_crop_file)
        if not self.network.view_corrected:
            return in_file
        in_camera = from_view(joints_m, view_axes(_crop_camera(T_crop_file, K), size, size))
        return torch.where((K[:, 0, 0] != 0)[:, None, None], in_camera, in_file)


def _crop_camera(T_crop_file: Float[Tensor, "B 3 3"], K: Float[Tensor, "B 3 3"]) -> Camera:
    """The camera of a crop. An unknown one is invertible, too, so that what is computed of it stays finite."""
    return Camera(torch.where((K[:, 0, 0] != 0)[:, None, None], T_crop_file @ K, torch.eye(3)))


class FrameGraph(nn.Module):
    """Crops around boxes of one frame, and what ``CropGraph`` computes of them."""

    def __init__(self, crops: CropGraph):
        super().__init__()
        self.crops = crops

    def forward(
        self,
        frame: UInt8[Tensor, "H W 3"],
        box_xyxy: Float[Tensor, "N 4"],
        mirror: Bool[Tensor, "N"],
        K: Float[Tensor, "3 3"],
    ) -> tuple[Tensor, ...]:
        """As ``CropGraph``, for N boxes in pixels of an upright RGB frame.

        ``mirror`` is true for left hands, which the network sees as right ones. ``K`` of zeros is unknown.
        """
        size = self.crops.spec.size_px
        centre = (box_xyxy[:, :2] + box_xyxy[:, 2:]) / 2
        side = (box_xyxy[:, 2:] - box_xyxy[:, :2]).amax(dim=1)
        scale = size / side
        scale = torch.stack([torch.where(mirror, -scale, scale), scale], dim=1)
        T_crop_file = affine_map(torch.diag_embed(scale), (size - 1) / 2 - scale * centre)
        crops = _sampled(frame, centre, 1 / scale, side, size)
        return self.crops(crops, T_crop_file, K.expand(box_xyxy.shape[0], 3, 3))


def _sampled(
    frame: UInt8[Tensor, "H W 3"],
    centre: Float[Tensor, "N 2"],
    step: Float[Tensor, "N 2"],
    side: Float[Tensor, "N"],
    size: int,
) -> Float[Tensor, "N 3 S S"]:
    """``warp_images`` of a crop map without rotation, whose number of samples depends on the boxes.

    ``step`` is the distance of two pixels of the crop, in pixels of the frame.
    """
    image = frame.permute(2, 0, 1)[None].float() / 255
    samples = ((side / size).max() - 1e-3).ceil().clamp(1, _MOST_SAMPLES).to(torch.int64)
    m = cast(int, samples.item())  # int() would fix it while exporting
    torch._check(m >= 1)
    torch._check(m <= _MOST_SAMPLES)
    along = (torch.arange(size * m) + 0.5) / m - 0.5 - (size - 1) / 2
    at = centre[:, :, None] + along * step[:, :, None]  # N 2 (S m)
    extent = torch.tensor([image.shape[3], image.shape[2]])[:, None]
    u, v = ((2 * at + 1) / extent - 1).unbind(1)
    grid = torch.stack([u[:, None, :].expand(-1, size * m, -1), v[:, :, None].expand(-1, -1, size * m)], dim=-1)
    fine = F.grid_sample(image.expand(centre.shape[0], -1, -1, -1), grid, align_corners=False)
    return fine.reshape(-1, 3, size, m, size, m).mean(dim=(3, 5))


def export_crops(spec: CropPoseSpec, network: PoseNetwork, path: Path) -> OnnxModel:
    """Write the graph of crops, with a dynamic number of them, and load it.

    Raises ``InputError`` for a model of depth, without the packages of the extra ``onnx``, and where the folder or the
    disk refuses.
    """
    graph, batch = CropGraph(spec, network).eval(), torch.export.Dim("batch", min=1, max=65_536)
    images = torch.zeros(2, 3, spec.size_px, spec.size_px)
    maps = torch.eye(3).expand(2, 3, 3).clone()
    _export(spec, graph, (images, maps, maps.clone()), CROP_INPUTS, {name: {0: batch} for name in CROP_INPUTS}, path)
    return OnnxModel.load(path)


def export_frames(spec: CropPoseSpec, network: PoseNetwork, path: Path) -> None:
    """Write the graph of whole frames of any size with any number of boxes. Raises as ``export_crops`` does."""
    height, width = (torch.export.Dim(name, min=2, max=32_766) for name in ("height", "width"))
    boxes = torch.export.Dim("boxes", min=1, max=65_536)
    graph = FrameGraph(CropGraph(spec, network)).eval()
    example = (
        torch.zeros(48, 64, 3, dtype=torch.uint8),
        torch.tensor([[3.0, 4.0, 30.0, 40.0], [20.0, 1.0, 50.0, 40.0]]),
        torch.tensor([False, True]),
        torch.eye(3),
    )
    shapes = {"frame": {0: height, 1: width}, "box_xyxy": {0: boxes}, "mirror": {0: boxes}, "K": None}
    _export(spec, graph, example, FRAME_INPUTS, shapes, path)


def _export(
    spec: CropPoseSpec, graph: nn.Module, example: tuple[Tensor, ...], names: Sequence[str], shapes: Any, path: Path
) -> None:
    if spec.cube_m is not None:
        raise InputError("models of depth are not exported: choose a model of colour images")
    try:
        import onnxscript  # noqa: F401  # which torch's exporter needs
    except ImportError:
        raise InputError("an export needs onnx and onnxscript: pip install 'posebridge[onnx]'") from None
    in_mm = spec.reference_length_m is not None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=names,
            output_names=OUTPUTS[: 3 if in_mm else 2],
            opset_version=_OPSET,
        )
    assert program is not None
    model = program.model_proto
    skeleton = skeleton_of(spec)
    described = OnnxDescription(
        spec.skeleton, skeleton.joints, spec.size_px, in_mm, least_confidence=spec.least_confidence
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, described.to_json()
    write_atomically(path, model.SerializeToString())


@dataclass(frozen=True)
class Exported:
    """The files of an export, and the largest differences of keypoints between ONNX Runtime and PyTorch."""

    files: tuple[Path, ...]
    difference_px: float
    difference_mm: float | None

    def __str__(self) -> str:
        space = "" if self.difference_mm is None else f" and {self.difference_mm:.1e} mm"
        found = f"largest difference from PyTorch on test images: {self.difference_px:.1e} px{space}"
        return "\n".join([*(f"ONNX: {file}" for file in self.files), found])


def export_model(model: ModelRef, out: Path, frames: Path | None = None) -> Exported:
    """Export a model file, compare the graph of crops with the model, and remove it where they differ.

    Raises ``InputError`` for a bad model and as ``export_crops`` does, and where joints differ by a thousandth of a
    pixel.
    """
    for file in (out, frames):
        if file is not None and file.suffix != ".onnx":
            raise InputError(f"{file} is no name of an ONNX file: end it with .onnx")
    loaded = load_model(model_path(model), *CROP_KINDS)
    exported = export_crops(loaded.spec, loaded.network, out)
    difference_px, difference_mm = _differences(CropGraph(loaded.spec, loaded.network), exported)
    if difference_px > _TOLERANCE_PX:
        out.unlink()
        raise InputError(f"{out} is removed: its joints differ by {difference_px:.1e} px from those of {model}")
    if frames is not None:
        export_frames(loaded.spec, loaded.network, frames)
    return Exported((out, *([] if frames is None else [frames])), difference_px, difference_mm)


@torch.inference_mode()
def _differences(graph: CropGraph, exported: OnnxModel) -> tuple[float, float | None]:
    """Of smooth random images, of which half have a camera, in pixels of the crop and millimetres."""
    size, generator = graph.spec.size_px, generator_for(0, 0)
    coarse = torch.rand(_COMPARED, 3, 8, 8, generator=generator)
    images = (255 * F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)).round().to(torch.uint8)
    maps = torch.eye(3).repeat(_COMPARED, 1, 1)
    K = torch.tensor([[1.5 * size, 0, size / 2], [0, 1.5 * size, size / 2], [0, 0, 1.0]]).repeat(_COMPARED, 1, 1)
    K[::2] = 0
    ours = graph(images.float() / 255, maps, K)
    keys = tuple(str(i) for i in range(_COMPARED))
    crops = ImageCrops(keys, images.permute(0, 2, 3, 1).numpy(), maps.numpy(), K.numpy())
    found = exported.predict_crops(crops)
    assert found.uv_px is not None
    difference_px = abs(ours[0].numpy() - found.uv_px).max()
    difference_mm = None if found.xyz_mm is None else float(abs(ours[2].numpy() - found.xyz_mm).max())
    return float(difference_px), difference_mm
