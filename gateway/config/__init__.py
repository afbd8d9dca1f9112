"""The one file that an operator writes.

`problems` (what can be wrong with it) · `values`, `addresses` (text to value) · `schema` (its shape) · `tree` (walks it) ·
`document` (YAML with line numbers) · `sources` (`${NAME}`, `file:PATH`, `DOORWARD__...`) · `wording` (pydantic's findings in
plain words) · `consistency` (what must stand together) · `files` (what must be readable) · `safety` (what is unsafe) ·
`toggles` (what the toggles come to) · `loader` (all of it, in order). Every problem is collected; none hides another.
"""
