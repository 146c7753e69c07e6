"""What scripts/bench.py measures and what it measures with: a file for each peer, and one for each thing to know.

Peers are `pipeline.py`, `indonlu.py`, `cross_encoder.py` and `onnx_runtime.py`, each as somebody who knows it would
write it; `peer.py` runs one of them from Parquet to Parquet. Ours is the program itself, and `stages.py` its stages.
"""
