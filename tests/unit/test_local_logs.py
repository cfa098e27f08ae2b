from local.logs import LogLine, tracebacks


def lines(stream: str, *messages: str) -> list[LogLine]:
    return [LogLine(stream, 1, message) for message in messages]


def test_a_traceback_is_found_whole_and_without_the_lines_around_it() -> None:
    failed = lines(
        "a", "START RequestId: 1", "said", "Traceback (most recent call last):", "ValueError: no", "END RequestId: 1"
    )
    fine = lines("b", "START RequestId: 2", "said", "END RequestId: 2", "REPORT RequestId: 2")

    assert tracebacks([*fine, *failed]) == ["Traceback (most recent call last):\nValueError: no"]
