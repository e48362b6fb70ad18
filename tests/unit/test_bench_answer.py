"""The load generator's reader of answers: where one ends, however it arrives."""

import pytest

from bench import answer

ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nContent-Length: 7\r\nx: y\r\n\r\n" + b'{"a":1}'


@pytest.mark.parametrize("cut", range(len(ANSWER)))
def test_an_answer_in_pieces_is_waited_for(cut: int) -> None:
    """There is no answer before its last byte has come."""
    assert answer.first(ANSWER[:cut]) is None


def test_an_answer_ends_where_it_says() -> None:
    """Status and body are the answer's own, and what follows is left in the buffer."""
    found = answer.first(ANSWER + b"HTTP/1.1 500 ")
    assert found == answer.Answer(202, b'{"a":1}', len(ANSWER))


def test_a_length_in_the_body_is_no_length() -> None:
    """Only the head says how long an answer is."""
    body = b"\r\ncontent-length: 99\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert answer.first(head + body) == answer.Answer(200, body, len(head + body))


def test_an_answer_without_a_length_is_refused() -> None:
    """An answer whose end cannot be known is an error, not a guess."""
    with pytest.raises(answer.UnreadableAnswer, match="200 OK"):
        answer.first(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
