"""Holds files against a JSON Schema as an editor does: YAML 1.2 values, not texts. The first
argument is the schema; standard input has the files, with lines of `=====` between. Prints a line
for each: `good`, `bad` and the first thing that is wrong, or `no YAML 1.2` and why.
"""

import json
import sys

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)

for text in sys.stdin.read().split("=====\n"):
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        print("no YAML 1.2:", " ".join(str(error).split()))
        continue
    problem = jsonschema.exceptions.best_match(validator.iter_errors(value))
    print("good" if problem is None else f"bad {problem.json_path}: {problem.message}"[:300])
