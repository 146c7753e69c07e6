"""What labels the rows: texts -> token ids -> batches -> logits, and how such a model is made."""
