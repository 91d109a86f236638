from . import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOMMEND_STRATEGY_UNSPECIFIED: _ClassVar[RecommendStrategy]
    RECOMMEND_STRATEGY_AVERAGE: _ClassVar[RecommendStrategy]
    RECOMMEND_STRATEGY_BEST_SCORE: _ClassVar[RecommendStrategy]

class DecayCurve(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECAY_CURVE_UNSPECIFIED: _ClassVar[DecayCurve]
    DECAY_CURVE_EXP: _ClassVar[DecayCurve]
    DECAY_CURVE_GAUSS: _ClassVar[DecayCurve]
    DECAY_CURVE_LINEAR: _ClassVar[DecayCurve]
RECOMMEND_STRATEGY_UNSPECIFIED: RecommendStrategy
RECOMMEND_STRATEGY_AVERAGE: RecommendStrategy
RECOMMEND_STRATEGY_BEST_SCORE: RecommendStrategy
DECAY_CURVE_UNSPECIFIED: DecayCurve
DECAY_CURVE_EXP: DecayCurve
DECAY_CURVE_GAUSS: DecayCurve
DECAY_CURVE_LINEAR: DecayCurve

class Recommend(_message.Message):
    __slots__ = ("positive", "negative", "space", "strategy")
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    positive: _containers.RepeatedCompositeFieldContainer[_common_pb2.Vector]
    negative: _containers.RepeatedCompositeFieldContainer[_common_pb2.Vector]
    space: str
    strategy: RecommendStrategy
    def __init__(self, positive: _Optional[_Iterable[_Union[_common_pb2.Vector, _Mapping]]] = ..., negative: _Optional[_Iterable[_Union[_common_pb2.Vector, _Mapping]]] = ..., space: _Optional[str] = ..., strategy: _Optional[_Union[RecommendStrategy, str]] = ...) -> None: ...

class Decay(_message.Message):
    __slots__ = ("path", "curve", "number", "time", "place", "scale", "offset", "decay")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    path: str
    curve: DecayCurve
    number: float
    time: str
    place: _common_pb2.GeoPoint
    scale: float
    offset: float
    decay: float
    def __init__(self, path: _Optional[str] = ..., curve: _Optional[_Union[DecayCurve, str]] = ..., number: _Optional[float] = ..., time: _Optional[str] = ..., place: _Optional[_Union[_common_pb2.GeoPoint, _Mapping]] = ..., scale: _Optional[float] = ..., offset: _Optional[float] = ..., decay: _Optional[float] = ...) -> None: ...

class Adjustment(_message.Message):
    __slots__ = ("filter", "decay", "weight")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    filter: _common_pb2.Filter
    decay: Decay
    weight: float
    def __init__(self, filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., decay: _Optional[_Union[Decay, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...

class Boost(_message.Message):
    __slots__ = ("adjustments", "candidates")
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    adjustments: _containers.RepeatedCompositeFieldContainer[Adjustment]
    candidates: int
    def __init__(self, adjustments: _Optional[_Iterable[_Union[Adjustment, _Mapping]]] = ..., candidates: _Optional[int] = ...) -> None: ...

class Mmr(_message.Message):
    __slots__ = ("space", "candidates")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    space: str
    candidates: int
    def __init__(self, space: _Optional[str] = ..., candidates: _Optional[int] = ..., **kwargs) -> None: ...
