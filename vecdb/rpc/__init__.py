"""The wire: the only room that knows gRPC and the public protobuf messages.

`server` puts it together; `services` has a file per service; `convert` translates messages and
types; `status` says which gRPC status an error has; `intercept` wraps every call.
"""
