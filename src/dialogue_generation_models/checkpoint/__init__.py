"""Reading and writing weights: our folders, the released files, and the hub's GPT-2 layout."""
