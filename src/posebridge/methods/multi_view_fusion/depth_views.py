"""What stages on depth share: their context, augmented views, and hands in the views' spaces."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Generator

from posebridge.bodies.parametric_hand import ParametricHand
from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.data.augment import GeometryConfig, draw_views
from posebridge.data.cube_views import CubeViews
from posebridge.data.erase import erased
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.multiview_stream import MultiViewStream
from posebridge.data.streams import Stream
from posebridge.draw import uniform
from posebridge.networks.depth_hand_model import DepthHandModel


@dataclass(frozen=True)
class DepthViewConfig:
    """How far a view may depart from its crop; the paper gives no numbers. A cube can't be sheared."""

    geometry: GeometryConfig = field(
        default_factory=lambda: GeometryConfig(rotation_deg=45.0, shear_deg=0.0, translation=0.04, scale=(0.9, 1.1))
    )
    shift: float = 0.04  # of the cube along the optical axis, either way, as a share of its side
    erased_share: float = 0.5  # of the pictures, those that lose a rectangle


@dataclass(frozen=True)
class DepthContext:
    """A labelled source and an unlabelled target of depth crops in sets of views, and the model to be trained.

    The source's meshes are those of ``hand``.
    """

    new_model: Callable[[], DepthHandModel]
    hand: ParametricHand
    cube_m: float
    source: InMemoryDataset[LabelledBatch]
    target: InMemoryDataset[UnlabelledBatch] | None
    seed: int
    workers: int = 0

    def source_stream(self, sets: int, views: int) -> Stream[LabelledBatch]:
        """Batches of ``sets`` sets of so many views each."""
        return MultiViewStream(self.source, sets, self.seed, views)

    def target_stream(self, sets: int, views: int) -> Stream[UnlabelledBatch]:
        """Likewise. Raises ``ValueError`` for a context without a target."""
        if self.target is None:
            raise ValueError("this stage needs a target")
        return MultiViewStream(self.target, sets, self.seed + 1, views)


@dataclass(frozen=True)
class DrawnViews:
    """Augmented views: as they are, and as the network is shown them."""

    whole: CubeViews
    shown: CubeViews

    @classmethod
    def of(cls, batch: Observation, cube_m: float, config: DepthViewConfig, generator: Generator) -> "DrawnViews":
        """Turned, scaled and shifted, and with holes cut into what is shown."""
        views = CubeViews.of(batch, cube_m)
        device = views.depth_m.device
        T = draw_views(config.geometry, len(views), views.depth_m.shape[-1], generator, device)
        shift = 2 * uniform(generator, -config.shift, config.shift, len(views)).to(device)
        whole = views.warped(T, shift)
        return cls(whole, whole.with_depth(erased(whole.depth_m, generator, config.erased_share)))
