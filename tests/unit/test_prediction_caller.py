"""The network runs in the caller's thread, and what is made around it in another."""

from threading import current_thread

import pytest

from rockglacier.prediction.caller import Caller


def test_calls_run_here_and_values_are_made_elsewhere():
    network = Caller()

    def make():
        for number in range(3):
            ran_in = network.submit(current_thread).result()
            yield number, ran_in, current_thread()

    for number, (value, ran_in, made_in) in enumerate(network.serve(make())):
        assert value == number
        assert ran_in is current_thread()
        assert made_in is not current_thread()


def test_an_error_of_either_thread_is_raised_here():
    network = Caller()

    def make():
        yield 1
        raise ValueError("made")

    values = network.serve(make())
    assert next(values) == 1
    with pytest.raises(ValueError, match="made"):
        next(values)

    network = Caller()
    with pytest.raises(ZeroDivisionError):
        list(network.serve(network.submit(lambda: 1 / 0).result() for _ in range(1)))


def test_an_interrupt_of_the_network_ends_both():
    network, ended = Caller(), []

    def interrupted():
        raise KeyboardInterrupt

    def make():
        try:
            yield network.submit(interrupted).result()
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        list(network.serve(make()))
    assert ended == [True]


def test_who_takes_no_more_ends_the_other_thread():
    network, ended = Caller(), []

    def make():
        try:
            while True:
                yield network.submit(int).result()
        finally:
            ended.append(True)

    values = network.serve(make())
    assert next(values) == 0
    values.close()
    assert ended == [True]
    with pytest.raises(RuntimeError, match="nobody serves"):
        network.submit(int)
