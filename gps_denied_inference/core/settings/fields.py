"""The tables of settings: what exists, with default, unit and range."""

from __future__ import annotations

from gps_denied_inference.core.contracts import PrecisionMode, ResizeMode, RuntimeLabel
from gps_denied_inference.core.settings.field import SettingField

__all__ = ["ENGINE_FIELDS", "GENERAL_FIELDS"]

GENERAL_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "engines",
        ("primary",),
        "Names of the engines to load; each has its own parameters NAME.runtime, NAME.model, ... All work on the same "
        "images; those after the first publish under their names (NAME/local_features).",
        is_read_only=True,
    ),
    SettingField(
        "weights_dir",
        "",
        "Folder searched first for MODEL.safetensors, MODEL.pt or MODEL.pth; empty: only installed weight packages.",
    ),
    SettingField(
        "engine_store",
        "",
        "Folder of the engine store that `gdi engine build` fills; empty: bare checkpoints, which need allow_ungated.",
    ),
    SettingField(
        "require_signature",
        False,
        "Refuse a store whose manifest is not signed by a key of trusted_keys.",
    ),
    SettingField(
        "trusted_keys",
        (),
        "Paths of Ed25519 public keys (PEM) whose signatures are trusted.",
    ),
    SettingField(
        "gpu_memory_budget_bytes",
        4 * 1024**3,
        "GPU memory that all engines of the process may take together, bytes; checked before anything is allocated.",
        minimum=0,
        maximum=2**40,
    ),
    SettingField(
        "fidelity_min_cosine",
        0.99,
        "Smallest cosine between the engine's descriptors and the FP32 reference's; below it the node refuses.",
        minimum=0.0,
        maximum=1.0,
    ),
    SettingField(
        "fidelity_min_repeatability",
        0.9,
        "Smallest share of the reference's keypoints that the engine finds within 3 pixels. Local features only.",
        minimum=0.0,
        maximum=1.0,
    ),
    SettingField(
        "allow_cpu_fallback",
        False,
        "Run in FP32 on the CPU when the requested device is absent. Off: such a machine refuses at configure.",
    ),
    SettingField(
        "allow_ungated",
        False,
        "Run a bare checkpoint, or an engine that the engine gate refused (desk use). Diagnostics show it.",
    ),
    SettingField(
        "enabled_runtimes",
        tuple(label.value for label in RuntimeLabel),
        "Runtimes that may be used; one that is not listed is never imported.",
        choices=tuple(label.value for label in RuntimeLabel),
    ),
    SettingField(
        "architecture_modules",
        (),
        "Python modules with a function register(registry) that adds architectures.",
    ),
    SettingField(
        "accepted_licenses",
        (),
        "Names of restricted licences of weights that your use agrees with (gdi weights list shows them). A network "
        "whose weights are under another restricted licence is refused.",
    ),
    SettingField(
        "thermal_sources",
        ("auto",),
        "Thermal sources in order of preference; auto: jtop, nvml, sysfs. An empty string: none.",
        choices=("", "auto", "jtop", "nvml", "sysfs", "scripted"),
    ),
    SettingField("thermal_timeline", "", "Path of the YAML timeline for the thermal source 'scripted'."),
    SettingField(
        "thermal_poll_hz",
        2.0,
        "How often the thermal source is read and thermal_state is published, Hz.",
        minimum=0.2,
        maximum=10.0,
    ),
    SettingField(
        "per_frame_debug_log",
        False,
        "Write one DEBUG line a frame with its latencies.",
    ),
    SettingField(
        "max_frame_age_ms",
        400.0,
        "A frame that waited longer than this since its reception is dropped as stale, ms of the steady clock.",
        minimum=1.0,
        maximum=60000.0,
        is_dynamic=True,
    ),
)
"""Settings of a whole process."""

ENGINE_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "runtime",
        RuntimeLabel.PYTORCH_FP16.value,
        "Runtime that executes the network.",
        choices=tuple(label.value for label in RuntimeLabel),
    ),
    SettingField("model", "efficientnet_lite0_grid", "Name of a registered architecture (gdi models lists them)."),
    SettingField(
        "checkpoint",
        "",
        "Path of the checkpoint (fake runtime: of its YAML script); empty: weights_dir, then installed packages. "
        "Not used with an engine_store, but by the fake runtime.",
    ),
    SettingField(
        "engine_file",
        "",
        "Name of the engine file in the store; empty: the newest one for this model, runtime, precision and computer.",
    ),
    SettingField(
        "precision",
        PrecisionMode.FP16.value,
        "Requested arithmetic.",
        choices=tuple(mode.value for mode in PrecisionMode),
    ),
    SettingField("device", "cuda:0", "Requested device: cuda:N or cpu."),
    SettingField(
        "resize_mode",
        "architecture",
        "How another aspect ratio is treated; architecture: as the architecture declares. Part of space_id.",
        choices=("architecture", *(mode.value for mode in ResizeMode)),
    ),
    SettingField(
        "onnx_providers",
        ("tensorrt", "cuda", "cpu"),
        "Execution providers of ONNX Runtime in order of preference. Runtime onnx_trt_ep only.",
        choices=("tensorrt", "cuda", "cpu"),
    ),
    SettingField(
        "intra_op_threads",
        0,
        "Threads of one operator on the CPU; 0: one for each core. Runtime onnx_trt_ep only.",
        minimum=0,
        maximum=256,
    ),
    SettingField(
        "allow_spinning",
        False,
        "Waiting threads spin instead of sleeping: faster by little, at a whole core each. Runtime onnx_trt_ep only.",
    ),
    SettingField(
        "tensorrt_flavour",
        "auto",
        "Which TensorRT loads the engine; auto: the one that built it. Runtime tensorrt only.",
        choices=("auto", "tensorrt", "tensorrt_rtx"),
    ),
    SettingField(
        "top_k",
        0,
        "Most keypoints to publish, best scores first; 0: all that the network returns. Local features only.",
        minimum=0,
        maximum=65536,
    ),
)
"""Settings of one engine, given as NAME.field."""
