"""The three components keep the promises of facecycle's protocols."""

from facecycle.testing import EncoderContract, LossContract, WarperContract


class TestEncoder(EncoderContract):
    name = "example-conv"


class TestWarper(WarperContract):
    name = "example-bicubic"


class TestLoss(LossContract):
    name = "charbonnier"
