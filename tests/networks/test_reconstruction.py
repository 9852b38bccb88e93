"""The generator: its gate, its sampling field and its inpainting."""

import pytest
import torch
from torch import Tensor, nn

from posebridge.geometry.displacement import identity_field
from posebridge.networks.reconstruction import Generator, GeneratorConfig, HeatmapGenerator, _ResidualBlock

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = GeneratorConfig(channels=4, most_channels=8, residual_blocks=2)


def generator(config: GeneratorConfig = TINY) -> Generator:
    torch.manual_seed(0)
    return Generator(config).eval()


def pictures(count: int = 2, height: int = 32, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def still(count: int = 2, height: int = 8, width: int = 6) -> Tensor:
    return identity_field(height, width, torch.zeros(())).repeat(count, 1, 1, 1)


def gate(value: float, count: int = 2, height: int = 8, width: int = 6) -> Tensor:
    return torch.full((count, 1, height, width), value)


@pytest.mark.parametrize(("height", "width", "stride"), [(32, 24, 4), (32, 32, 1), (16, 16, 2), (24, 16, 8)])
def test_output_has_the_size_of_the_base_image(height, width, stride):
    size = (2, height // stride, width // stride)
    found = generator()(pictures(2, height, width), still(*size), gate(0.5, *size))
    assert found.shape == (2, 3, height, width)
    assert ((found >= 0) & (found <= 1)).all()


def test_an_open_gate_and_the_identity_give_the_base_image():
    base = pictures()
    torch.testing.assert_close(generator()(base, still(), gate(1.0)), base, atol=1e-5, rtol=0)


def test_an_open_gate_and_a_shift_give_the_shifted_image():
    """(1, -2) pixels of the field are (4, -8) of the image."""
    base = pictures()
    found = generator()(base, still() + torch.tensor([1.0, -2.0]), gate(1.0))
    torch.testing.assert_close(found[:, :, 8:, :-4], base[:, :, :-8, 4:], atol=1e-5, rtol=0)
    # Beyond the border the last pixels are repeated.
    torch.testing.assert_close(found[:, :, 8:, -4:], base[:, :, :-8, -1:].expand(-1, -1, -1, 4), atol=1e-5, rtol=0)


def test_closed_gates_block_the_base_image():
    network = generator().train()
    base, field = pictures().requires_grad_(), (still() + 0.3).requires_grad_()
    found = network(base, field, gate(0.0))
    for value in torch.autograd.grad(found.square().sum(), (base, field)):
        assert not value.any()
    assert torch.equal(found, network(1 - base, field, gate(0.0)))
    assert found.std() > 0  # pixels are generated nevertheless


def test_gates_choose_between_warped_and_generated_pixels():
    base, half = pictures(), gate(1.0)
    half[..., 3:] = 0
    network = generator()
    found, other = network(base, still(), half), network(base.flip(0), still(), half)
    # The gate is interpolated between the centres of open and closed pixels.
    torch.testing.assert_close(found[..., :10], base[..., :10], atol=1e-5, rtol=0)
    assert (found[..., 14:] - base[..., 14:]).abs().mean() > 0.1
    assert (found - other)[..., 14:].abs().max() > 0  # generated pixels depend on their neighbourhood


def test_half_open_gates_blend():
    base = pictures()
    found = generator()(base, still(), gate(0.25))
    painted = (found - 0.25 * base) / 0.75
    assert ((painted > -1e-5) & (painted < 1 + 1e-5)).all()


@pytest.mark.parametrize("size", [(30, 24), (32, 21)])
def test_sizes_that_cannot_be_halved_twice_are_refused(size):
    with pytest.raises(ValueError, match="can't be halved 2 times"):
        generator()(pictures(2, *size), still(), gate(1.0))
    with pytest.raises(ValueError, match="can't be halved 2 times"):
        HeatmapGenerator(TINY, 3)(pictures(2, *size), torch.rand(2, 3, 8, 6), torch.rand(2, 3, 8, 6))


@pytest.mark.parametrize("level", ["image", "field", "gate"])
def test_gradients_reach_all_inputs(level):
    inputs = {"image": pictures(), "field": still() + 0.37, "gate": gate(0.5)}
    inputs[level].requires_grad_()
    generator().train()(*inputs.values()).square().sum().backward()
    gradient = inputs[level].grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.5


def test_every_weight_has_a_gradient():
    for network, arguments in (
        (Generator(TINY), (pictures(), still() + 0.37, gate(0.5))),
        (HeatmapGenerator(TINY, 3), (pictures(), torch.rand(2, 3, 8, 6), torch.rand(2, 3, 8, 6))),
    ):
        network(*arguments).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if not name.endswith("bias"):  # biases before a batch norm have no effect
                assert parameter.grad.abs().sum() > 0, name


def test_generator_of_the_paper_is_johnsons():
    """Two halvings, six residual blocks, two doublings (supplement A)."""
    with torch.device("meta"):
        network = Generator(GeneratorConfig())
    assert [block[0][0].out_channels for block in network.encoder.down] == [128, 256]
    assert sum(isinstance(block, _ResidualBlock) for block in network.residual) == 6
    assert [block[1][0].out_channels for block in network.up] == [128, 64]
    assert network.encoder.first[0].out_channels == 64
    assert GeneratorConfig(halvings=4).width(4) == 512


def test_output_depends_on_heat_maps_of_both_poses():
    network = HeatmapGenerator(TINY, 3).eval()
    base = pictures().requires_grad_()
    heat = [torch.rand(2, 3, 8, 6, requires_grad=True) for _ in range(2)]
    found = network(base, *heat)
    assert found.shape == base.shape
    assert ((found > 0) & (found < 1)).all()
    for gradient in torch.autograd.grad(found.square().sum(), (base, *heat)):
        assert gradient.abs().sum() > 0
    assert (network(base, heat[1], heat[0]) - found).abs().max() > 1e-6  # the order of the poses matters


def test_heat_maps_are_concatenated_at_the_lowest_resolution():
    """8 x 6 maps of a 32 x 24 image, whose deepest features are 8 x 6 as well, are not resized."""
    network, taken = HeatmapGenerator(TINY, 2).eval(), []
    network.residual.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    maps = torch.rand(2, 2, 2, 8, 6)
    network(pictures(), *maps)
    torch.testing.assert_close(taken[0][:, -4:], torch.cat([*maps], dim=1))


class Recorder(nn.Module):
    """Records the precision of its input."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.dtype)
        return self.inner(x)


def test_autocast_is_near_full_precision():
    network = generator()
    base, field, half = pictures(), still() + 0.37, gate(0.7)
    expected = network(base, field, half)
    network.residual = Recorder(network.residual)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(base, field, half)
        open_gate = network(base, still(), gate(1.0))
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.03
    torch.testing.assert_close(open_gate, base, atol=1e-5, rtol=0)
    assert set(network.residual.seen) == {torch.float32}  # of the warped image; the convolutions round it
