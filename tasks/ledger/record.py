"""What all records have in common: a version, a schema number, and fields of later versions kept."""

from pydantic import BaseModel, ConfigDict

SCHEMA = 2
CURRENT = f'{{"schema_version":{SCHEMA}'


class Record(BaseModel):
    """Part of the ledger that is written as a whole. Fields that this version does not know are kept.

    Fields:
        version: how often it was written; stored beside the content, in the same hash.
        schema_version: the number of the shape of its content, see `migrations.py`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    version: int = 0
    schema_version: int = SCHEMA

    @property
    def identity(self) -> str:
        """What identifies it among records of its kind."""
        raise NotImplementedError

    def content(self) -> str:
        """Return the record as JSON: the number of its schema first, no defaults."""
        fields = self.model_dump_json(exclude={"version", "schema_version"}, exclude_defaults=True)
        return f"{CURRENT}{',' if len(fields) > len('{}') else ''}{fields[1:]}"
