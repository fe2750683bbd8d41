"""Writes the golden features and matches anew: `python -m test.golden.regenerate_pairs`. See README.md here.

Features and matches are those of kornia's own `forward`, which shares no code with our selection, padding and
attention.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from kornia.feature import ALIKED, DISK, LightGlue, XFeat

from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.runtime.torch_checkpoint import load_published, state_dict_from_bytes
from test.golden.inputs import FOLDER, golden_pair

KEYPOINTS_KEPT = 128
MATCHERS = {"lightglue_aliked": "aliked_n16", "lightglue_disk": "disk", "lighterglue_xfeat": "xfeat"}


def published(name: str) -> Any:
    entry = default_registry().lookup(name)
    path = locate_weights(entry.spec, name, None)
    module = entry.build().eval()
    load_published(module, entry, state_dict_from_bytes(path.read_bytes(), path.suffix, name))
    return module


def features(name: str, image: torch.Tensor) -> dict[str, np.ndarray[Any, Any]]:
    state = published(name).state_dict()
    if name == "xfeat":
        xfeat = XFeat(top_k=KEYPOINTS_KEPT).eval()
        xfeat.load_state_dict(state)
        found = xfeat.detectAndCompute(image)[0]
        keypoints, scores, descriptors = found["keypoints"], found["scores"], found["descriptors"]
    elif name == "disk":
        disk = DISK().eval()
        disk.load_state_dict(state)
        result = disk(image, n=KEYPOINTS_KEPT)[0]
        keypoints, scores, descriptors = result.keypoints, result.detection_scores, result.descriptors
    else:
        aliked = ALIKED(name.replace("_", "-"), max_num_keypoints=KEYPOINTS_KEPT).eval()
        aliked.load_state_dict(state, strict=False)  # all but the constants of the detection
        result = aliked(image)[0]
        keypoints, scores, descriptors = result.keypoints, result.keypoint_scores, result.descriptors
    order = scores.argsort(descending=True, stable=True)
    return {
        "keypoints": keypoints[order].numpy().astype(np.float32),
        "scores": scores[order].numpy().astype(np.float32),
        "descriptors": descriptors[order].numpy().astype(np.float16),
    }


def matches(name: str, first: dict[str, np.ndarray[Any, Any]], second: dict[str, np.ndarray[Any, Any]]) -> Any:
    module = published(name)
    settings = vars(module.net.conf) | {"depth_confidence": -1, "width_confidence": -1, "flash": False}
    network = LightGlue(features=None, **settings).eval()
    network.load_state_dict(module.net.state_dict())
    size = torch.tensor([golden_pair()["crop"].shape[:1:-1]])
    inputs = [
        {
            "keypoints": torch.tensor(item["keypoints"])[None],
            "descriptors": torch.tensor(item["descriptors"].astype(np.float32))[None],
            "image_size": size,
        }
        for item in (first, second)
    ]
    return network({"image0": inputs[0], "image1": inputs[1]})["matches0"][0].numpy().astype(np.int16)


def main() -> None:
    torch.set_grad_enabled(False)
    pair = {key: torch.tensor(image) for key, image in golden_pair().items()}
    found = {}
    for name in ("disk", "aliked_n16", "aliked_n16rot", "aliked_n32", "aliked_t16", "xfeat"):
        keys = ("crop", "moved") if name in MATCHERS.values() else ("crop",)
        found[name] = {key: features(name, pair[key]) for key in keys}
        arrays = {f"{key}_{item}": values for key in keys for item, values in found[name][key].items()}
        np.savez_compressed(FOLDER / f"pair_{name}.npz", allow_pickle=False, **arrays)
    golden = {name: matches(name, *found[features_of].values()) for name, features_of in MATCHERS.items()}
    np.savez_compressed(FOLDER / "pair_matches.npz", allow_pickle=False, **golden)


if __name__ == "__main__":
    main()
