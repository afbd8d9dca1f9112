"""From the text of a file to plain data, with the problems found on the way.

Reading goes on after a problem, and no problem shows a value that came from the environment or from another file.

    yaml_document     one YAML document, with the line of every key
    sources           `${NAME}` and `DOORWARD__...` from the environment, `file:PATH` from files
    schema_walk       which key stands where, and what it takes
    messages          pydantic's errors as problems in plain words
    problems          Problem, Finding, and the exception that carries all
    packs             rule packs, by name and by path
    directory_names   names in the `directory` section
"""
