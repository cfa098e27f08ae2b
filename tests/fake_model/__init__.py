"""A scriptable model: what each call is answered, and a journal of the calls.

`replies` has the words of a script: a text, an answer that fits the schema, a status with headers, a broken body, a
delay, no answer at all. `answers` has the right answers, and `script` tells which call a reply is for. There are three
faces: `server` serves a script over HTTP, `transport` answers the HTTP client of this process, and `llm` is the port
that the worker calls. The unit tests, the tests of faults, of conformance and of the browser share it with the fuzz run
and the pictures.
"""
