"""From files to training rows: readers, tokenised dialogues, batches."""
