"""A method that trains a network of its own, beside the preset's source model and upper bound."""

import copy
from dataclasses import dataclass, field, replace

import pytest
import torch

from deployment.rigged import SPEC, VOLUME_SPEC, small_model, small_volume_model
from experiments import small_runs
from experiments.small_runs import ONE_CPU, SIDE
from posebridge.contracts.record_file import load_record
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import VOLUME_POSE
from posebridge.deployment.model_spec import ModelSpec, VolumePoseSpec
from posebridge.errors import InputError
from posebridge.experiments import runner
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig, SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.training import SourceComparison
from posebridge.methods.base import Method, MethodConfig, Stages
from posebridge.methods.registry import METHODS, MethodEntry
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.pose_vit import PoseViT
from posebridge.networks.vision_transformer import ViTEncoder
from posebridge.networks.weights import save_weights
from posebridge.presets import table
from posebridge.presets.table import find_preset
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.supervision import volume_term

pytestmark = pytest.mark.usefixtures("one_thread")
CONTEXTS: list[Context] = []  # that methods were given


@dataclass(frozen=True)
class OwnConfig(MethodConfig):
    """A transformer, trained on the source."""

    model: VolumePoseSpec = VOLUME_SPEC
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=3, learning_rate=1e-3))

    def model_spec(self, preset_spec: ModelSpec) -> ModelSpec:
        return preset_spec if isinstance(preset_spec, VolumePoseSpec) else self.model.for_crops_of(preset_spec)

    def with_encoder_weights(self, weights: str) -> "OwnConfig":
        return replace(self, model=self.model.with_encoder_weights(weights))


class OwnTraining(PoseStage):
    name = "volumes"

    def __init__(self, config: OwnConfig, context: Context, network: PoseViT):
        super().__init__(
            config.schedule, {"source": context.source.batches(4)}, {"volumes": 1.0}, **context.stage_options(9)
        )
        self.network, self.skeleton = network.train(), context.skeleton

    def terms(self, batches, generator: torch.Generator) -> Terms:
        source = batches["source"]
        return {"volumes": volume_term(self.network.volumes, self.network(source.rgb), source, self.skeleton)}

    def result(self) -> PoseViT:
        return self.network


class Own(Method[OwnConfig]):
    def stages(self, context: Context) -> Stages:
        CONTEXTS.append(context)
        start = context.source_network if context.source_network is not None else context.new_network()
        yield OwnTraining(self.config, context, copy.deepcopy(network_as(start, PoseViT))), context.selection


ENTRY = MethodEntry("own-network", "Own", "", "a toy", f"{__name__}:OwnConfig", f"{__name__}:Own", ("colour",))


@pytest.fixture(autouse=True)
def registered(small_sizes, monkeypatch) -> None:
    """The entry, and a preset in two families."""
    monkeypatch.setitem(METHODS, ENTRY.name, ENTRY)
    own = []
    for family in ("synthshift/hand-rgb", "adapt/hand"):
        small = find_preset(family, "small", "mean-teacher")
        bound = {"supervised-target": small.methods["supervised-target"]} if family.startswith("synthshift") else {}
        own.append(replace(small, methods={ENTRY.name: OwnConfig(), **bound}))
    monkeypatch.setattr(table, "PRESETS", [*table.PRESETS, *own])
    CONTEXTS.clear()


def adapt(target: small_runs.TargetOnDisk, folder, **options):
    config = AdaptConfig(method=ENTRY.name, target=TargetConfig(target.images), domain="studio", **options)
    return run_adapt(config, folder, ONE_CPU)


def test_source_model_and_upper_bound_keep_the_network_of_the_preset(tmp_path):
    outcome = run_synthshift(SynthShiftConfig(method=ENTRY.name), tmp_path, ONE_CPU)
    kinds = {role: type(model.network) for role, model in outcome.trained.items()}
    assert kinds == {"source_only": PoseResNet, "adapted": PoseViT, "supervised_target": PoseResNet}
    (context,) = CONTEXTS
    assert context.source_network is None
    saved = load_model(tmp_path, VOLUME_POSE)
    assert (saved.spec.method, saved.spec.size_px, saved.spec.skeleton) == (ENTRY.name, SIDE, "hand21")
    assert 0.05 < saved.spec.reference_length_m < 0.15
    predictors = {role: found.predictor for role, found in outcome.predictions.items()}
    assert predictors["adapted"].spec == saved.spec
    preset = find_preset("synthshift/hand-rgb", "small", ENTRY.name)
    assert predictors["source_only"].spec.network == preset.model.network
    trained = outcome.trained["adapted"].network.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in saved.network.state_dict().items())


