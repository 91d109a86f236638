from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeywordMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEYWORD_MODE_UNSPECIFIED: _ClassVar[KeywordMode]
    KEYWORD_MODE_ANY: _ClassVar[KeywordMode]
    KEYWORD_MODE_ALL: _ClassVar[KeywordMode]
    KEYWORD_MODE_PHRASE: _ClassVar[KeywordMode]
KEYWORD_MODE_UNSPECIFIED: KeywordMode
KEYWORD_MODE_ANY: KeywordMode
KEYWORD_MODE_ALL: KeywordMode
KEYWORD_MODE_PHRASE: KeywordMode

class Vector(_message.Message):
    __slots__ = ("f32", "floats", "text", "point", "sparse", "multi", "image")
    F32_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    SPARSE_FIELD_NUMBER: _ClassVar[int]
    MULTI_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    f32: bytes
    floats: Floats
    text: str
    point: str
    sparse: SparseVector
    multi: MultiVector
    image: bytes
    def __init__(self, f32: _Optional[bytes] = ..., floats: _Optional[_Union[Floats, _Mapping]] = ..., text: _Optional[str] = ..., point: _Optional[str] = ..., sparse: _Optional[_Union[SparseVector, _Mapping]] = ..., multi: _Optional[_Union[MultiVector, _Mapping]] = ..., image: _Optional[bytes] = ...) -> None: ...

class MultiVector(_message.Message):
    __slots__ = ("f32", "dim")
    F32_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    f32: bytes
    dim: int
    def __init__(self, f32: _Optional[bytes] = ..., dim: _Optional[int] = ...) -> None: ...

