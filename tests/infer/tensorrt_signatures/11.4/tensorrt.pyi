# ruff: noqa
"""Signatures of TensorRT 11.4, of what livespot uses: read from NVIDIA's bindings, whose source is Apache-2.0."""

import collections.abc
import typing

from typing_extensions import Buffer

__version__: str

class Dims:
    @typing.overload
    def __init__(self) -> None: ...
    @typing.overload
    def __init__(self, shape: collections.abc.Sequence[typing.SupportsInt]) -> None: ...
    def __len__(self) -> int: ...

class IHostMemory:
    def __buffer__(self, flags: int) -> memoryview: ...
    @property
    def nbytes(self) -> int: ...

class INetworkDefinition: ...

class ILogger:
    class Severity:
        ERROR: typing.ClassVar[ILogger.Severity]
        INFO: typing.ClassVar[ILogger.Severity]
        INTERNAL_ERROR: typing.ClassVar[ILogger.Severity]
        VERBOSE: typing.ClassVar[ILogger.Severity]
        WARNING: typing.ClassVar[ILogger.Severity]

        def __int__(self) -> int: ...
        @property
        def name(self) -> str: ...
        @property
        def value(self) -> int: ...

    ERROR: typing.ClassVar[ILogger.Severity]
    INFO: typing.ClassVar[ILogger.Severity]
    INTERNAL_ERROR: typing.ClassVar[ILogger.Severity]
    VERBOSE: typing.ClassVar[ILogger.Severity]
    WARNING: typing.ClassVar[ILogger.Severity]

    def __init__(self) -> None: ...
    def log(self, severity: ILogger.Severity, msg: str) -> None: ...

class Logger(ILogger):
    min_severity: ILogger.Severity

    def __init__(self, min_severity: ILogger.Severity = ...) -> None: ...
    def log(self, severity: ILogger.Severity, msg: str) -> None: ...

class IOptimizationProfile:
    def set_shape(
        self,
        input: str,
        min: Dims | typing.Sequence[int],
        opt: Dims | typing.Sequence[int],
        max: Dims | typing.Sequence[int],
    ) -> None: ...

class ExecutionContextAllocationStrategy:
    ON_PROFILE_CHANGE: typing.ClassVar[ExecutionContextAllocationStrategy]
    STATIC: typing.ClassVar[ExecutionContextAllocationStrategy]
    USER_MANAGED: typing.ClassVar[ExecutionContextAllocationStrategy]

    def __int__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class IRuntimeConfig: ...

class IExecutionContext:
    def execute_async_v3(self, stream_handle: typing.SupportsInt) -> bool: ...
    @typing.overload
    def set_input_shape(self, name: str, shape: tuple) -> bool: ...
    @typing.overload
    def set_input_shape(self, name: str, shape: list) -> bool: ...
    @typing.overload
    def set_input_shape(self, name: str, shape: Dims | typing.Sequence[int]) -> bool: ...
    def set_optimization_profile_async(
        self, profile_index: typing.SupportsInt, stream_handle: typing.SupportsInt
    ) -> bool: ...
    def set_tensor_address(self, name: str, memory: typing.SupportsInt) -> bool: ...

class ICudaEngine:
    @typing.overload
    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy = ...) -> IExecutionContext: ...
    @typing.overload
    def create_execution_context(self, runtime_config: IRuntimeConfig = None) -> IExecutionContext: ...
    @property
    def num_optimization_profiles(self) -> int: ...

class IStreamReaderV2: ...

class BuilderFlag:
    DEBUG: typing.ClassVar[BuilderFlag]
    DIRECT_IO: typing.ClassVar[BuilderFlag]
    DISABLE_COMPILATION_CACHE: typing.ClassVar[BuilderFlag]
    DISABLE_TIMING_CACHE: typing.ClassVar[BuilderFlag]
    DISTRIBUTIVE_INDEPENDENCE: typing.ClassVar[BuilderFlag]
    EDITABLE_TIMING_CACHE: typing.ClassVar[BuilderFlag]
    ERROR_ON_TIMING_CACHE_MISS: typing.ClassVar[BuilderFlag]
    EXCLUDE_LEAN_RUNTIME: typing.ClassVar[BuilderFlag]
    GPU_FALLBACK: typing.ClassVar[BuilderFlag]
    MONITOR_MEMORY: typing.ClassVar[BuilderFlag]
    REFIT: typing.ClassVar[BuilderFlag]
    REFIT_IDENTICAL: typing.ClassVar[BuilderFlag]
    REFIT_INDIVIDUAL: typing.ClassVar[BuilderFlag]
    SAFETY_SCOPE: typing.ClassVar[BuilderFlag]
    SPARSE_WEIGHTS: typing.ClassVar[BuilderFlag]
    STRICT_NANS: typing.ClassVar[BuilderFlag]
    STRIP_PLAN: typing.ClassVar[BuilderFlag]
    TF32: typing.ClassVar[BuilderFlag]
    VERSION_COMPATIBLE: typing.ClassVar[BuilderFlag]
    WEIGHT_STREAMING: typing.ClassVar[BuilderFlag]

    def __int__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class HardwareCompatibilityLevel:
    AMPERE_PLUS: typing.ClassVar[HardwareCompatibilityLevel]
    NONE: typing.ClassVar[HardwareCompatibilityLevel]
    SAME_COMPUTE_CAPABILITY: typing.ClassVar[HardwareCompatibilityLevel]

    def __int__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class ITimingCache:
    def serialize(self) -> IHostMemory: ...

class IBuilderConfig:
    hardware_compatibility_level: HardwareCompatibilityLevel

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: Buffer) -> ITimingCache: ...
    def get_timing_cache(self) -> ITimingCache: ...
    def set_flag(self, flag: BuilderFlag) -> None: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...

class NetworkDefinitionCreationFlag:
    PREFER_AOT_PYTHON_PLUGINS: typing.ClassVar[NetworkDefinitionCreationFlag]
    PREFER_JIT_PYTHON_PLUGINS: typing.ClassVar[NetworkDefinitionCreationFlag]
    STRONGLY_TYPED: typing.ClassVar[NetworkDefinitionCreationFlag]

    def __int__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class Builder:
    def __init__(self, logger: ILogger) -> None: ...
    @typing.overload
    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory: ...
    @typing.overload
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig, kernel_text: typing.Any
    ) -> IHostMemory: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_network(self, flags: typing.SupportsInt = 0) -> INetworkDefinition: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...

class Runtime:
    engine_host_code_allowed: bool

    def __init__(self, logger: ILogger) -> None: ...
    @typing.overload
    def deserialize_cuda_engine(self, serialized_engine: Buffer) -> ICudaEngine: ...
    @typing.overload
    def deserialize_cuda_engine(self, stream_reader_v2: IStreamReaderV2) -> ICudaEngine: ...

class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None: ...
    def get_error(self, index: typing.SupportsInt) -> typing.Any: ...
    def parse(self, model: Buffer, path: str = None) -> bool: ...
    @property
    def num_errors(self) -> int: ...
