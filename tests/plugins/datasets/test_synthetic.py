"""Rendered faces show what their labels say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from facecycle_plugins.datasets.synthetic import SyntheticDataset, SyntheticOptions
from facecycle_plugins.datasets.synthetic.faces import (
    EXPRESSIONS,
    Faces,
    draw_frame,
    draw_identity,
    draw_scene,
    motion_of,
    neutral,
    stack,
)
from facecycle_plugins.datasets.synthetic.render import render
from torch import Tensor

from facecycle.registry import build


def faces(count: int = 6) -> Faces:
    """Different people, straight ahead, without expression."""
    people = [draw_identity(0, n) for n in range(count)]
    drawn = neutral(stack([{**people[n], **draw_scene(0, n, 0), **draw_frame(0, n, 0)} for n in range(count)]))
    return dataclasses.replace(drawn, place=torch.tensor([[0.0, 0.0, 0.74]]).expand(count, 3))


def posed(pitch: float = 0, yaw: float = 0, roll: float = 0) -> Tensor:
    front = faces()
    return render(dataclasses.replace(front, pose=torch.tensor([[pitch, yaw, roll]]).expand(len(front), 3)), 64)


def change(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute change of each pixel (64, 64) over faces and colours."""
    return (a.float() - b.float()).abs().mean(dim=(0, 1))


def small(**options: int) -> SyntheticDataset:
    return SyntheticDataset(
        SyntheticOptions(**{"identities": 6, "test_identities": 20, "takes": 2, "frames": 2, **options})
    )


def test_one_seed_gives_one_picture_whatever_is_rendered_with_it() -> None:
    dataset = small()
    together, _ = dataset.images(range(104), 48)
    alone, _ = small().images([40], 48)
    # One level of 255 at most: matrix products round by the number of faces that are rendered together.
    assert (together[40].int() - alone[0].int()).abs().max() <= 1
    assert not torch.equal(small(seed=1).images([40], 48)[0][0], alone[0])


def test_training_and_test_people_differ_whatever_the_sizes() -> None:
    def people(dataset: SyntheticDataset, first: int, count: int) -> set[bytes]:
        shapes, _ = dataset._drawn
        per = dataset.options.takes * dataset.options.frames
        return {shapes.shape[p * per].numpy().tobytes() for p in range(first, first + count)}

    few, many = small(), small(identities=30)
    assert people(few, 0, 6) < people(many, 0, 30)
    assert people(few, 6, 20) == people(many, 30, 20)
    assert not people(many, 0, 30) & people(many, 30, 20)
    trained = {f for t in few.tracks() for f in t.frames}
    labels = few.labelled("pose")
    assert trained == set(labels.frames[labels.folds < 0].tolist())  # type: ignore[union-attr]


