"""What `facecycle.load` returns: networks ready for use on photographs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from facecycle.api import Face
from facecycle.checkpoints.places import FOLDER, HUB, Name, repository_of
from facecycle.data.images import ImageSource, parse_crop, read_square_array
from facecycle.errors import ConfigError, DataError, did_you_mean
from facecycle.faces.detection import DEFAULT
from facecycle.faces.motion import check_motion
from facecycle.networks import load
from facecycle.pictures import to_pil
from facecycle.probing.extraction import refuse_non_finite
from facecycle.runtimes.by_torch import TorchRuntime
from facecycle.translation.photographs import ALL, find_driver, find_faces, finder, read_photograph
from facecycle.translation.rows import Row, names_of, pictures_of, refuse_strengths


class Translated(dict[str, Image.Image]):
    """The pictures of a face, by name.

    Attributes:
        face: where it was found: its box, its landmarks and its score.
        doubts: in words, why little may be expected of it, such as that it is small.
    """

    def __init__(self, pictures: Mapping[str, Image.Image], face: Face, doubts: list[str]) -> None:
        super().__init__(pictures)
        self.face = face
        self.doubts = doubts


class Model:
    """Networks in evaluation mode, and what they were trained for.

    Every image may be a file's path, a PIL image, or an array of uint8, (H, W, 3) RGB or (H, W) grey. `translate` looks
    for faces in it. `embed` and `features` take its largest centred square, which an upright face should fill to half.

    Attributes:
        size: side of the square images that the networks read, in pixels.
        panels: names of the small pictures that `translate` makes; the swaps among them need a driver.
        feature_names: names that `features` knows.
        origin: where the weights come from, and their terms.
    """

    def __init__(self, path: Name | None = None) -> None:
        """Load a checkpoint; see `facecycle.load`."""
        self._runtime = TorchRuntime(load(path))
        self.size = self._runtime.size
        self.origin = self._runtime.origin
        self.panels = self._runtime.panels
        self.feature_names = self._runtime.features

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, revision: str | None = None, token: str | bool | None = None
    ) -> Model:
        """Load weights of the Hugging Face hub, or of a folder that `save_pretrained` wrote.

        Args:
            name: `OWNER/NAME` on the hub, where no such folder is here; or what `facecycle.load` takes.
            revision: branch, tag or commit on the hub; None is the newest of the main branch.
            token: of a private or gated repository; None takes that of `hf auth login`, if any.

        Raises:
            FacecycleError: there are no such weights, they cannot be had or read, or a plugin that they need is not
                installed.
        """
        text = os.fspath(name)
        if text.startswith(FOLDER) or (not text.startswith(HUB) and os.path.exists(text)):
            if revision is not None:
                raise ConfigError(f"{text} is a folder here, and has no revision", hint="Leave revision out.")
            return cls(text)
        from facecycle.checkpoints.hub import download

        repository, named = repository_of(text)
        return cls(download(repository, revision or named, token))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder to give away: the weights, byte by byte, their graph, `config.json` and a card.

        Weights whose configuration says where data lay on this machine are written without it, with the same
        tensors. A `README.md` that a person edited stays.

        Args:
            folder: made if need be. `local-dir:FOLDER` names its weights, and `from_pretrained` loads them.

        Raises:
            FacecycleError: the weights are gone or changed, or the folder cannot be written.
        """
        from facecycle.checkpoints.shared_folder import write_folder

        write_folder(self._runtime.weights, Path(folder))

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> str:
        """Put what `save_pretrained` writes into a repository of the Hugging Face hub; return the commit's address.

        Args:
            repository: `OWNER/NAME`, which is made if need be.
            private: make it private, where it is new.
            revision: branch, which is made if need be; None is the main one.
            token: that may write there; None takes that of `hf auth login`.

        Raises:
            FacecycleError: the weights are gone, or the hub refuses them or cannot be reached.
        """
        from facecycle.checkpoints.hub import push

        return push(self._runtime.weights, repository, private=private, revision=revision, token=token)

    def translate(
        self,
        image: ImageSource,
        driver: ImageSource | None = None,
        *,
        face: int = 1,
        crop: str | None = None,
        detector: str = DEFAULT,
        strength: float = 1.0,
        seed: int = 0,
    ) -> Translated:
        """Make the pictures of a photograph's face: frontal, neutral, mean face and so on, by name.

        Args:
            image: the photograph.
            driver: a second photograph, to swap expression and identity of its largest face with.
            face: which face of the photograph; 1 is the largest.
            crop: `x,y,w,h` in pixels of the upright `image`, instead of a detector.
            detector: what finds the faces; `centre` takes the middle square.
            strength: factor of the motion, from 0, which leaves every pixel as it is, to 1.5.
            seed: of the generator's noise; one seed gives the same pictures again.

        Returns:
            RGB pictures by name. `pasted` is the photograph with the moved face in it, `frontal` and `reexpressed`
            have the face's own resolution, and the `panels` have `size` x `size` pixels.

        Raises:
            FacecycleError: an image cannot be read, shows no such face, or the crop leaves it; or the strength is not
                from 0 to 1.5, or changes nothing.
        """
        return self._translated(image, driver, face, crop, detector, strength, seed)[0]

    def translate_all(
        self,
        image: ImageSource,
        driver: ImageSource | None = None,
        *,
        detector: str = DEFAULT,
        strength: float = 1.0,
        seed: int = 0,
    ) -> list[Translated]:
        """Make the pictures of all faces of a photograph, the largest first; see `translate`.

        `pasted` is the photograph with all of them moved.
        """
        return self._translated(image, driver, ALL, None, detector, strength, seed)

    def _translated(
        self,
        image: ImageSource,
        driver: ImageSource | None,
        which: int | str,
        crop: str | None,
        detector: str,
        strength: float,
        seed: int,
    ) -> list[Translated]:
        check_motion((), strength)
        names, _ = names_of(self._runtime, driver is not None)
        refuse_strengths(self._runtime, names, [strength])
        other = None if driver is None else find_driver(driver, detector, self.size)
        region = None if crop is None else parse_crop(crop)
        faces = find_faces(read_photograph(image), finder(detector, region), which, self.size)
        rows = [Row("", "", found, other) for found in faces]
        return [
            Translated({n: to_pil(p) for n, p in made.by_name.items()}, made.row.face.face, made.row.face.doubts)
            for made in pictures_of(self._runtime, rows, names, strength, seed)
        ]

    def embed(self, images: ImageSource | Sequence[ImageSource]) -> np.ndarray:
        """Return the first code of faces, float32 (n, D), which is FaceCycle's expression code; see `features`."""
        return self.features(images, self._runtime.codes[0])

    def features(self, images: ImageSource | Sequence[ImageSource], name: str) -> np.ndarray:
        """Return a feature of faces, float32 (n, D).

        Args:
            images: one image, or several.
            name: `expression` or `identity`, codes of 256 numbers in (-1, 1); `conv` or `identity_conv`, the
                flattened feature maps before them. Linear probes read most from `conv`.

        Raises:
            FacecycleError: an image cannot be read, the checkpoint has no such feature, or it is not finite.
        """
        if name not in self.feature_names:
            hint = did_you_mean(name, self.feature_names) or f"Features: {', '.join(self.feature_names)}."
            raise ConfigError(f"these weights have no feature {name!r}", hint=hint)
        several = [images] if isinstance(images, str | os.PathLike | Image.Image | np.ndarray) else images
        if not len(several):
            raise DataError("there are no images to compute features of")
        (found,) = self._runtime.embed(np.stack([read_square_array(image, self.size) for image in several]), [name])
        refuse_non_finite(name, found)
        return found
