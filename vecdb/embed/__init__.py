"""Text to vectors, in a process of its own: a model that hangs never takes the server along.

catalog.py    which models there are, as data, and which files they are made of
encoder.py    what every kind of model must be able to do
onnx_text.py  a kind: an ONNX graph and a tokenizer
static_words.py  a kind: a vector per word, averaged
word_files.py  the formats that words and their vectors are kept in
batcher.py    who goes next, and with whom
wire.py       what both ends of the socket agree on
worker.py     the child process: loads models, serves Encode on a Unix socket
process.py    the parent's side of the child: start, watch, restart
client.py     what the rest of the server calls
"""
