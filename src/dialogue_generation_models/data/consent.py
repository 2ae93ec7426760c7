"""By whose word an input may be learnt from: a licence for a corpus, consent and age for a private chat.

The statement stands in the configuration's `sources`, or in a file beside the input that is named like it
with `.source.toml` or `.source.json` behind. Without one the input is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..config.io import read_config_file
from ..config.preparation import SourceStatement
from ..errors import ConfigError, DataError


def find_statement(path: Path, statements: Sequence[SourceStatement]) -> SourceStatement:
    """Find what is said about an input; an empty statement if nothing is.

    Raises:
        ConfigError: the file beside the input is no statement.
    """
    for statement in statements:
        if statement.path and fnmatchcase(f"/{path.as_posix()}", f"*/{statement.path}"):
            return statement
    for suffix in (".source.toml", ".source.json"):
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            try:
                return SourceStatement(**read_config_file(beside))
            except ConfigError as error:
                # The name of an export may be that of a person.
                reason = str(error).replace(str(beside), "It")
                raise ConfigError(
                    f"The {suffix} file beside an input cannot be used. {reason}"
                ) from None
    return SourceStatement()


def describe_statement(said: Mapping[str, Any], *, is_private: bool) -> str:
    """Say in words by whose leave an input was learnt from.

    Args:
        said: what a manifest tells of the input.
        is_private: whether it is a private chat, and not a corpus.
    """
    if said.get("license"):
        return str(said["license"])
    if not is_private:
        return "no licence stated"
    if said.get("consent"):
        return "private, with the consent of its people"
    return "private, vouched for by who prepared it"


def check_statement(
    statement: SourceStatement, label: str, *, is_private: bool, has_consent: bool
) -> None:
    """Refuse an input that nobody vouches for.

    Args:
        statement: what is said about it.
        label: how messages call it.
        is_private: whether it is a private chat, and not a corpus.
        has_consent: whether the user vouches for all inputs.

    Raises:
        DataError: with what is missing.
    """
    if is_private and statement.all_adults is False:
        raise DataError(f"{label} has people under age; leave it out.")
    if has_consent:
        return
    if not is_private and not statement.license:
        raise DataError(
            f"{label} has no licence; state it in the configuration or beside the file "
            "(docs/preparing.md), or vouch for it with --i-have-consent."
        )
    if is_private and not (statement.consent and statement.all_adults):
        raise DataError(
            f"{label} is a private chat without a statement that all its people agreed and are of "
            "age; add it (docs/preparing.md), or vouch for it with --i-have-consent."
        )
