from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from posebridge.contracts.config_file import as_yaml, configs_equal, load_config, signed
from posebridge.contracts.plain import from_plain, to_plain
from posebridge.errors import InputError
from posebridge.methods.source_only import SourceOnlyConfig


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    sizes: tuple[int, ...] = (1, 2)
    range: tuple[float, float] = (0.5, 2.0)


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    place: Path | None = None
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    count: int = 3
    weights: dict[str, float] = field(default_factory=dict)


KINDS = {"outer": Outer, "inner": Inner}
FULL = Outer("ä: - #", Inner(1e-7, (), (1, 3)), Path("some/where"), "b", True, 0, {"x": 2.0})


@pytest.mark.parametrize("config", [Outer("plain"), FULL, Inner()])
def test_configs_survive_saving_and_loading(config, tmp_path):
    kind = type(config).__name__.lower()
    (tmp_path / "config.yaml").write_text(as_yaml(kind, config))
    assert load_config(tmp_path / "config.yaml", KINDS) == (kind, config)


def test_flipped_bits_are_noticed(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(signed(as_yaml("outer", Outer("plain"))))
    assert load_config(path, KINDS) == ("outer", Outer("plain"))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"count: 3", b"count: 7"))
    with pytest.raises(InputError, match=r"config\.yaml is damaged, its checksum differs"):
        load_config(path, KINDS)
    path.write_text(as_yaml("outer", Outer("changed by hand")))
    assert load_config(path, KINDS) == ("outer", Outer("changed by hand"))


def test_files_are_plain_yaml_in_the_order_of_the_fields():
    content = yaml.safe_load(as_yaml("outer", FULL))
    assert list(content["outer"]) == ["name", "inner", "place", "kind", "flag", "count", "weights"]
    assert content["outer"]["place"] == "some/where"
    assert content["outer"]["inner"] == {"share": 1e-7, "sizes": [], "range": [1, 3]}


def test_method_configs_survive_saving_and_loading(tmp_path):
    config = SourceOnlyConfig()
    assert from_plain(SourceOnlyConfig, yaml.safe_load(yaml.safe_dump(to_plain(config)))) == config


def test_absent_fields_equal_their_defaults():
    config = Outer("plain", Inner(0.25))
    earlier = yaml.safe_load(as_yaml("outer", config))
    for name in ("flag", "weights", "place"):
        del earlier["outer"][name]
    del earlier["outer"]["inner"]["sizes"]
    text = yaml.safe_dump(earlier)
    assert configs_equal(text, "outer", config)
    for other in (
        Outer("plain", Inner(0.5)),
        Outer("plain", Inner(0.25), flag=True),
        Outer("plain", Inner(0.25), weights={"x": 1.0}),
        Outer("plain", Inner(0.25, sizes=(1,))),
    ):
        assert not configs_equal(text, "outer", other)
    assert not configs_equal(text, "inner", config)
    del earlier["outer"]["name"]  # which has no default
    assert not configs_equal(yaml.safe_dump(earlier), "outer", config)
    assert not configs_equal(as_yaml("outer", config) + "  colour: red\n", "outer", config)
    assert not configs_equal("outer: [", "outer", config)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "[1, 2]",
        "other: {name: x}",
        "outer: {name: x}\ninner: {}",
        "outer: 3",
        "outer: {}",
        "outer: {name: x, surplus: 1}",
        "outer: {name: x, inner: {share: wide}}",
        "outer: {name: x, inner: {range: [1, 2, 3]}}",
        "outer: {name: x, inner: [1]}",
        "outer: {name: x, kind: c}",
        "outer: {name: x, count: many}",
        "outer: {name: x, count: 1.5}",
        "outer: {name: x, flag: 1}",
        "outer: {name: 7}",
        "outer: {name: x",
        "outer: {name: 2026-99-99}",
        "[" * 5000,
        "outer: !!python/object/apply:os.system [true]",
    ],
)
def test_invalid_files_give_one_line(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_config(path, KINDS)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_config(tmp_path / "config.yaml", KINDS)
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="YAML"):
        load_config(tmp_path / "config.yaml", KINDS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="YAML"):
        load_config(tmp_path / "folder", KINDS)
