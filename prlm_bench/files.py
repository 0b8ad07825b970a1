"""Reads and writes files: readers whose errors name the file and the place, and files that are whole or not there."""

from ._util.cache_folder import cache_root
from ._util.cells import csv_text
from ._util.files import expanded, pretty, replacing, scratch_path, write_whole
from ._util.json_text import load_json, load_json_lines, parse_json, parse_record, read_json
from ._util.reading import read_bytes, read_text, text_lines, validated
from ._util.text import masked, printable, well_formed
from ._util.yaml_text import Yaml, parse_yaml, read_yaml

__all__ = [
    "Yaml",
    "cache_root",
    "csv_text",
    "expanded",
    "load_json",
    "load_json_lines",
    "masked",
    "parse_json",
    "parse_record",
    "parse_yaml",
    "pretty",
    "printable",
    "read_bytes",
    "read_json",
    "read_text",
    "read_yaml",
    "replacing",
    "scratch_path",
    "text_lines",
    "validated",
    "well_formed",
    "write_whole",
]
