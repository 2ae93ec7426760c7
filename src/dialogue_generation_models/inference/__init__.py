"""Running a model step by step."""
