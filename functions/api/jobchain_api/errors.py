"""Errors of the service that no other function raises. `problems` turns them into HTTP."""

from jobchain.errors import JobchainError


class PayloadTooLarge(JobchainError):
    """The payload of a job is larger than `most` bytes."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"the payload is {size} bytes of UTF-8: the most is {most}")
