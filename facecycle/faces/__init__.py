"""A photograph: where its faces are, aligned crops of them, and moved faces back in it."""

from facecycle.faces.detection import detect
from facecycle.faces.motion import paste
from facecycle.faces.similarity import align

__all__ = ["align", "detect", "paste"]