def mirrored(faces: Faces) -> Faces:
    """Return the parameters of the mirror images: yaw and roll change sign, and so does all that lies left."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    blobs = faces.blobs.clone()
    blobs[..., 0] = -blobs[..., 0]
    return dataclasses.replace(
        faces,
        pose=faces.pose * torch.tensor([1.0, -1.0, -1.0]),
        gaze=-faces.gaze,
        place=faces.place * flip,
        light=faces.light * flip,
        blobs=blobs,
    )


def test_mirrored_parameters_give_the_mirror_image() -> None:
    drawn = stack([{**draw_identity(0, n), **draw_scene(0, n, 1), **draw_frame(0, n, 3)} for n in range(4)])
    # Shading along the hair's strands is the one thing that is not symmetric.
    picture = render(drawn, 64)
    as_parameters = change(render(mirrored(drawn), 64), picture.flip(-1)).mean()
    assert as_parameters < 0.1 * change(picture, picture.flip(-1)).mean()


def test_a_take_keeps_its_scene_and_verification_never_pairs_frames_of_one() -> None:
    dataset = small()
    pixels, _ = dataset.images([0, 1, 2], 64)
    corner = pixels[:, :, :4, :4].float()
    assert (corner[0] - corner[1]).abs().max() <= 1
    assert (corner[0] - corner[2]).abs().mean() > 5
    pairs = dataset.labelled("verify")
    takes = np.stack([pairs.first, pairs.second]) // dataset.options.frames  # type: ignore[union-attr]
    assert (takes[0] != takes[1]).all()


def eye_column(pixels: Tensor) -> Tensor:
    """Centre of what changes between open and wide eyes: where the eyes are, in columns."""
    weights = pixels.sum(0)
    return (weights * torch.arange(64)).sum() / weights.sum()


@pytest.mark.parametrize(("yaw", "side"), [(35.0, 1), (-35.0, -1)])
def test_positive_yaw_turns_the_face_to_the_right_of_the_image(yaw: float, side: int) -> None:
    def eyes(angle: float) -> Tensor:
        front = faces()
        turned = dataclasses.replace(front, pose=torch.tensor([[0.0, angle, 0.0]]).expand(len(front), 3))
        closed = dataclasses.replace(turned, motion=turned.motion * torch.tensor([1, 1, 0.3, 1, 1, 1, 1, 1]))
        return eye_column(change(render(turned, 64), render(closed, 64)))

    assert (eyes(yaw) - eyes(0)) * side > 4


def test_positive_pitch_looks_up() -> None:
    def mouth(angle: float) -> Tensor:
        front = faces()
        turned = dataclasses.replace(front, pose=torch.tensor([[angle, 0.0, 0.0]]).expand(len(front), 3))
        smiling = dataclasses.replace(turned, motion=motion_of(1, 1.0).expand(len(front), 8))
        weights = change(render(turned, 64), render(smiling, 64))[36:].sum(1)
        return (weights * torch.arange(len(weights))).sum() / weights.sum()

    assert mouth(20) < mouth(0) - 1


def test_roll_turns_the_picture_clockwise() -> None:
    front, rolled = posed()[:, :, 8:44, 14:50].float(), posed(roll=20)
    angle = torch.tensor(20.0).deg2rad()
    # grid_sample maps output to input, y down: this matrix turns the picture back.
    matrix = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    grid = F.affine_grid(matrix.expand(len(rolled), 2, 3), list(rolled.shape), align_corners=False)
    back = F.grid_sample(rolled.float(), grid, align_corners=False)[:, :, 8:44, 14:50]
    unturned = (rolled[:, :, 8:44, 14:50].float() - front).abs().mean()
    assert (back - front).abs().mean() < 0.5 * unturned


def test_light_brightens_the_side_it_comes_from() -> None:
    front = faces()
    left = dataclasses.replace(front, light=torch.tensor([[-0.8, 0.0, 0.6]]).expand(len(front), 3))
    right = dataclasses.replace(front, light=torch.tensor([[0.8, 0.0, 0.6]]).expand(len(front), 3))
    difference = (render(left, 64).float() - render(right, 64).float()).mean(dim=(0, 1))
    assert difference[20:44, 14:26].mean() > 20
    assert difference[20:44, 38:50].mean() < -20


@pytest.mark.parametrize("expression", range(1, 7), ids=EXPRESSIONS[1:])
def test_each_expression_shows_in_eyes_brows_or_mouth_alone(expression: int) -> None:
    front = faces()
    shown = dataclasses.replace(front, motion=motion_of(expression, 1.0).expand(len(front), 8))
    difference = change(render(front, 64), render(shown, 64))
    assert difference[18:56, 18:46].mean() > 1
    outside = difference.clone()
    outside[12:58, 12:52] = 0
    assert outside.max() == 0


def test_true_neutral_faces_keep_person_and_scene() -> None:
    dataset = small()
    straight = dataset.neutral_images([0, 1, 2], 64)
    assert straight.shape == (3, 3, 64, 64)
    # Three takes of one person: the faces agree but for light and place.
    crop = straight[:, :, 20:44, 20:44].float()
    others = dataset.neutral_images([4, 8, 12], 64)[:, :, 20:44, 20:44].float()
    assert (crop[0] - crop[1]).abs().mean() < (crop[0] - others).abs().mean(dim=(1, 2, 3)).max()


def test_the_registered_default_is_large_enough_to_train_on() -> None:
    assert len(build("dataset", "synthetic").tracks()) == 1200
