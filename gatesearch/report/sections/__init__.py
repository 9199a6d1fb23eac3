"""The sections of the page: what its tables, tiles and sentences say, as text that the template lays out."""
