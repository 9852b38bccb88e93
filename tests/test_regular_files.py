import os
import socket
from pathlib import Path

import pytest

from posebridge.regular_files import read_file


def test_pipes_sockets_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), tmp_path):
            with pytest.raises(OSError, match="a folder, pipe or device, and no file"):
                read_file(path)


def test_files_and_links_to_files_are_read(tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    (tmp_path / "link").symlink_to("x")
    assert read_file(tmp_path / "link") == b"content"
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "absent")
