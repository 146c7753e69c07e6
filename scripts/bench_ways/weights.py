"""What any program on PyTorch does before it labels: import it and transformers' model, and load the weights.

python -m bench_ways.weights DIR
"""

import sys

import torch
from transformers import AutoModelForSequenceClassification

if __name__ == "__main__":
    AutoModelForSequenceClassification.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
