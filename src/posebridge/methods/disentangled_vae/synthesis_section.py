"""Sections of the report of image synthesis: latent walks, pose transfer, and how well the factors are separated."""

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.section import Number, Picture, PictureRow, PoseOverlay, Section
from posebridge.deployment.latent_walks import SynthesisedImages, transfer, walk
from posebridge.methods.disentangled_vae.disentanglement import measure_disentanglement
from posebridge.networks.image_synthesis import ImageSynthesisNetwork
from posebridge.networks.latent_pose import pose_output
from posebridge.training.pictures import as_picture

_STEPS, _WALKS, _TRANSFERRED = 7, 3, 4


@torch.inference_mode()
def synthesis_sections(network: ImageSynthesisNetwork, images: Float[Tensor, "N 3 S S"]) -> tuple[Section, ...]:
    """From unlabelled images, an even number of them; ``network`` is in evaluation mode."""
    first, last = images[:_WALKS], images[len(images) // 2 :][:_WALKS]
    pose = walk(network, first, last, "pose", _STEPS)
    content = walk(network, first, last, "content", _STEPS)
    numbers = _numbers(network, images)
    rows = []
    for i in range(len(first)):
        rows.append(_row(network, f"pose walk {i + 1}", first[i], last[i], pose, i))
        rows.append(_row(network, f"content walk {i + 1}", first[i], last[i], content, i))
    walks = Section(
        "Latent walks",
        "Outer pictures are the two ends. A pose walk keeps the content of the left one, a content walk its pose. "
        "Skeletons are decoded from the latent pose; their place within the picture is not part of it.\n\n"
        "Numbers compare the ends of walks: the encoders read pose and content from the synthesised images.",
        numbers=numbers,
        picture_rows=tuple(rows),
    )
    return walks, _transfer_section(network, images)


def _numbers(network: ImageSynthesisNetwork, images: Float[Tensor, "N 3 S S"]) -> tuple[Number, ...]:
    found = measure_disentanglement(network, images)
    note = "0 is perfect"
    return (
        Number("pose moved by content walks, over pose walks", found.pose_leak, digits=3, note=note),
        Number("content moved by pose walks, over content walks", found.content_leak, digits=3, note=note),
        Number("pose moved by pose walks", found.pose_in_pose_walks, "reference bones", digits=3),
        Number("content moved by content walks", found.content_in_content_walks, "latent units", digits=3),
    )


def _row(
    network: ImageSynthesisNetwork, name: str, first: Tensor, last: Tensor, walks: SynthesisedImages, i: int
) -> PictureRow:
    size = walks.image.shape[-1]
    uv_px = pose_output(walks.pose[i], network.root, None, size).uv_px.cpu().numpy()
    steps = tuple(
        Picture(as_picture(image), f"step {step + 1}", (PoseOverlay("predicted", uv_px[step]),))
        for step, image in enumerate(walks.image[i])
    )
    plain = tuple(Picture(as_picture(image), f"step {step + 1}") for step, image in enumerate(walks.image[i]))
    shown = steps if name.startswith("pose") else plain
    return PictureRow(name, (Picture(as_picture(first), "first"), *shown, Picture(as_picture(last), "last")))


def _transfer_section(network: ImageSynthesisNetwork, images: Float[Tensor, "N 3 S S"]) -> Section:
    count = min(_TRANSFERRED, len(images) // 2)
    poses, contents = images[:count], images[len(images) // 2 :][:count]
    made = transfer(network, poses, contents).image
    head = PictureRow(
        "contents", tuple(Picture(as_picture(image), f"content {i + 1}") for i, image in enumerate(contents))
    )
    rows = tuple(
        PictureRow(
            f"pose {i + 1}",
            (
                Picture(as_picture(poses[i]), f"pose {i + 1}"),
                *(Picture(as_picture(image), f"content {j + 1}") for j, image in enumerate(made[i])),
            ),
        )
        for i in range(count)
    )
    text = "Poses of the images on the left in the contents of the images in the first row."
    return Section("Pose transfer", text, picture_rows=(head, *rows))
