"""Models with latent spaces as files: predictions and ONNX of pose models, and what ``synthesise`` writes."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from posebridge.cli.main import main
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.crop_predictor import load_crop_predictor
from posebridge.deployment.latent_walks import combine_latents, walk
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import IMAGE_SYNTHESIS, LATENT_POSE
from posebridge.deployment.model_spec import ImageSynthesisSpec, LatentPoseSpec
from posebridge.deployment.synthesise_config import SynthesiseConfig
from posebridge.errors import InputError
from posebridge.networks.image_synthesis import ImageSynthesisConfig
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.latent_pose import LatentPoseConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 32
ENCODER = ImageEncoderConfig("test_resnet", hidden=16)
POSE_SPEC = LatentPoseSpec(
    network=LatentPoseConfig(latent=4, hidden=(8,), encoder=ENCODER), size_px=SIDE, reference_length_m=0.1
)
SYNTHESIS_SPEC = ImageSynthesisSpec(
    network=ImageSynthesisConfig(
        size_px=SIDE, pose_latent=3, content_latent=2, hidden=(8,), decoder_width=4, encoder=ENCODER
    ),
    reference_length_m=0.1,
)


def saved(folder, kind, spec):
    """A model with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = kind.build(spec)
    save_model(folder, spec, network)
    return network.eval()


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def crops(count: int = 3) -> ImageCrops:
    """Crops that were halved, and mirrored in every second case."""
    T = np.repeat(np.diag([0.5, 0.5, 1.0])[None], count, axis=0).astype(np.float32)
    T[1::2] = np.array([[-0.5, 0, SIDE - 1], [0, 0.5, 0], [0, 0, 1]])
    return ImageCrops(tuple(map(str, range(count))), pictures(count), T, None)


def test_predictions_are_the_decoded_poses(tmp_path):
    network = saved(tmp_path, LATENT_POSE, POSE_SPEC)
    assert load_model(tmp_path).spec == POSE_SPEC
    given = crops()
    with torch.no_grad():
        images = torch.from_numpy(given.pixels).permute(0, 3, 1, 2) / 255
        pose = network.decoder(network.encoder(images).mean).unflatten(1, (21, 3))
    pose = (pose - pose[:, :1]).numpy()
    pose[1::2, :, 0] *= -1  # of the unmirrored file
    found = load_crop_predictor(tmp_path, "cpu").predict_crops(given)
    np.testing.assert_allclose(found.xyz_mm, 100 * pose, atol=1e-3)


@pytest.mark.slow
def test_onnx_files_predict_the_same(tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx isn't installed")
    saved(tmp_path / "model", LATENT_POSE, POSE_SPEC)
    assert main(["export", str(tmp_path / "model"), "--out", str(tmp_path / "hand.onnx")]) == 0
    ours, theirs = (load_crop_predictor(tmp_path / name).predict_crops(crops(5)) for name in ("model", "hand.onnx"))
    np.testing.assert_allclose(theirs.uv_px, ours.uv_px, atol=2e-3)
    np.testing.assert_allclose(theirs.xyz_mm, ours.xyz_mm, atol=0.05)


def test_walks_are_grids_of_one_factor():
    network = IMAGE_SYNTHESIS.build(SYNTHESIS_SPEC).eval()
    first, last = torch.rand(2, 2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        poses, contents = network.pose_latents(first), network.content_latents(first)
        made = combine_latents(network, poses, contents)
        for row in range(2):
            for column in range(2):
                image, pose = network.synthesise(poses[[row]], contents[[column]])
                torch.testing.assert_close(made.image[row, column], image[0])
                torch.testing.assert_close(made.pose[row, column], pose[0])
    for factor, same in (("pose", False), ("content", True)):
        found = walk(network, first, last, factor, 4)
        torch.testing.assert_close(found.image[:, 0], torch.stack([made.image[0, 0], made.image[1, 1]]))
        moved = (found.pose[:, 0] - found.pose[:, -1]).abs().max().item()
        assert (moved < 1e-6) == same


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, picture in enumerate(pictures(3)):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


def test_files_of_the_command(tmp_path, inputs, capsys):
    """Sizes of grids, lengths of films, and a page that names no other resource."""
    saved(tmp_path / "model", IMAGE_SYNTHESIS, SYNTHESIS_SPEC)

    def write(kind: str, name: str, *flags: str):
        typed = ["synthesise", str(tmp_path / "model"), kind, "--images", str(inputs), "--steps", "5", *flags]
        assert main([*typed, "--out", str(tmp_path / name)]) == 0
        return tmp_path / name

    step = SIDE + 4
    assert Image.open(write("walk", "walk.png")).size == (7 * step + 4, 2 * step + 4)
    grid = np.array(Image.open(write("transfer", "transfer.png")))
    assert grid.shape == (4 * step + 4, 4 * step + 4, 3)
    for i, picture in enumerate(pictures(3)):
        at = 4 + (i + 1) * step
        np.testing.assert_array_equal(grid[4 : 4 + SIDE, at : at + SIDE], picture)
        np.testing.assert_array_equal(grid[at : at + SIDE, 4 : 4 + SIDE], picture)
    film = Image.open(write("walk", "walk.gif", "--factor", "content"))  # equal frames are stored once
    durations_ms = [film.seek(i) or film.info["duration"] for i in range(film.n_frames)]
    assert sum(durations_ms) == pytest.approx(10 * 125, abs=60)
    with av.open(str(write("walk", "walk.mp4"))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 10
    page = write("page", "page.html").read_text()
    assert 'id="pose" type="range" min="0" max="8"' in page
    assert page.count("/9j/") >= 81  # each JPEG file begins so in base64
    assert "http" not in page.replace("http-equiv", "")
    assert "images synthesised from 3 inputs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give either --images or --seeds"),
        ({"seeds": (1, 2), "kind": "page"}, "a page is written as .html"),
        ({"seeds": (1, 2), "steps": 1}, "--steps 1 is impossible: give 2 or more"),
    ],
)
def test_flags_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        SynthesiseConfig(**{"model": tmp_path, "kind": "walk", "out": tmp_path / "walk.png", **changes})


def test_one_input_and_other_models_are_refused(tmp_path, inputs, capsys):
    saved(tmp_path / "model", IMAGE_SYNTHESIS, SYNTHESIS_SPEC)
    saved(tmp_path / "pose", LATENT_POSE, POSE_SPEC)
    flags = ["walk", "--images", str(inputs / "0.png"), "--out", str(tmp_path / "walk.png")]
    assert main(["synthesise", str(tmp_path / "model"), *flags]) == 2
    assert "1 input gives nothing to combine" in capsys.readouterr().err
    assert main(["synthesise", str(tmp_path / "pose"), *flags]) == 2
    assert "one of kind image-synthesis is needed here" in capsys.readouterr().err
