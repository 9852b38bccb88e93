"""Names of files and frames as text: compared in one form of Unicode, shown without characters that deceive."""

import unicodedata

# Marks that reverse the order of text around them, and bytes of file names that are not UTF-8, shown by their codes.
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_BYTES = {code: f"\\x{code - 0xDC00:02x}" for code in range(0xDC80, 0xDD00)}
_SURROGATES = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
UNPRINTABLE: dict[int, str] = {**{code: f"\\u{code:04x}" for code in _DIRECTIONS}, **_SURROGATES, **_BYTES}


def normal_name(name: str) -> str:
    """The name in composed Unicode (NFC): macOS writes decomposed names, most other systems composed ones."""
    return unicodedata.normalize("NFC", name)
