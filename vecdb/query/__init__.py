"""How a query is answered over the parts of one reader's view.

`filter` says which rows match; `search` scans the parts and merges; `keyword` and `sparse` ask
their postings instead. None knows where parts or their liveness come from.
"""
