import pytest
import torch

from networks.tiny_style import TINY
from posebridge.networks.vgg import VggConfig
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from posebridge.training.style import AdaINStyle, FourierStyle, StyleTraining
from training.dots import ONE_CPU, context, crash, disturb, dots, finished

pytestmark = pytest.mark.usefixtures("one_thread")
STYLE = AdaINStyle(
    encoder=VggConfig(widths=(4, 6, 8), depths=(1, 1, 1), pretrained="none"),
    network=TINY,
    schedule=Schedule(steps=6, learning_rate=1e-3, decay="none"),
    batch_size=2,
)
CONTENT, LOOK = dots(6, seed=1).rgb, dots(6, seed=2, ground=0.4).rgb


def style_stage() -> StyleTraining:
    torch.manual_seed(0)
    return StyleTraining(STYLE, context())


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("restyler", [FourierStyle().restyler(), style_stage().restyler()])
def test_transfers_are_images_and_depend_on_the_generator(restyler):
    content = CONTENT.clone()
    restyled = restyler(content, LOOK, drawn(0))
    assert restyled.shape == CONTENT.shape
    assert ((restyled >= 0) & (restyled <= 1)).all()
    assert torch.equal(content, CONTENT)
    assert torch.equal(restyler(content, LOOK, drawn(0)), restyled)
    assert not torch.equal(restyler(content, LOOK, drawn(1)), restyled)
    assert not restyled.requires_grad


def test_fourier_style_blends_colours_by_random_fractions():
    restyled = FourierStyle().restyler()(CONTENT, LOOK, drawn(0))
    share = (restyled.mean((1, 2, 3)) - CONTENT.mean((1, 2, 3))) / (LOOK.mean((1, 2, 3)) - CONTENT.mean((1, 2, 3)))
    assert ((share > 0) & (share < 1.05)).all()
    assert share.std() > 0.05
    dim = 0.4 * CONTENT  # so that no value is clipped
    plain = FourierStyle(beta=0.0, colour=False).restyler()(dim, LOOK, drawn(0))
    shift = (plain - dim).flatten(2)
    assert shift.mean() > 0.05
    assert shift.std(-1).max() < 1e-5  # the lowest frequency is the mean


def test_only_the_decoder_trains_and_resumes_exactly(tmp_path):
    stage = style_stage()
    encoder = {name: value.clone() for name, value in stage.transfer.encoder.state_dict().items()}
    decoder = {name: value.clone() for name, value in stage.transfer.decoder.state_dict().items()}
    _, files = finished(tmp_path / "whole", stage)
    assert all(torch.equal(value, encoder[name]) for name, value in stage.transfer.encoder.state_dict().items())
    assert not any(torch.equal(value, decoder[name]) for name, value in stage.transfer.decoder.state_dict().items())

    broken = style_stage()
    disturb(broken, {3: crash})
    with pytest.raises(RuntimeError):
        Run(tmp_path / "broken", ONE_CPU, checkpoint_seconds=0).train(1, broken)
    again = style_stage()
    begun = disturb(again, {})
    assert finished(tmp_path / "broken", again)[1] == files
    assert begun == [3, 4, 5]


def test_style_needs_a_target():
    with pytest.raises(ValueError, match="target"):
        StyleTraining(STYLE, context(target=None))
