from __future__ import annotations

import json
from dataclasses import replace

import pytest

from consumers.explaining.explanation import Explanation
from consumers.explaining.today import cluster_today
from consumers.explaining.told import read_told
from consumers.records.dead_letters import DeadLetter


@pytest.fixture
def taken(make_entry, make_texts, make_publication):
    """Four times the mean chance, of the cluster with the highest loss, at 2.5 times the usual distance."""
    usual = {"draws": (read_told(make_texts()),), "today": cluster_today(make_publication(), "8", 1_000_000)}
    return lambda **given: Explanation("raw/0/101", "taken", make_entry(), **{**usual, **given})


def test_one_sentence_says_why_it_was_taken(taken):
    assert taken().sentence == (
        "raw/0/101 was taken: its chance was 40 %, 4 times that of uniform sampling, and it weighs 2.5; it "
        "lies far from its center, its cluster's center loss is high and its cluster's spread is high."
    )


def test_a_rare_one_says_what_was_low(taken, make_texts, make_publication):
    why = "distance=.5 center_loss=1 spread=1 loss_age=12 predicted=- score=0.004"
    told = read_told(make_texts(probability="0.04", weight="25.0", cluster="3", why=why))
    said = taken(draws=(told,), today=cluster_today(make_publication(), "3", 1_000_000)).sentence
    assert "0.4 times that of uniform sampling, and it weighs 25;" in said
    assert said.endswith(
        "it lies near its center, its cluster's center loss is low and its cluster's spread is low."
    )


def test_what_is_not_known_is_said(taken, make_texts):
    unknown = read_told(make_texts(why="distance=2 center_loss=- spread=- loss_age=- predicted=- score=0.04"))
    assert taken(draws=(unknown,), today=None).sentence.endswith("; no loss of its cluster was known.")
    plain = read_told(make_texts(why="distance=2 center_loss=3 spread=3 loss_age=1 predicted=- score=0.04"))
    assert taken(draws=(plain,), today=None).sentence.endswith("; no figure of it alone stands out.")
    first = read_told(make_texts(clusters="0", cluster="-"))
    assert "there were no clusters yet" in taken(draws=(first,), today=None).sentence


def test_what_the_surrogate_predicted_is_a_reason(taken, make_texts):
    why = "distance=2 center_loss=3 spread=3 loss_age=1 predicted=40 score=0.04"
    told = read_told(make_texts(why=why))
    today = taken().today
    learned = taken(draws=(told,), today=replace(today, predicted_loss=0.1))
    assert "the surrogate predicted a high loss" in learned.sentence
    assert "predicted loss          40" in learned.render()
    assert "predicted" not in taken().sentence


def test_draws_with_replacement_are_counted(taken, make_entry, make_texts):
    draws = (read_told(make_texts()), read_told(make_texts(rank="4")))
    iid = Explanation("raw/0/101", "taken", make_entry(design="iid"), draws=draws)
    assert "raw/0/101 was drawn 2 times: 0.4 draws of it were expected, 4 times that of" in iid.sentence


def test_what_it_weighed_in_its_input_is_no_preference(taken):
    assert taken(carried=0.5).times_uniform == pytest.approx(2)


def test_the_table_shows_then_and_now(taken):
    text = taken().render()
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["expected draws"][2:] == ["0.4", "0.1", "(mean)"]
    assert rows["weight"][1:] == ["2.5", "10", "(uniform)"]
    assert rows["cluster"][1:] == ["8", "10", "%", "of", "the", "mass"]
    assert rows["distance to its center"][4:] == ["5", "2", "(rms)"]
    assert rows["center loss"][2:] == ["8", "8,", "1.9", "mean", "of", "all"]
    assert rows["place in the draw"][4:] == ["4", "of", "10"]
    assert rows["draw"][1:] == ["pivotal,", "s", "=", "10,", "rate", "0.1,", "eta", "0.2"]
    assert rows["offsets"][1:] == ["raw/0", "100-150,", "raw/1", "7-57"]
    assert "2023-11-14 22:13:20 UTC" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_cluster_that_is_gone_is_said(taken, make_texts):
    assert taken(today=None).render().endswith("Its cluster today: it is gone.")
    placed = read_told(make_texts(cluster="-"))
    assert "had just been placed then" in taken(draws=(placed,), today=None).render()
    other = taken(today=None, caveat="there are no clusters of today").render()
    assert other.endswith("Its cluster today: there are no clusters of today.")


def test_one_that_was_not_taken_is_explained_by_today(make_entry, make_publication):
    today = cluster_today(make_publication(), "8", 1_000_000)
    today = replace(today, distance=5.0, probability=0.4, examples=90)
    entry = make_entry(surrogate_digest="1" * 64)
    said = Explanation("raw/0/101", "not taken", entry, today=today)
    assert said.sentence.startswith(
        "raw/0/101 was not taken, as 10 of the 100 of its window were; under the clusters of today its "
        "chance would be about 40 %, 4 times that of uniform sampling: it lies far from its center"
    )
    text = said.render()
    assert "it, today" in text
    assert "weight " not in text
    assert "Approximate, and of today: computed from 90 of the 100 examples" in text
    assert "without its surrogate" in text
    learned = replace(said, today=replace(today, predicted_loss=6.0))
    assert "the surrogate predicts a high loss" in learned.sentence
    text = learned.render()
    assert "with the surrogate of today" in text
    assert "predicted loss          6" in text
    assert said.json()["probability_is_approximate"] is True


def test_one_whose_message_is_gone_has_no_chance(make_entry):
    said = Explanation("raw/0/101", "not taken", make_entry(), caveat="its message is gone")
    assert said.sentence.endswith("were; its message is gone.")
    assert said.json()["probability"] is None


def test_a_dead_letter_says_what_was_wrong(make_entry):
    letter = DeadLetter("raw/0/101", "decode", "WrongDimension", "field 'embedding' has 3 numbers, not 2")
    said = Explanation("raw/0/101", "dead letter", make_entry(), letter=letter)
    assert said.sentence == (
        "raw/0/101 is a dead letter (stage decode): WrongDimension, field 'embedding' has 3 numbers, not 2."
    )
    assert "cluster " not in said.render()


def test_what_is_not_known_is_not_guessed(make_entry):
    said = Explanation("raw/0/101", "unknown", make_entry(), caveat="none of it; raise --scan")
    assert said.sentence == "Whether raw/0/101 was taken is not known: none of it; raise --scan."


def test_an_empty_window_divides_by_nothing(make_entry):
    said = Explanation("raw/0/101", "not taken", make_entry(valid=0, emitted=0, s=0.0, cost=0.0))
    assert said.typical is None
    assert said.render()


def test_programs_get_all_of_it(taken):
    said = json.loads(json.dumps(taken().json(), allow_nan=False))
    assert said["outcome"] == "taken"
    assert said["draws"][0]["weight"] == 2.5
    assert said["window"]["s"] == 10.0
    assert said["times_uniform"] == pytest.approx(4)
    assert said["today"]["cluster"] == "8"
