"""COCO's people (Lin et al., ECCV 2014) in its release's layout.

``annotations/person_keypoints_{train,val}2017.json`` and ``{train,val}2017/000000000139.jpg``. Without the annotations,
the images are an ``ImageFolder``.
"""

from pathlib import Path

from posebridge.data.datasets.coco_keypoints import CocoKeypoints
from posebridge.data.datasets.options import Split
from posebridge.skeletons.body import COCO17
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.skeleton import Skeleton

_WORDS: dict[Split, str] = {"train": "train2017", "test": "val2017"}


class CocoPeople(CocoKeypoints):
    """``CocoKeypoints`` of the release's file: one frame a person with a labelled joint, its box the annotated one.

    Crowds are left out, as are people without a labelled joint: the sets on which COCO trains and scores keypoints.
    """

    def __init__(self, root: str | Path, split: Split = "train", skeleton: Skeleton = COCO17):
        """``split``: "train" is ``train2017``, "test" ``val2017``, since the release keeps its test labels.

        Raises ``InputError`` where the annotations are missing or damaged, or not one is usable.
        """
        root, word = Path(root), _WORDS[split]
        super().__init__(root / "annotations" / f"person_keypoints_{word}.json", root / word, skeleton, ORDERS["coco"])
