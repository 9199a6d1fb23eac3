"""The sections of the report page: the text of their tables, tiles and sentences, for the template."""
