"""Content to vectors, in a process of its own: a model that hangs never takes the server along.

What there is, as data:
    kinds.py, catalog.py, catalog.toml   of which kinds models are, which there are, their files
    pull.py, model_sources.py, entry_file.py, inspection.py
                                         models of folders, wheels and the hub into a catalogue
    hf_folder.py, hf_heads.py, hf_layout.py, hf_settings.py
                                         what a folder of Hugging Face says of its model

What a model does, a kind a file, behind the Protocol of encoder.py:
    onnx_text.py, bert_text.py, torch_text.py, static_words.py     texts to dense vectors
    onnx_sparse.py, bm25.py                                        texts to sparse ones
    onnx_rerank.py                                                 a query and a text to a score
    onnx_image.py, onnx_clip.py                                    images, and texts beside them
    openai_service.py, gemini_service.py, vertex_service.py, cohere_service.py
                                         what a service elsewhere does, by service.py, endpoint.py,
                                         address.py
    text_tokens.py, pixels.py, pooling.py, bert_graph.py, runtime.py ...   what kinds share

The worker process:
    batcher.py     who goes next, and with whom
    residents.py   which models are in memory
    cache.py       what was encoded lately
    meter.py       what is counted
    host.py        puts these together; serving.py its gRPC service; worker.py the process

The server's side:
    process.py     starts the worker, watches it, starts it again; elsewhere.py watches another's
    watched.py     what both keep of its state
    channel.py     a connection to a worker; wire.py what both ends agree on
    client.py      what the rest of the server calls; items.py what it may be given
"""
