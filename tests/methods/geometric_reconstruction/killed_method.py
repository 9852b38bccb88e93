"""A process in which geometric reconstruction is killed: ``python killed_method.py FOLDER STAGE STEP``."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from methods.stick_hands import train
from posebridge.training.stage import Stage
from training.dots import disturb, kill

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, name, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def disturb_stage(stage: Stage) -> None:
        if stage.name == name:
            disturb(stage, {step: kill})

    train(folder, watch=disturb_stage)
