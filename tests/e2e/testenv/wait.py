# SPDX-License-Identifier: Apache-2.0
"""Asking again until a deadline, the only way in which tests wait for what sends no event."""
import time


def until(question, what, seconds=10.0, every=0.02):
    """The first true answer of question(); AssertionError that names |what| after |seconds|."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)
