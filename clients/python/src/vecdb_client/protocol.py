"""The calls of the protocol: their paths and message types. What transports, sync or not, share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from vecdb_client.pb import (
    admin_pb2,
    backup_pb2,
    collections_pb2,
    documents_pb2,
    keys_pb2,
    models_pb2,
    points_pb2,
    reembed_pb2,
    retrieval_pb2,
    search_pb2,
)

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Reply]):
    """A call, of one reply or of a stream of them. name: such as ``Points.Write``."""

    name: str
    request: type[Request]
    reply: type[Reply]

    @property
    def path(self) -> str:
        """The path that gRPC sends."""
        return f"/vecdb.v1.{self.name.replace('.', '/')}"


CREATE: Final = Method(
    "Collections.Create",
    collections_pb2.CreateCollectionRequest,
    collections_pb2.CreateCollectionResponse,
)
GET_COLLECTION: Final = Method(
    "Collections.Get",
    collections_pb2.GetCollectionRequest,
    collections_pb2.GetCollectionResponse,
)
LIST_COLLECTIONS: Final = Method(
    "Collections.List",
    collections_pb2.ListCollectionsRequest,
    collections_pb2.ListCollectionsResponse,
)
DELETE_COLLECTION: Final = Method(
    "Collections.Delete",
    collections_pb2.DeleteCollectionRequest,
    collections_pb2.DeleteCollectionResponse,
)
UPDATE_COLLECTION: Final = Method(
    "Collections.Update",
    collections_pb2.UpdateCollectionRequest,
    collections_pb2.UpdateCollectionResponse,
)
TRUNCATE: Final = Method(
    "Collections.Truncate",
    collections_pb2.TruncateCollectionRequest,
    collections_pb2.TruncateCollectionResponse,
)
CLONE: Final = Method(
    "Collections.Clone",
    collections_pb2.CloneCollectionRequest,
    collections_pb2.CloneCollectionResponse,
)
SET_ALIASES: Final = Method(
    "Collections.SetAliases", collections_pb2.SetAliasesRequest, collections_pb2.SetAliasesResponse
)
LIST_ALIASES: Final = Method(
    "Collections.ListAliases",
    collections_pb2.ListAliasesRequest,
    collections_pb2.ListAliasesResponse,
)
STATS: Final = Method(
    "Collections.Stats",
    collections_pb2.CollectionStatsRequest,
    collections_pb2.CollectionStatsResponse,
)
COMPACT: Final = Method(
    "Collections.Compact", collections_pb2.CompactRequest, collections_pb2.CompactResponse
)
WRITE: Final = Method("Points.Write", points_pb2.WriteRequest, points_pb2.WriteResponse)
WRITE_STREAM: Final = Method(
    "Points.WriteStream", points_pb2.WriteStreamRequest, points_pb2.WriteStreamResponse
)
DELETE_WHERE: Final = Method(
    "Points.DeleteWhere", points_pb2.DeleteWhereRequest, points_pb2.DeleteWhereResponse
)
PATCH_WHERE: Final = Method(
    "Points.PatchWhere", points_pb2.PatchWhereRequest, points_pb2.PatchWhereResponse
)
GET: Final = Method("Points.Get", points_pb2.GetPointsRequest, points_pb2.GetPointsResponse)
COUNT: Final = Method("Points.Count", points_pb2.CountRequest, points_pb2.CountResponse)
LIST: Final = Method("Points.List", points_pb2.ListPointsRequest, points_pb2.ListPointsResponse)
EXPORT: Final = Method("Points.Export", points_pb2.ExportRequest, points_pb2.ExportResponse)
WATCH: Final = Method("Points.Watch", points_pb2.WatchRequest, points_pb2.WatchResponse)
AGGREGATE: Final = Method(
    "Points.Aggregate", points_pb2.AggregateRequest, points_pb2.AggregateResponse
)
QUERY: Final = Method("Search.Query", search_pb2.QueryRequest, search_pb2.QueryResponse)
EXPLAIN: Final = Method("Search.Explain", search_pb2.ExplainRequest, search_pb2.ExplainResponse)
QUERY_BATCH: Final = Method(
    "Search.QueryBatch", search_pb2.QueryBatchRequest, search_pb2.QueryBatchResponse
)
ESTIMATE_RECALL: Final = Method(
    "Admin.EstimateRecall", admin_pb2.EstimateRecallRequest, admin_pb2.EstimateRecallResponse
)
STATUS: Final = Method("Admin.Status", admin_pb2.StatusRequest, admin_pb2.StatusResponse)
LIMITS: Final = Method("Admin.Limits", admin_pb2.LimitsRequest, admin_pb2.LimitsResponse)
CREATE_KEY: Final = Method("Admin.CreateKey", keys_pb2.CreateKeyRequest, keys_pb2.CreateKeyResponse)
LIST_KEYS: Final = Method("Admin.ListKeys", keys_pb2.ListKeysRequest, keys_pb2.ListKeysResponse)
REVOKE_KEY: Final = Method("Admin.RevokeKey", keys_pb2.RevokeKeyRequest, keys_pb2.RevokeKeyResponse)
ROTATE_KEY: Final = Method("Admin.RotateKey", keys_pb2.RotateKeyRequest, keys_pb2.RotateKeyResponse)
BACKUP: Final = Method("Admin.Backup", backup_pb2.BackupRequest, backup_pb2.BackupResponse)
RESTORE: Final = Method("Admin.Restore", backup_pb2.RestoreRequest, backup_pb2.RestoreResponse)
CHECK: Final = Method("Admin.Check", backup_pb2.CheckRequest, backup_pb2.CheckResponse)
LIST_MODELS: Final = Method(
    "Models.List", models_pb2.ListModelsRequest, models_pb2.ListModelsResponse
)
EMBED: Final = Method("Models.Embed", models_pb2.EmbedRequest, models_pb2.EmbedResponse)
RERANK: Final = Method("Models.Rerank", models_pb2.RerankRequest, models_pb2.RerankResponse)
TOKENIZE: Final = Method("Models.Tokenize", models_pb2.TokenizeRequest, models_pb2.TokenizeResponse)
LOAD_MODEL: Final = Method("Models.Load", models_pb2.LoadModelRequest, models_pb2.LoadModelResponse)
UNLOAD_MODEL: Final = Method(
    "Models.Unload", models_pb2.UnloadModelRequest, models_pb2.UnloadModelResponse
)
REEMBED: Final = Method("Models.Reembed", reembed_pb2.ReembedRequest, reembed_pb2.ReembedResponse)
PUT_DOCUMENTS: Final = Method(
    "Documents.Put", documents_pb2.PutDocumentsRequest, documents_pb2.PutDocumentsResponse
)
GET_DOCUMENTS: Final = Method(
    "Documents.Get", documents_pb2.GetDocumentsRequest, documents_pb2.GetDocumentsResponse
)
LIST_DOCUMENTS: Final = Method(
    "Documents.List", documents_pb2.ListDocumentsRequest, documents_pb2.ListDocumentsResponse
)
DELETE_DOCUMENTS: Final = Method(
    "Documents.Delete", documents_pb2.DeleteDocumentsRequest, documents_pb2.DeleteDocumentsResponse
)
CONTEXT: Final = Method(
    "Documents.Context", retrieval_pb2.ContextRequest, retrieval_pb2.ContextResponse
)
ANSWER: Final = Method(
    "Documents.Answer", retrieval_pb2.AnswerRequest, retrieval_pb2.AnswerResponse
)
FEEDBACK: Final = Method(
    "Documents.Feedback", retrieval_pb2.FeedbackRequest, retrieval_pb2.FeedbackResponse
)
REPLAY: Final = Method(
    "Documents.Replay", retrieval_pb2.ReplayRequest, retrieval_pb2.ReplayResponse
)
