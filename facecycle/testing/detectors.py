"""The contract of detectors."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from facecycle.api import Face
from facecycle.testing.common import Contract


def noise(height: int, width: int) -> np.ndarray:
    """Return an image (H, W, 3) of coloured noise, uint8."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


class DetectorContract(Contract):
    """A detector takes images of any size, and says where their faces are, largest first."""

    kind = "detector"
    image: ClassVar[np.ndarray] = noise(96, 128)
    """An image, of which `found` says how many faces it shows at least."""
    found: ClassVar[int] = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces, and check that each is one."""
        faces: list[Face] = self.build().detect(image)
        for face in faces:
            assert len(face.box) == 4
            assert np.isfinite(face.box).all()
            assert min(face.box[2:]) > 0
            assert 0 <= face.score <= 1
            if face.landmarks is not None:
                assert face.landmarks.shape == (5, 2)
                assert np.isfinite(face.landmarks).all()
        areas = [face.box[2] * face.box[3] for face in faces]
        assert areas == sorted(areas, reverse=True)
        return faces

    def test_it_finds_what_the_image_shows(self) -> None:
        assert len(self.detect(self.image)) >= self.found

    @pytest.mark.parametrize("shape", [(64, 64), (65, 200), (301, 67)])
    def test_it_takes_images_of_any_size(self, shape: tuple[int, int]) -> None:
        self.detect(noise(*shape))

    def test_it_is_deterministic_and_leaves_the_image_as_it_is(self) -> None:
        before = self.image.copy()
        first, second = self.detect(self.image), self.detect(self.image)
        assert np.array_equal(before, self.image)
        assert [(f.box, f.score) for f in first] == [(f.box, f.score) for f in second]

    def test_it_states_its_terms(self) -> None:
        detector = self.build()
        assert detector.licence
        assert isinstance(detector.weights_licence, str)
