"""Writes the golden outputs anew: `python -m test.golden.regenerate` from the root of the tree. See README.md here."""

from __future__ import annotations

import numpy as np
import torch
from kornia.feature import XFeat

from gps_denied_inference.core.architectures import default_registry, locate_weights
from test.golden.inputs import FOLDER, golden_inputs

DESCRIPTORS_KEPT = 256  # of the best keypoints; keeps the file small


def efficientnet_lite0_grid() -> None:
    name = "efficientnet_lite0_grid"
    entry = default_registry().lookup(name)
    network = entry.build().eval()
    state = torch.load(locate_weights(entry.spec, name, None), weights_only=True)
    network.load_state_dict(entry.convert(state), strict=True)
    with torch.inference_mode():
        outputs = {key: network(torch.tensor(image)).numpy()[0] for key, image in golden_inputs(entry.spec).items()}
    np.savez_compressed(FOLDER / f"{name}.npz", allow_pickle=False, **outputs)


def xfeat() -> None:
    entry = default_registry().lookup("xfeat")
    network = XFeat(top_k=entry.spec.max_keypoints).eval()
    state = torch.load(locate_weights(entry.spec, "xfeat", None), weights_only=True)
    network.net.load_state_dict(state, strict=True)
    arrays = {}
    for key, image in golden_inputs(entry.spec).items():
        found = network.detectAndCompute(torch.tensor(image))[0]
        arrays[f"{key}_keypoints"] = found["keypoints"].numpy().astype(np.int16)
        arrays[f"{key}_scores"] = found["scores"].numpy()
        arrays[f"{key}_descriptors"] = found["descriptors"].numpy()[:DESCRIPTORS_KEPT]
    np.savez_compressed(FOLDER / "xfeat.npz", allow_pickle=False, **arrays)


if __name__ == "__main__":
    efficientnet_lite0_grid()
    xfeat()
