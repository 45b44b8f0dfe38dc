"""Tiny data sets in the real layouts, one writer a kind, each large enough to be probed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from helpers.common import picture
from scipy.io import savemat

from facecycle.data.shards.write import write_shards
from facecycle.registry import build


def tracks(folder: Path) -> Path:
    for number in range(6):
        picture(folder / f"id{number // 4}" / f"clip{number // 2}" / f"{number}.jpg", number)
    return folder


def voxceleb(folder: Path) -> Path:
    for number in range(12):
        picture(folder / f"id{number // 8}" / "1.6" / f"clip{number // 4}" / "0" / f"{number}.jpg", number)
    return folder


def class_folders(folder: Path) -> Path:
    for number in range(20):
        picture(folder / ("happy", "sad")[number % 2] / f"S{number // 2:03d}_{number}.png", number)
    return folder


def raf_db(folder: Path) -> Path:
    lines = []
    for number in range(24):
        stem = f"{('train', 'test')[number % 2]}_{number:05d}"
        picture(folder / "Image" / "aligned" / f"{stem}_aligned.jpg", number)
        lines.append(f"{stem}.jpg {number // 2 % 3 + 1}\n")
    (folder / "EmoLabel").mkdir()
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines))
    return folder


def fer2013(folder: Path) -> Path:
    lines = ["emotion,pixels,Usage"]
    for number in range(24):
        pixels = " ".join([str(10 * number)] * 48 * 48)
        lines.append(f"{number // 2 % 3},{pixels},{('Training', 'PrivateTest')[number % 2]}")
    folder.mkdir(exist_ok=True)
    (folder / "fer2013.csv").write_text("\n".join(lines))
    return folder / "fer2013.csv"


def ferplus(folder: Path) -> Path:
    images = fer2013(folder).read_text().splitlines()
    votes = ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    for number, row in enumerate(images[1:]):
        counts = [9 if emotion == number // 2 % 3 else 0 for emotion in range(10)]
        votes.append(f"{row.rpartition(',')[2]},fer{number:07d}.png,{','.join(map(str, counts))}")
    (folder / "fer2013new.csv").write_text("\n".join(votes))
    return folder


def affectnet(folder: Path) -> Path:
    for number in range(24):
        split = folder / ("train_set", "val_set")[number % 2]
        picture(split / "images" / f"{number}.jpg", number)
        (split / "annotations").mkdir(exist_ok=True)
        np.save(split / "annotations" / f"{number}_exp.npy", str(number // 2 % 3))
    return folder


def ck_plus(folder: Path) -> Path:
    for person in range(8):
        for sequence, emotion in (("001", 1), ("002", 5)):
            name = f"S{person:03d}/{sequence}"
            for number in range(1, 5):
                picture(
                    folder / "cohn-kanade-images" / name / f"{number:08d}.png", 100 * person + 10 * emotion + number
                )
            (folder / "Emotion" / name).mkdir(parents=True)
            (folder / "Emotion" / name / "00000004_emotion.txt").write_text(f"   {emotion}.0000000e+00\n")
    return folder


def expw(folder: Path) -> Path:
    rows = []
    for number in range(24):
        picture(folder / "image" / "origin" / f"{number}.jpg", number)
        rows.append(f"{number}.jpg 0 2 2 20 20 9.5 {number % 3}\n")
    (folder / "label").mkdir()
    (folder / "label" / "label.lst").write_text("".join(rows))
    return folder


def jaffe(folder: Path) -> Path:
    for number in range(20):
        person, emotion = "ABCDEFGHIJ"[number // 2], ("AN", "HA")[number % 2]
        picture(folder / f"K{person}.{emotion}1.{number}.tiff", number)
    return folder


def kdef(folder: Path) -> Path:
    for number in range(20):
        session = f"AF{number // 2:02d}"
        picture(folder / session / f"{session}{('AF', 'HA')[number % 2]}S.JPG", number)
    return folder


def pose_csv(folder: Path) -> Path:
    lines = ["file,pitch_deg,yaw_deg,roll_deg"]
    for number in range(10):
        picture(folder / f"p{number}" / "0.jpg", number)
        lines.append(f"p{number}/0.jpg,{number},{-number},{0.5 * number}")
    (folder / "pose.csv").write_text("\n".join(lines))
    return folder / "pose.csv"


def _landmark_pose(folder: Path, stem: str) -> None:
    for number in range(6):
        image = picture(folder / f"{stem}_{number}_0.jpg", number)
        content = {"Pose_Para": np.full((1, 7), 0.1 * number), "pt2d": np.array([[4, 20], [4, 20 - number]])}
        savemat(image.with_suffix(".mat"), content)


def three_hundred_w_lp(folder: Path) -> Path:
    _landmark_pose(folder / "AFW", "AFW")
    return folder


def aflw2000(folder: Path) -> Path:
    _landmark_pose(folder, "image")
    return folder


def biwi(folder: Path) -> Path:
    for number in range(12):
        image = picture(folder / f"{number // 2 + 1:02d}" / f"frame_{number:05d}_rgb.png", number)
        pose = image.with_name(image.name.replace("rgb.png", "pose.txt"))
        pose.write_text("1 0 0\n0 1 0\n0 0 1\n\n0 0 900\n")
    return folder


def identity_folders(folder: Path) -> Path:
    for person in range(20):
        for number in range(2):
            picture(folder / f"s{person}" / f"{number}.pgm", 2 * person + number)
    return folder


def lfw(folder: Path) -> Path:
    for number in range(8):
        person = ("Ann", "Bob", "Cy", "Di")[number // 2]
        picture(folder / person / f"{person}_{number % 2 + 1:04d}.jpg", number)
    folds = "Ann\t1\t2\nAnn\t1\tBob\t1\nCy\t1\t2\nCy\t1\tDi\t2\n"
    (folder / "pairs.txt").write_text("2\t1\n" + folds)
    return folder


def cplfw(folder: Path, name: str = "pairs_CPLFW.txt") -> Path:
    lines = []
    for number in range(40):
        a, b = f"{number}_1.jpg", f"{number}_2.jpg"
        picture(folder / a, number), picture(folder / b, 50 + number)
        lines += [f"{a} {number % 2}\n", f"{b} {number % 2}\n"]
    (folder / name).write_text("".join(lines))
    return folder


def calfw(folder: Path) -> Path:
    return cplfw(folder, "pairs_CALFW.txt")


def celeba(folder: Path) -> Path:
    for number in range(60):
        picture(folder / f"{number + 1:06d}.jpg", number)
    rows = "".join(f"{number + 1:06d}.jpg {number % 20}\n" for number in range(60))
    (folder / "identity_CelebA.txt").write_text(rows)
    return folder


def insightface_bin(folder: Path) -> Path:
    images = [picture(folder / f"{number}.jpg", number, (112, 112)).read_bytes() for number in range(80)]
    (folder / "lfw.bin").write_bytes(pickle.dumps((images, [True, True, False, False] * 10)))
    return folder / "lfw.bin"


def shards(folder: Path) -> Path:
    source = build("dataset", "tracks", {"path": str(tracks(folder / "source"))})
    write_shards(source, folder / "shards", 40, 0.02)
    return folder / "shards"


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "tracks": tracks,
    "turned": tracks,
    "voxceleb": voxceleb,
    "class-folders": class_folders,
    "raf-db": raf_db,
    "fer2013": fer2013,
    "ferplus": ferplus,
    "affectnet": affectnet,
    "ck-plus": ck_plus,
    "expw": expw,
    "jaffe": jaffe,
    "kdef": kdef,
    "pose-csv": pose_csv,
    "300w-lp": three_hundred_w_lp,
    "aflw2000": aflw2000,
    "biwi": biwi,
    "identity-folders": identity_folders,
    "lfw": lfw,
    "cplfw": cplfw,
    "calfw": calfw,
    "celeba": celeba,
    "insightface-bin": insightface_bin,
    "shards": shards,
}