def test_initial_weights_follow_from_the_seed(tmp_path, target):
    adapt(target, tmp_path, source="renders", seed=4)
    (context,) = CONTEXTS
    first, second = context.new_network(), context.new_network()
    assert isinstance(first, PoseViT)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert set(load_record(tmp_path).curves) == {"1-source", "2-volumes"}


def test_a_given_model_of_heat_maps_is_the_source_model(tmp_path, target):
    given = small_model(tmp_path / "given", replace(SPEC, size_px=SIDE))
    adapt(target, tmp_path / "run", source=tmp_path / "given")
    (context,) = CONTEXTS
    assert context.source_network is None
    assert set(load_record(tmp_path / "run").curves) == {"1-volumes"}
    assert load_model(tmp_path / "run").kind is VOLUME_POSE
    assert given.config == load_model(tmp_path / "given").spec.network


def test_a_given_model_of_its_own_kind_is_the_start(tmp_path, target):
    spec = VOLUME_SPEC.for_crops_of(replace(SPEC, size_px=SIDE))
    spec = replace(spec, network=replace(spec.network, head_channels=12))  # another network than the config's
    given = small_volume_model(tmp_path / "given", spec)
    record = adapt(
        target,
        tmp_path / "run",
        source=tmp_path / "given",
    )
    (context,) = CONTEXTS
    assert isinstance(context.source_network, PoseViT)
    assert all(
        torch.equal(value, given.state_dict()[name]) for name, value in context.source_network.state_dict().items()
    )
    assert set(record.curves) == {"1-volumes"}
    assert load_model(tmp_path / "run", VOLUME_POSE).spec.network.head_channels == 12


def test_other_methods_refuse_a_model_of_volumes(tmp_path, target):
    small_volume_model(tmp_path / "given")
    config = AdaptConfig(method="mean-teacher", target=TargetConfig(target.images), source=tmp_path / "given")
    with pytest.raises(InputError, match="a model of kind volume-pose, and one of kind pose is needed here"):
        run_adapt(config, tmp_path / "run", ONE_CPU)


def test_a_model_that_does_not_help_is_replaced_by_the_source_model(tmp_path, target, monkeypatch):
    worse = SourceComparison(before=0.6, after=0.5, error=0.01)
    monkeypatch.setattr(runner, "compare_with_source", lambda *_: worse)
    presets = [replace(preset, selection=replace(preset.selection, against_source=True)) for preset in table.PRESETS]
    monkeypatch.setattr(table, "PRESETS", presets)
    given = small_model(tmp_path / "given", replace(SPEC, size_px=SIDE, method="source-only"))
    record = adapt(target, tmp_path / "run", source=tmp_path / "given")
    saved = load_model(tmp_path / "run")
    assert saved.spec == replace(SPEC, size_px=SIDE, method="source-only")
    assert all(torch.equal(value, given.state_dict()[name]) for name, value in saved.network.state_dict().items())
    assert str(worse) in record.warnings[0]


def test_encoder_weights_are_those_of_its_network(tmp_path, target):
    spec = VOLUME_SPEC.for_crops_of(replace(SPEC, size_px=SIDE))
    with torch.random.fork_rng():
        torch.manual_seed(9)
        encoder = ViTEncoder(spec.network.vit)
    weights = tmp_path / "vit.safetensors"
    save_weights(encoder, weights)
    adapt(target, tmp_path / "run", source="renders", encoder_weights=weights)
    (context,) = CONTEXTS
    network = network_as(context.new_network(), PoseViT)
    block = "vit.blocks.0.attn.qkv.weight"
    assert torch.equal(network.encoder.state_dict()[block], encoder.state_dict()[block])
    assert load_model(tmp_path / "run").spec.network.vit.pretrained == "none"
    with pytest.raises(InputError, match="no such file; give 'none', 'timm' or a weights file"):
        adapt(target, tmp_path / "other", source="renders", encoder_weights=tmp_path / "missing.safetensors")
    small_volume_model(tmp_path / "given", spec)
    with pytest.raises(InputError, match="brings its own encoder: leave --encoder-weights out"):
        adapt(target, tmp_path / "third", source=tmp_path / "given", encoder_weights=weights)


def test_crops_that_are_no_whole_number_of_patches_are_refused(tmp_path, target):
    small_model(tmp_path / "given", replace(SPEC, size_px=50))
    with pytest.raises(InputError, match=r"images of 50 px can't be cut into patches of 12 px"):
        adapt(target, tmp_path / "run", source=tmp_path / "given")
    assert not CONTEXTS
