"""How right pseudo-labels are that evidence, anatomy, or both trust, by threshold, of a model that was adapted.

    python benchmarks/trusted_labels.py RUN --out docs/tables/trusted-labels-hand-rgb.md

RUN is the folder of a run of SynthShift, of which the adapted model looks at the frames that it was adapted to. A joint
is right within 5% of the image's side. The labels serve this table alone.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Bool
from torch import Tensor

from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE
from posebridge.errors import InputError
from posebridge.methods.geometric_reconstruction.integrated_labels import IntegratedLabels, LabelIntegration
from posebridge.recipes.synthshift import TRACKS, SynthShiftConfig, make_context
from posebridge.recipes.track import TrackRenderer
from posebridge.training.config_file import load_config
from posebridge.training.options import Hardware
from posebridge.training.pseudo_labeller import PseudoLabeller
from posebridge.training.pseudo_labels import keep_most_confident

SHARES = (0.2, 0.4, 0.6)  # gamma_2D, as the share of a set's peaks that is above it
MOVES = (0.005, 0.01, 0.025, 0.05)  # gamma_3D
RIGHT = 0.05


@dataclass(frozen=True)
class Options:
    """Tell how right trusted joints are."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    frames: int = 512
    """Frames of the target, evenly chosen."""

    kept_share: float = 0.4
    """Share of the peaks that evidence trusts where both masks are told of."""

    out: Path | None = None
    """Where the table goes, as Markdown; printed in any case."""


def table(options: Options) -> str:
    """Share of all joints and share of right ones, for each mask. Raises ``InputError`` for what is no such run."""
    _, config = load_config(options.run / "config.yaml", {"synthshift": SynthShiftConfig})
    network = load_model(options.run, POSE).network
    plan = TRACKS[config.track]
    size = plan.sizes[config.size]
    data = TrackRenderer(plan, size, config.sets).data(config.seed, config.footage)
    context = make_context(plan, size, data, config.seed, Hardware())
    count = len(data.target_labelled)
    frames = data.target_labelled.take(torch.arange(0, count, max(1, count // options.frames))[: options.frames])
    assert frames.uv_px is not None
    assert frames.valid is not None
    settings = replace(size.mean_teacher, kept_share=options.kept_share)
    with torch.no_grad():
        seen = PseudoLabeller(settings, plan.skeleton.mirror, None).label_unaugmented(network, frames.unlabelled())
    known = frames.valid
    right = (seen.uv_px - frames.uv_px).norm(dim=-1) < RIGHT * size.size_px

    def cells(mask: Bool[Tensor, "N J"]) -> str:
        return f"{mask[known].float().mean():.2f} | {right[mask & known].float().mean():.2f}"

    lines = [
        f"| {config.track}, {config.method}: joints trusted by | share of all | right "
        "| by this alone: share | right | by both: share | right |",
        "|---" * 7 + "|",
        f"| nothing | {cells(torch.ones_like(known))} | | | | |",
    ]
    for share in SHARES:
        kept = keep_most_confident(seen.confidence, share)
        lines.append(f"| evidence: the highest {share:.0%} of peaks | {cells(kept)} | | | | |")
    limits = IntegratedLabels.of(LabelIntegration(), size.maps, context).limits
    for move in MOVES:
        integrated = IntegratedLabels(LabelIntegration(least_move=move), size.maps, plan.skeleton, limits).eval()
        kept = integrated.rectify(seen, frames.camera, size.size_px).kept
        alone, both = kept & ~seen.kept, kept & seen.kept
        name = f"anatomy: moved by less than {move:.1%}"
        lines.append(f"| {name} | {cells(kept)} | {cells(alone)} | {cells(both)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = tyro.cli(Options)
    text = table(options)
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"trusted_labels: {error}") from None
