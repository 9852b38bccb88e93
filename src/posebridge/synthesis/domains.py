"""Table of all domains by track and name, and the entry point to render them."""

from typing import assert_never, get_args

from torch import Generator

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.track import Track
from posebridge.errors import InputError
from posebridge.synthesis.body_domains import BODY_DOMAINS, BodyDomain
from posebridge.synthesis.body_subject import BodySubject
from posebridge.synthesis.depth_scene import DEPTH_DOMAINS, DepthHandDomain, render_depth_hands
from posebridge.synthesis.hand_domains import HAND_DOMAINS, HandDomain
from posebridge.synthesis.hand_subject import HandSubject
from posebridge.synthesis.scene import render_stills
from posebridge.synthesis.subject import Subject

Domain = HandDomain | BodyDomain | DepthHandDomain

DOMAINS: dict[Track, dict[str, Domain]] = {
    "hand-rgb": {**HAND_DOMAINS},
    "body-rgb": {**BODY_DOMAINS},
    "hand-depth": {**DEPTH_DOMAINS},
}


def find_domain(track: Track, name: str) -> Domain:
    """Return the named domain of a track. Raises ``InputError`` for an unknown track or name."""
    if track not in DOMAINS:
        raise InputError(f"there is no track {track!r}: choose one of {', '.join(get_args(Track))}")
    if name not in DOMAINS[track]:
        raise InputError(f"track {track} has no domain {name!r}: choose one of {', '.join(DOMAINS[track])}")
    return DOMAINS[track][name]


def views_per_scene(domain: Domain) -> int:
    """Number of images of one scene at one time."""
    return domain.rigs.views if isinstance(domain, DepthHandDomain) else 1


def subject_of(domain: HandDomain | BodyDomain) -> Subject:
    """Create the subject of a colour domain."""
    match domain:
        case HandDomain():
            return HandSubject(domain)
        case BodyDomain():
            return BodySubject(domain)
    assert_never(domain)


def render(domain: Domain, scenes: int, size_px: int, generator: Generator) -> LabelledBatch:
    """Render ``scenes`` sampled scenes in all their views. The caller replaces ``key`` and ``sequence``."""
    if isinstance(domain, DepthHandDomain):
        return render_depth_hands(domain, scenes, size_px, generator)
    return render_stills(subject_of(domain), scenes, size_px, generator)
