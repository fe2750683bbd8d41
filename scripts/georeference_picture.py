"""Gives an orthophoto its place again: `python scripts/georeference_picture.py FRAMES PICTURE FOLDER`.

The centre of each frame is found in the picture with SIFT, which is none of the networks that are judged on the map; a
north-up scale and place are then fitted to the frames' GPS positions. Writes `map.tif` and `positions.csv`, which
`gdi eval` takes: positions as the frames have them, one scale for all frames, and their headings, by 180 degrees
corrected where a frame lies the other way round in the picture. Prints the residuals.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gps_denied_inference.core.evaluation import read_positions

WORKING_WIDTH_PX = 1000
FEWEST_INLIERS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    frames = read_positions(options.frames)
    zone = math.floor((frames[0].longitude_deg + 180) / 6) + 1
    crs = CRS.from_epsg((32600 if frames[0].latitude_deg >= 0 else 32700) + zone)
    east, north = transform(
        "EPSG:4326", crs, [frame.longitude_deg for frame in frames], [frame.latitude_deg for frame in frames]
    )
    picture = cv2.imread(str(options.picture))
    sift = cv2.SIFT_create(12000)
    map_points, map_descriptors = sift.detectAndCompute(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), None)
    centers, scales, places, turns = [], [], [], {}
    for index, frame in enumerate(frames):
        found = center_in_picture(frame.path, sift, map_points, map_descriptors)
        if found is None:
            print(f"{frame.path.name}: not found in the picture")
            continue
        center, scale, turns[frame.path.name] = found
        centers.append(center)
        scales.append(scale)
        places.append((east[index], north[index]))
    # east = west + m * column, north = top - m * row: three unknowns.
    rows, values = [], []
    for (column, row), (x, y) in zip(centers, places, strict=True):
        rows += [[column + 0.5, 1, 0], [-(row + 0.5), 0, 1]]
        values += [x, y]
    (meters, west, top), *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    residuals = (np.array(rows) @ [meters, west, top] - values).reshape(-1, 2)
    lengths = np.hypot(*residuals.T)
    print(
        f"{len(centers)} of {len(frames)} frames, residuals: median {np.median(lengths):.2f} m, "
        f"max {lengths.max():.2f} m"
    )
    print(f"picture: {meters:.4f} m a pixel; frames: {meters * np.median(scales):.5f} m a pixel")
    options.folder.mkdir(parents=True, exist_ok=True)
    write_map(options.folder / "map.tif", picture, crs, rasterio.Affine(meters, 0, west, 0, -meters, top))
    with (options.folder / "positions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "lat", "lon", "yaw_deg", "meters_per_pixel"])
        for frame in frames:
            difference = abs((turns.get(frame.path.name, frame.yaw_deg) - frame.yaw_deg + 180) % 360 - 180)
            if difference > 90:
                print(f"{frame.path.name}: lies the other way round, {difference:.0f} degrees from its heading")
            yaw = (frame.yaw_deg + (180 if difference > 90 else 0)) % 360
            scale = f"{meters * np.median(scales):.5f}"
            table.writerow([frame.path.name, frame.latitude_deg, frame.longitude_deg, f"{yaw:.2f}", scale])


def write_map(path, picture, crs, place):  # type: ignore[no-untyped-def]
    height, width = picture.shape[:2]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=3,
        dtype="uint8",
        crs=crs,
        transform=place,
        compress="deflate",
    ) as file:
        file.write(np.moveaxis(picture[:, :, ::-1], 2, 0))


def center_in_picture(path, sift, map_points, map_descriptors):  # type: ignore[no-untyped-def]
    """Where a frame's centre lies in the picture, the frame's pixels in those of the picture, and its heading."""
    frame = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    reduction = WORKING_WIDTH_PX / frame.shape[1]
    small = cv2.resize(frame, None, fx=reduction, fy=reduction, interpolation=cv2.INTER_AREA)
    points, descriptors = sift.detectAndCompute(small, None)
    nearest = cv2.BFMatcher().knnMatch(descriptors, map_descriptors, k=2)
    good = [best for best, second in nearest if best.distance < 0.75 * second.distance]
    if len(good) < FEWEST_INLIERS:
        return None
    source = np.float32([points[match.queryIdx].pt for match in good])
    target = np.float32([map_points[match.trainIdx].pt for match in good])
    similarity, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=6.0)
    if similarity is None or int(inliers.sum()) < FEWEST_INLIERS:
        return None
    center = similarity @ [(small.shape[1] - 1) / 2, (small.shape[0] - 1) / 2, 1]
    turn = math.degrees(math.atan2(similarity[1, 0], similarity[0, 0]))
    return center, math.hypot(similarity[0, 0], similarity[1, 0]) * reduction, turn


if __name__ == "__main__":
    main()
