"""The four components keep the promises of facecycle's protocols."""

import numpy as np

from facecycle.testing import DetectorContract, EncoderContract, LossContract, WarperContract


class TestEncoder(EncoderContract):
    name = "example-conv"


class TestWarper(WarperContract):
    name = "example-bicubic"


class TestLoss(LossContract):
    name = "charbonnier"


class TestDetector(DetectorContract):
    name = "example-skin"
    image = np.pad(np.full((40, 30, 3), (200, 150, 120), np.uint8), ((20, 40), (30, 40), (0, 0)))
    found = 1
