"""Documents in, cited context out: reading, cutting, putting together, answering, judging.

Knows no wire and no LMDB: it makes operations for collections out of documents, and passages out of
hits. rpc/services/documents.py is what calls it.
"""
