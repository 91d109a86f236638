"""One file per service of the protocol: read the request, call down, fill the reply."""