class SparseVector(_message.Message):
    __slots__ = ("indices", "values")
    INDICES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    indices: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, indices: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class Floats(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("id", "payload", "vectors", "version", "texts", "ttl_ms", "expires_at_ms")
    class VectorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Vector, _Mapping]] = ...) -> None: ...
    class TextsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    payload: bytes
    vectors: _containers.MessageMap[str, Vector]
    version: int
    texts: _containers.ScalarMap[str, str]
    ttl_ms: int
    expires_at_ms: int
    def __init__(self, id: _Optional[str] = ..., payload: _Optional[bytes] = ..., vectors: _Optional[_Mapping[str, Vector]] = ..., version: _Optional[int] = ..., texts: _Optional[_Mapping[str, str]] = ..., ttl_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("string", "int64", "double", "bool")
    STRING_FIELD_NUMBER: _ClassVar[int]
    INT64_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_FIELD_NUMBER: _ClassVar[int]
    BOOL_FIELD_NUMBER: _ClassVar[int]
    string: str
    int64: int
    double: float
    bool: bool
    def __init__(self, string: _Optional[str] = ..., int64: _Optional[int] = ..., double: _Optional[float] = ..., bool: bool = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("equals", "range", "not_in", "contains_all", "exists", "is_null", "prefix", "geo_radius", "geo_box", "geo_polygon", "values_count", "min_should", "has_id", "has_space", "nested", "text")
    AND_FIELD_NUMBER: _ClassVar[int]
    OR_FIELD_NUMBER: _ClassVar[int]
    NOT_FIELD_NUMBER: _ClassVar[int]
    EQUALS_FIELD_NUMBER: _ClassVar[int]
    IN_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    NOT_IN_FIELD_NUMBER: _ClassVar[int]
    CONTAINS_ALL_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    IS_NULL_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    GEO_RADIUS_FIELD_NUMBER: _ClassVar[int]
    GEO_BOX_FIELD_NUMBER: _ClassVar[int]
    GEO_POLYGON_FIELD_NUMBER: _ClassVar[int]
    VALUES_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_SHOULD_FIELD_NUMBER: _ClassVar[int]
    HAS_ID_FIELD_NUMBER: _ClassVar[int]
    HAS_SPACE_FIELD_NUMBER: _ClassVar[int]
    NESTED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    equals: Equals
    range: Range
    not_in: In
    contains_all: In
    exists: Path
    is_null: Path
    prefix: Prefix
    geo_radius: GeoRadius
    geo_box: GeoBox
    geo_polygon: GeoPolygon
    values_count: ValuesCount
    min_should: MinShould
    has_id: HasId
    has_space: HasSpace
    nested: Nested
    text: MatchesText
    def __init__(self, equals: _Optional[_Union[Equals, _Mapping]] = ..., range: _Optional[_Union[Range, _Mapping]] = ..., not_in: _Optional[_Union[In, _Mapping]] = ..., contains_all: _Optional[_Union[In, _Mapping]] = ..., exists: _Optional[_Union[Path, _Mapping]] = ..., is_null: _Optional[_Union[Path, _Mapping]] = ..., prefix: _Optional[_Union[Prefix, _Mapping]] = ..., geo_radius: _Optional[_Union[GeoRadius, _Mapping]] = ..., geo_box: _Optional[_Union[GeoBox, _Mapping]] = ..., geo_polygon: _Optional[_Union[GeoPolygon, _Mapping]] = ..., values_count: _Optional[_Union[ValuesCount, _Mapping]] = ..., min_should: _Optional[_Union[MinShould, _Mapping]] = ..., has_id: _Optional[_Union[HasId, _Mapping]] = ..., has_space: _Optional[_Union[HasSpace, _Mapping]] = ..., nested: _Optional[_Union[Nested, _Mapping]] = ..., text: _Optional[_Union[MatchesText, _Mapping]] = ..., **kwargs) -> None: ...

class FilterList(_message.Message):
    __slots__ = ("filters",)
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class Equals(_message.Message):
    __slots__ = ("path", "value")
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    path: str
    value: Value
    def __init__(self, path: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class In(_message.Message):
    __slots__ = ("path", "values")
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    path: str
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, path: _Optional[str] = ..., values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("path", "gt", "gte", "lt", "lte")
    PATH_FIELD_NUMBER: _ClassVar[int]
    GT_FIELD_NUMBER: _ClassVar[int]
    GTE_FIELD_NUMBER: _ClassVar[int]
    LT_FIELD_NUMBER: _ClassVar[int]
    LTE_FIELD_NUMBER: _ClassVar[int]
    path: str
    gt: Value
    gte: Value
    lt: Value
    lte: Value
    def __init__(self, path: _Optional[str] = ..., gt: _Optional[_Union[Value, _Mapping]] = ..., gte: _Optional[_Union[Value, _Mapping]] = ..., lt: _Optional[_Union[Value, _Mapping]] = ..., lte: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("path", "prefix")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    path: str
    prefix: str
    def __init__(self, path: _Optional[str] = ..., prefix: _Optional[str] = ...) -> None: ...

class ValuesCount(_message.Message):
    __slots__ = ("path", "gt", "gte", "lt", "lte")
    PATH_FIELD_NUMBER: _ClassVar[int]
    GT_FIELD_NUMBER: _ClassVar[int]
    GTE_FIELD_NUMBER: _ClassVar[int]
    LT_FIELD_NUMBER: _ClassVar[int]
    LTE_FIELD_NUMBER: _ClassVar[int]
    path: str
    gt: int
    gte: int
    lt: int
    lte: int
    def __init__(self, path: _Optional[str] = ..., gt: _Optional[int] = ..., gte: _Optional[int] = ..., lt: _Optional[int] = ..., lte: _Optional[int] = ...) -> None: ...

class GeoPoint(_message.Message):
    __slots__ = ("lat", "lon")
    LAT_FIELD_NUMBER: _ClassVar[int]
    LON_FIELD_NUMBER: _ClassVar[int]
    lat: float
    lon: float
    def __init__(self, lat: _Optional[float] = ..., lon: _Optional[float] = ...) -> None: ...

class GeoRadius(_message.Message):
    __slots__ = ("path", "center", "metres")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    METRES_FIELD_NUMBER: _ClassVar[int]
    path: str
    center: GeoPoint
    metres: float
    def __init__(self, path: _Optional[str] = ..., center: _Optional[_Union[GeoPoint, _Mapping]] = ..., metres: _Optional[float] = ...) -> None: ...

class GeoBox(_message.Message):
    __slots__ = ("path", "south_west", "north_east")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SOUTH_WEST_FIELD_NUMBER: _ClassVar[int]
    NORTH_EAST_FIELD_NUMBER: _ClassVar[int]
    path: str
    south_west: GeoPoint
    north_east: GeoPoint
    def __init__(self, path: _Optional[str] = ..., south_west: _Optional[_Union[GeoPoint, _Mapping]] = ..., north_east: _Optional[_Union[GeoPoint, _Mapping]] = ...) -> None: ...

class GeoPolygon(_message.Message):
    __slots__ = ("path", "corners")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CORNERS_FIELD_NUMBER: _ClassVar[int]
    path: str
    corners: _containers.RepeatedCompositeFieldContainer[GeoPoint]
    def __init__(self, path: _Optional[str] = ..., corners: _Optional[_Iterable[_Union[GeoPoint, _Mapping]]] = ...) -> None: ...

class MinShould(_message.Message):
    __slots__ = ("least", "filters")
    LEAST_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    least: int
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, least: _Optional[int] = ..., filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...

class HasId(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

class HasSpace(_message.Message):
    __slots__ = ("space",)
    SPACE_FIELD_NUMBER: _ClassVar[int]
    space: str
    def __init__(self, space: _Optional[str] = ...) -> None: ...

class Nested(_message.Message):
    __slots__ = ("path", "filter")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    path: str
    filter: Filter
    def __init__(self, path: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class MatchesText(_message.Message):
    __slots__ = ("path", "text", "mode")
    PATH_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    path: str
    text: str
    mode: KeywordMode
    def __init__(self, path: _Optional[str] = ..., text: _Optional[str] = ..., mode: _Optional[_Union[KeywordMode, str]] = ...) -> None: ...

class PayloadMask(_message.Message):
    __slots__ = ("include", "exclude")
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    include: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, include: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[str]] = ...) -> None: ...
