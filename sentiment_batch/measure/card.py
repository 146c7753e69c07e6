"""The figures of a training -> the README of its model folder."""

from sentiment_batch.measure.metrics import Metrics


def model_card(
    base_model: str, made_by: str, labels: tuple[str, ...], report: Metrics, best: Metrics, temperature: float
) -> str:
    """The model card: what the model is, and how far its figures go."""
    rows = "\n".join(
        f"| {label} | {each['precision']:.3f} | {each['recall']:.3f} | {each['f1']:.3f} | {each['rows']} |"
        for label, each in best["per_class"].items()
    )
    return f"""---
library_name: transformers
pipeline_tag: text-classification
---
# Text classifier: {", ".join(labels)}

Fine-tuned from `{base_model}` by {made_by} on {report["train_rows"]} texts. What it was
made from, and every epoch's figures, are in `training.json`.

On the {report["valid_rows"]} texts of the validation split, by which the epoch was chosen ({report["shared_texts"]} of
them are in the training data too): macro F1 {best["macro_f1"]:.4f}, accuracy {best["accuracy"]:.4f}.

| label | precision | recall | F1 | rows |
|---|---|---|---|---|
{rows}

Divided by {temperature:.4g}, the temperature that makes the labels of that same split most likely, the logits give
calibrated probabilities: `sentiment-batch score --calibrated`.

    from transformers import pipeline
    pipeline("text-classification", model=".")("...", truncation=True)
"""
