"""Augmented views of depth crops."""

from dataclasses import dataclass, field

from torch import Generator

from posebridge.contracts.batch import Observation
from posebridge.data.augment import GeometryConfig, draw_views
from posebridge.data.cube_views import CubeViews
from posebridge.data.erase import erased
from posebridge.draw import uniform


@dataclass(frozen=True)
class DepthViewConfig:
    """Ranges of random views; the paper gives no numbers. There is no shear, which a cube can't have."""

    geometry: GeometryConfig = field(
        default_factory=lambda: GeometryConfig(rotation_deg=45.0, shear_deg=0.0, translation=0.04, scale=(0.9, 1.1))
    )
    depth_shift: float = 0.04  # of the cube along the optical axis, at most, as a fraction of its side
    erased_frac: float = 0.5  # fraction of the views in which a rectangle is erased


@dataclass(frozen=True)
class AugmentedViews:
    """Random views of a batch of depth crops, before and after parts are erased."""

    complete: CubeViews
    erased: CubeViews  # the network's input

    @classmethod
    def draw(cls, batch: Observation, cube_m: float, config: DepthViewConfig, generator: Generator) -> "AugmentedViews":
        """One random view of each sample: rotated, scaled, shifted, and partly erased."""
        views = CubeViews.of(batch, cube_m)
        device = views.depth_m.device
        T = draw_views(config.geometry, len(views), views.depth_m.shape[-1], generator, device)
        shift = 2 * uniform(generator, -config.depth_shift, config.depth_shift, len(views)).to(device)  # half cubes
        complete = views.warped(T, shift)
        return cls(complete, complete.with_depth(erased(complete.depth_m, generator, config.erased_frac)))
