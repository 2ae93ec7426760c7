"""Configurations as frozen, validated records, and the named models as data."""
