"""When a worker lets a silent archive rest."""

from gateway.jobs.respite import REST_S, Respite


def test_one_job_without_an_answer_stops_nobody() -> None:
    """However often one job gets no answer, it may be its own object that is broken."""
    respite = Respite()
    assert [respite.silent("job_1", asked_s, asked_s + 2.0) for asked_s in (10.0, 20.0)] == [False, False]
    assert respite.left_s(22.0) == 0.0


def test_two_in_a_row_let_it_rest() -> None:
    """Two jobs without an answer begin a rest; after it the first that gets none begins another."""
    respite = Respite()
    assert not respite.silent("job_1", 10.0, 12.0)
    assert respite.silent("job_2", 10.0, 12.0)
    assert (respite.left_s(12.0), respite.left_s(12.0 + REST_S)) == (REST_S, 0.0)
    assert respite.silent("job_3", 18.0, 20.0)
    assert respite.left_s(20.0) == REST_S


def test_an_answer_ends_it() -> None:
    """Whoever is answered ends the rest, and those who asked before that and got nothing begin none."""
    respite = Respite()
    respite.silent("job_1", 10.0, 12.0)
    respite.silent("job_2", 10.5, 12.5)
    respite.answered(13.0)
    assert respite.left_s(13.0) == 0.0
    assert not respite.silent("job_3", 12.9, 14.9)
    assert not respite.silent("job_4", 13.1, 15.1)
    assert respite.silent("job_5", 13.2, 15.2)
