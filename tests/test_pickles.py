import contextlib
import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from posebridge.errors import InputError
from posebridge.pickles import load_arrays

CONTENT = {
    0: {"xyz": np.arange(6.0).reshape(2, 3), "n": np.float32(3.5), "name": "a", "tuple": (1, [2, None, True])},
    1: OrderedDict(set={1, 2}, blob=b"\x00\xff", order=np.asfortranarray(np.eye(3)), ints=np.arange(3, dtype=">i2")),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_of_every_protocol(tmp_path, protocol):
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    loaded = load_arrays(tmp_path / "a.pickle")
    np.testing.assert_equal(loaded, CONTENT)
    assert isinstance(loaded[0]["n"], np.float32)


def test_numpy_1_and_python_2_names(tmp_path):
    # What Python 2 with numpy 1 wrote: protocol 0 or 2, numpy.core, strings as bytes.
    modern = pickle.dumps({"K": np.eye(3)}, protocol=2, fix_imports=True)
    old = modern.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != modern
    (tmp_path / "a.pickle").write_bytes(old)
    np.testing.assert_array_equal(load_arrays(tmp_path / "a.pickle")["K"], np.eye(3))
    python_2 = (
        b"\x80\x02}U\x01Kcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x10" + np.array([1.5, -2.0]).tobytes() + b"tbs."
    )
    (tmp_path / "b.pickle").write_bytes(python_2)
    np.testing.assert_array_equal(load_arrays(tmp_path / "b.pickle")["K"], [1.5, -2.0])


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "attack",
    [
        Attack(os.system, "touch OWNED"),
        Attack(eval, "open('OWNED', 'w')"),
        Attack(getattr, {}, "keys"),
        Attack(np.load, "x"),
        Attack(io.BytesIO, b""),
        np.array([Attack(os.system, "touch OWNED")], dtype=object),
    ],
)
def test_other_objects_are_refused_and_not_executed(tmp_path, monkeypatch, attack, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pickle").write_bytes(pickle.dumps({"a": attack}, protocol=protocol))
    with pytest.raises(InputError, match=r"a\.pickle: the pickle refers to .*, which is refused"):
        load_arrays(tmp_path / "a.pickle")
    assert not (tmp_path / "OWNED").exists()


def test_dotted_names_are_refused(tmp_path):
    # Protocol 4 resolves dotted names: numpy's "ndarray.x" must not pass for numpy.ndarray.
    (tmp_path / "a.pickle").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0blinalg.norm\x93.")
    with pytest.raises(InputError, match="refused"):
        load_arrays(tmp_path / "a.pickle")


def test_damaged_files(tmp_path):
    whole = pickle.dumps(CONTENT)
    path = tmp_path / "a.pickle"
    for share in (0.0, 0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"a\.pickle: not a pickle"):
            load_arrays(path)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):  # damage may also change values only
            load_arrays(path)
    with pytest.raises(InputError, match="No such file"):
        load_arrays(tmp_path / "absent.pickle")
