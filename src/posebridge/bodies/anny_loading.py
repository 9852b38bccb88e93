"""Loading of Anny's models and their conversion to rigs, for hand and body.

The first build of a model parses Anny's blend shapes (about a minute) and caches the result under ``~/.cache/anny``, or
in the folder of the environment variable ``ANNY_CACHE_DIR``.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from posebridge.bodies.rig import Rig
from posebridge.errors import InputError

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")


@dataclass(frozen=True)
class AnnyModel:
    """A rig whose shape coefficients come from Anny's phenotypes."""

    rig: Rig
    phenotype_model: Any  # anny.Anny
    adult_coefficients: Float[Tensor, "S"]  # of the mean adult, the rig's rest shape

    def shape_coefficients(self, phenotypes: Float[Tensor, "B 6"]) -> Float[Tensor, "B S"]:
        """Coefficients of the rig's basis for ``PHENOTYPES`` in [0, 1]."""
        return phenotype_coefficients(self.phenotype_model, self.adult_coefficients, phenotypes)


def phenotype_coefficients(
    phenotype_model: Any, adult_coefficients: Float[Tensor, "S"], phenotypes: Float[Tensor, "B 6"]
) -> Float[Tensor, "B S"]:
    """Anny's blend shape coefficients of ``PHENOTYPES`` in [0, 1], relative to the mean adult."""
    values = {name: phenotypes[:, i].double().cpu() for i, name in enumerate(PHENOTYPES)}
    coefficients = phenotype_model.get_phenotype_blendshape_coefficients(**values)
    return coefficients.to(phenotypes) - adult_coefficients.to(phenotypes)


def load_anny(part: Literal["hand", "body"], rig: str, topology: str) -> Any:
    """Anny's model, from its cache or else built, with a notice on stderr.

    Raises ``InputError`` if the cache is damaged or can't be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anny  # slow to import and needed by few commands
        from anny.paths import get_anny_cache_path

        try:
            with announced_build(f"Building Anny's {part} model: about a minute, once (into {get_anny_cache_path()})."):
                return anny.Anny(rig=rig, topology=topology, skinning_method="lbs")
        except SafetensorError as error:
            raise InputError(
                f"Anny's {part} model under {get_anny_cache_path()} is damaged ({error}); delete that folder "
                "to rebuild it"
            ) from error
        except OSError as error:
            raise InputError(
                f"Anny's {part} model can't be written to {get_anny_cache_path()} ({error}); make room there, "
                "or set ANNY_CACHE_DIR to another folder"
            ) from error


@contextmanager
def announced_build(notice: str) -> Iterator[None]:
    """Prints ``notice`` on stderr once if Anny starts to build a model."""
    logger = logging.getLogger("anny.models.model_data")
    level, pending = logger.level, [notice]

    def watch(record: logging.LogRecord) -> bool:
        if pending and "building model data" in record.getMessage():
            print(pending.pop(), file=sys.stderr, flush=True)
        return record.levelno >= max(level, logging.WARNING)

    logger.addFilter(watch)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeFilter(watch)


def mean_adult(model: Any) -> Float[Tensor, "1 S"]:
    """Blend shape coefficients of the adult with average phenotypes."""
    return model.get_phenotype_blendshape_coefficients(age=2 / 3)


def rig_in_frame(model: Any, R_frame_world: Float[Tensor, "3 3"], origin: str) -> Rig:
    """The mean adult as a rig without keypoints, in a frame whose origin is the bone ``origin`` for every shape.

    Ancestors of the origin are removed, and their skinning weights move to it.
    """
    first = model.bone_labels.index(origin)
    rest = model.get_rest_model(mean_adult(model))
    vertices, heads = rest["rest_vertices"][0], rest["rest_bone_heads"][0]
    origin_basis = model.bone_heads_blendshapes[:, None, first]
    weights = model.dense_vertex_bone_weights[:, first:].clone()
    weights[:, 0] += model.dense_vertex_bone_weights[:, :first].sum(1)
    R = R_frame_world.to(vertices)
    return Rig(
        bones=tuple(model.bone_labels[first:]),
        parents=tuple(max(parent - first, -1) for parent in model.bone_parents[first:]),
        faces=model.get_triangular_faces(),
        vertices_m=((vertices - heads[first]) @ R.T).float(),
        vertex_basis_m=((model.blendshapes - origin_basis) @ R.T).float(),
        heads_m=((heads[first:] - heads[first]) @ R.T).float(),
        head_basis_m=((model.bone_heads_blendshapes[:, first:] - origin_basis) @ R.T).float(),
        weights=weights.float(),
        joints=(),
        keypoint_index=torch.zeros(0, 1, dtype=torch.long),
        keypoint_weight=torch.zeros(0, 1),
    )
