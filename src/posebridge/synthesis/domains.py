"""Every domain, by track and name."""

from typing import Literal, get_args

from posebridge.errors import InputError
from posebridge.synthesis.hand_domains import HAND_DOMAINS, HandDomain
from posebridge.synthesis.hand_subject import HandSubject
from posebridge.synthesis.subject import Subject

Track = Literal["hand-rgb", "body-rgb", "hand-depth"]
Domain = HandDomain

DOMAINS: dict[Track, dict[str, Domain]] = {"hand-rgb": HAND_DOMAINS}


def domain(track: Track, name: str) -> Domain:
    """A domain by its name. Raises ``InputError`` for a track or a name that isn't one."""
    if track not in DOMAINS:
        raise InputError(f"there is no track {track!r}: choose one of {', '.join(get_args(Track))}")
    if name not in DOMAINS[track]:
        raise InputError(f"track {track} has no domain {name!r}: choose one of {', '.join(DOMAINS[track])}")
    return DOMAINS[track][name]


def subject_of(setting: Domain) -> Subject:
    """What the pictures of a domain show."""
    return HandSubject(setting)
