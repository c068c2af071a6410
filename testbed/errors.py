"""The one error of the testbed: a sentence that says what to do."""


class TestbedError(Exception):
    """Something the user or the machine has to change first; the message says what."""

    __test__ = False  # the name is no test class
