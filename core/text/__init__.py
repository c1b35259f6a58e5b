"""From a text to numbers and batches: corpora, the character tokenizer, batches, and what plain counting reaches."""
