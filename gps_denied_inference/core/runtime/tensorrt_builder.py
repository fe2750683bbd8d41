"""Compiles ONNX models with TensorRT."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_denied_inference.core.atomic_files import write_atomically
from gps_denied_inference.core.contracts import BuildConfig, OptimizationProfile, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, OutOfMemoryError
from gps_denied_inference.core.runtime.device_memory import DeviceStream
from gps_denied_inference.core.runtime.tensorrt_binding import TensorrtBinding
from gps_denied_inference.core.runtime.tensorrt_calibration import (
    Calibration,
    CalibrationCache,
    make_calibrator,
    read_calibration_set,
)
from gps_denied_inference.core.runtime.tensorrt_logger import TensorrtReportedError, collected_sentences, process_logger
from gps_denied_inference.core.runtime.tensorrt_options import TensorrtBuildOptions
from gps_denied_inference.core.runtime.tensorrt_profiles import dynamic_inputs, require_profiles
from gps_denied_inference.core.runtime.tensorrt_progress import BuildProgress, make_progress_monitor

__all__ = ["PlanSource", "build_plan"]


@dataclass(frozen=True, slots=True)
class PlanSource:
    """An ONNX model.

    Attributes:
        path: of the file; external weights lie beside it.
        content: its bytes.
    """

    path: Path
    content: bytes


def build_plan(
    binding: TensorrtBinding,
    source: PlanSource,
    build_config: BuildConfig,
    options: TensorrtBuildOptions,
    progress: BuildProgress,
    make_stream: Callable[[], DeviceStream],
) -> bytes:
    """Compile a model. Takes from a fraction of a second (TensorRT for RTX, ahead of time) to minutes.

    Networks are strongly typed: the arithmetic is that of the ONNX file, and INT8 is said by its Q/DQ nodes. Only a
    calibration, where TensorRT still has it, takes a weakly typed one.

    Args:
        binding: TensorRT.
        source: the model.
        build_config: precision and profiles.
        options: the rest of its `extras`.
        progress: listens, and may cancel.
        make_stream: opens the GPU; called for a calibration alone.

    Returns:
        The serialized engine.

    Raises:
        EngineBuildError: TensorRT refused the model (its cause holds TensorRT's sentences), the configuration does not
            fit the model, or the build was cancelled.
        CalibrationCacheError: the calibration cache is not to be trusted.
        OutOfMemoryError: the workspace does not fit the GPU.
    """
    module = binding.module
    is_calibrated = options.calibration_images is not None
    if is_calibrated:
        _require_calibration(binding, build_config.precision)
    logger = process_logger(module)
    with collected_sentences(logger) as sentences:
        builder = _made(module.Builder(logger), f"{binding.title} cannot build here", sentences)
        network = binding.create_network(builder, is_strongly_typed=not is_calibrated)
        _parse(module, network, logger, source, sentences)
        if not is_calibrated:
            _require_precision(binding, network, build_config.precision, source.path)
        config = builder.create_builder_config()
        config.progress_monitor = make_progress_monitor(module, progress)
        if options.workspace_mib:
            binding.set_workspace_limit(config, options.workspace_mib * 1024**2)
        if options.sms:
            binding.set_compute_capabilities(config, options.sms)
        require_profiles(network, build_config.profiles, source.path)
        profile = _add_profiles(builder, config, build_config.profiles)
        cache_path = options.timing_cache if binding.has_timing_cache else None
        if cache_path is not None:
            _set_timing_cache(config, cache_path)
        calibration = None
        if is_calibrated:
            calibration = _calibration(network, build_config, options, source, make_stream)
            binding.allow_precision(config, build_config.precision)
            config.int8_calibrator = make_calibrator(module, calibration)
            if profile is not None:
                config.set_calibration_profile(profile)
        try:
            sentences.clear()  # what was told so far, of a broken timing cache say, did not stop us
            serialized = builder.build_serialized_network(network, config)
        finally:
            if calibration is not None:
                calibration.close()
        if serialized is not None:
            progress.complete()
        _require_finished(progress, calibration, source.path)
        plan = bytes(_made(serialized, f"{binding.title} cannot build {source.path}", sentences))
        if calibration is not None:
            calibration.save()
        if cache_path is not None:
            write_atomically(cache_path, bytes(config.get_timing_cache().serialize()))
        return plan


def _made(thing: Any, failed: str, sentences: list[str]) -> Any:
    if thing is not None:
        return thing
    said = TensorrtReportedError(sentences)
    if said.is_out_of_memory:
        raise OutOfMemoryError(f"{failed}: out of memory. Release other engines or give less workspace_mib") from said
    raise EngineBuildError(f"{failed}: {said.first}") from said


def _parse(module: Any, network: Any, logger: Any, source: PlanSource, sentences: list[str]) -> None:
    parser = module.OnnxParser(network, logger)
    if parser.parse(source.content, str(source.path)):
        # Bytes of other files can happen to be an empty model.
        if network.num_inputs and network.num_outputs:
            return
        raise EngineBuildError(
            f"TensorRT finds no network in {source.path}: it has {network.num_inputs} inputs and "
            f"{network.num_outputs} outputs. Give an ONNX model"
        ) from TensorrtReportedError(sentences)
    problems = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        place = f"node {error.node()} {error.node_operator()} '{error.node_name()}': " if error.node() >= 0 else ""
        problems.append(place + error.desc())
    raise EngineBuildError(
        f"TensorRT cannot read {source.path}: {'; '.join(problems) or 'no reason given'}. Export the model again"
    ) from TensorrtReportedError(sentences or problems)


def _require_calibration(binding: TensorrtBinding, precision: PrecisionMode) -> None:
    if not binding.has_calibration:
        raise EngineBuildError(
            f"{binding.title} has no calibrators: its networks are strongly typed. Leave calibration_images out and "
            "give an ONNX model with Q/DQ nodes"
        )
    if precision not in (PrecisionMode.INT8, PrecisionMode.MIXED):
        raise EngineBuildError(f"calibration is for int8 and mixed, not for {precision.value}; leave out its images")


def _require_precision(binding: TensorrtBinding, network: Any, precision: PrecisionMode, path: Path) -> None:
    """A strongly typed network computes as the file says; what was asked for must be that."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    is_quantized = any(binding.is_quantization(layer) for layer in layers)
    half = binding.module.DataType.HALF
    is_half = any(layer.get_output(index).dtype == half for layer in layers for index in range(layer.num_outputs))
    if precision is PrecisionMode.MIXED:
        if not is_quantized and not is_half:
            raise EngineBuildError(f"{path} is all float32, not mixed; ask for fp32, or export it with lower precision")
        return
    found = PrecisionMode.INT8 if is_quantized else PrecisionMode.FP16 if is_half else PrecisionMode.FP32
    if found is not precision:
        hint = " (INT8 wants Q/DQ nodes)" if precision is PrecisionMode.INT8 else ""
        raise EngineBuildError(
            f"{path} was exported in {found.value}, not {precision.value}{hint}; export it again or ask for "
            f"{found.value}: TensorRT computes in the precision of the file"
        )


def _add_profiles(builder: Any, config: Any, profiles: tuple[OptimizationProfile, ...]) -> Any:
    """Make of the ranges one profile of TensorRT's; None when every shape is fixed."""
    if not profiles:
        return None
    profile = builder.create_optimization_profile()
    for item in profiles:
        profile.set_shape(item.input_name, item.min_shape, item.opt_shape, item.max_shape)
    config.add_optimization_profile(profile)
    return profile


def _set_timing_cache(config: Any, path: Path) -> None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise EngineBuildError(
            f"cannot read the timing cache {path} ({error.strerror}); give another path or leave it out"
        ) from error
    cache = config.create_timing_cache(content)
    # Of another GPU or version it is of no use here, and of use there.
    if cache is None or not config.set_timing_cache(cache, False):
        raise EngineBuildError(f"the timing cache {path} is of another GPU or TensorRT, or damaged; remove it")


def _calibration(
    network: Any,
    build_config: BuildConfig,
    options: TensorrtBuildOptions,
    source: PlanSource,
    make_stream: Callable[[], DeviceStream],
) -> Calibration:
    assert options.calibration_images is not None
    if network.num_inputs != 1:
        raise EngineBuildError(f"{source.path} has {network.num_inputs} inputs; calibration is for one")
    image = network.get_input(0)
    opt_shapes = {profile.input_name: profile.opt_shape for profile in build_config.profiles}
    is_dynamic = image.name in dynamic_inputs(network)
    batch_shape = tuple(opt_shapes[image.name] if is_dynamic else image.shape)
    images = read_calibration_set(options.calibration_images, batch_shape)
    path = options.calibration_cache or source.path.with_suffix(".calibration")
    cache = CalibrationCache(path, images.sha256, hashlib.sha256(source.content).hexdigest())
    return Calibration(cache, images.images, batch_shape[0], make_stream)


def _require_finished(progress: BuildProgress, calibration: Calibration | None, path: Path) -> None:
    if isinstance(progress.error, Exception):
        raise EngineBuildError(f"the build of {path} was stopped: {progress.error}") from progress.error
    if progress.error is not None:
        raise progress.error  # Ctrl-C
    if calibration is not None:
        calibration.reraise()
    if progress.was_cancelled:
        raise EngineBuildError(f"the build of {path} was cancelled; nothing was written")
