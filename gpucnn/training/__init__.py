"""Training classifiers: recipes, the loop behind ``gpucnn train``, evaluation, checkpoints of runs."""

from .evaluation import Evaluation, evaluate
from .loop import Step, StopTraining, Training, fit
from .reader import load_recipe
from .recipe import Recipe
from .run import Run, Trained, load_trained

__all__ = [
    "Evaluation",
    "Recipe",
    "Run",
    "Step",
    "StopTraining",
    "Trained",
    "Training",
    "evaluate",
    "fit",
    "load_recipe",
    "load_trained",
]
