"""A scriptable model: what each call is answered, and a journal of the calls.

`replies` has the words of a script: a text, an answer that fits the schema, a status with headers, a broken body, a
delay, no answer at all. `server` serves a script over HTTP. The tests of faults, of conformance and of the browser
share it with the fuzz run and the pictures.
"""
