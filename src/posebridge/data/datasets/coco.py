"""COCO's people (Lin et al., ECCV 2014) in its release's layout.

``annotations/person_keypoints_{train,val}2017.json`` and ``{train,val}2017/000000000139.jpg``. Without the annotations,
the images are an ``ImageFolder``.
"""

from pathlib import Path
from typing import Literal

from posebridge.data.datasets.coco_keypoints import CocoKeypoints
from posebridge.skeletons.body import COCO17
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.skeleton import Skeleton


class CocoPeople(CocoKeypoints):
    """``CocoKeypoints`` of the release's file: one frame a person with a labelled joint, its box the annotated one.

    Crowds are left out, as are people without a labelled joint: the sets on which COCO trains and scores keypoints.
    """

    def __init__(
        self, root: str | Path, split: Literal["train2017", "val2017"] = "train2017", skeleton: Skeleton = COCO17
    ):
        """Raises ``InputError`` where the annotations are missing or damaged, or not one is usable."""
        root = Path(root)
        file = root / "annotations" / f"person_keypoints_{split}.json"
        super().__init__(file, root / split, skeleton, ORDERS["coco"])
