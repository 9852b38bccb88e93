"""Checkpoints of a stage on disk: written whole or not at all, and compared with their checksum when they are read."""

import hashlib
import io
import pickle
from pathlib import Path

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from posebridge.contracts.files import write_atomically
from posebridge.errors import InputError
from posebridge.regular_files import read_file

# torch writes a zip file without a comment. The checksum of that file becomes its comment, so that torch.load reads it.
_NO_COMMENT = (0).to_bytes(2, "little")
_END, _END_LENGTH = b"PK\x05\x06", 22  # the record that ends a zip file without a comment
_CHECKSUM_LENGTH = 2 * hashlib.sha256().digest_size


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically. Raises ``InputError`` where the folder can't be written or the disk is full."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        """Called by the trainer."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomically(Path(path), _with_checksum(content.getvalue()))

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict:
        """Called by the trainer. Runs nothing from the file.

        Raises ``InputError`` for a damaged one, and for one of another version.
        """
        try:
            content = read_file(Path(path))
            if _ends_without_comment(content):
                raise InputError(
                    f"{path} was written by another version of posebridge: delete it, and its stage is trained from "
                    "its beginning"
                )
            if content != _with_checksum(content[: -_CHECKSUM_LENGTH - len(_NO_COMMENT)] + _NO_COMMENT):
                raise ValueError("its checksum differs")
            return torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            reason = "its checksum differs" if isinstance(error, ValueError) else type(error).__name__
            raise InputError(
                f"{path} is damaged ({reason}): delete it, and its stage is trained from its beginning"
            ) from error


def _ends_without_comment(content: bytes) -> bool:
    """Whether these are all bytes of a zip file that has no comment, and so no checksum."""
    end = content[-_END_LENGTH:]
    return end.startswith(_END) and end.endswith(_NO_COMMENT)


def _with_checksum(content: bytes) -> bytes:
    """A zip file without a comment, with its checksum as the comment."""
    checksum = hashlib.sha256(content).hexdigest().encode()
    return content[: -len(_NO_COMMENT)] + len(checksum).to_bytes(2, "little") + checksum
