"""The contract kit: what every plugin of a kind must do, as tests to subclass.

from facecycle.testing import EncoderContract

class TestMine(EncoderContract):
    name = "my-encoder"
"""

from facecycle.testing.datasets import DatasetContract
from facecycle.testing.detectors import DetectorContract
from facecycle.testing.encoders import EncoderContract
from facecycle.testing.losses import LossContract
from facecycle.testing.methods import MethodContract
from facecycle.testing.warpers import WarperContract

__all__ = ["DatasetContract", "DetectorContract", "EncoderContract", "LossContract", "MethodContract", "WarperContract"]
