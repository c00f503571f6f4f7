from __future__ import annotations

from collections import Counter

import pytest

from consumers.explaining.centers import cluster_table, sampled
from consumers.transform import InputRecord


def message(**texts: str) -> InputRecord:
    headers = tuple((f"coreset-{name}", value.encode()) for name, value in texts.items())
    return InputRecord("clicks-coreset", 0, 0, None, b"{}", (("mine", b"\xff"), *headers), 0)


def test_examples_are_counted_by_cluster(settings, make_texts):
    records = [message(**make_texts(cluster=one)) for one in ("8", "8", "3", "-")]
    records += [message(), InputRecord("clicks-coreset", 0, 0, None, b"not ours")]
    assert sampled(settings, records) == {"8": 2, "3": 1, "-": 1}


def test_centers_come_by_their_share_of_the_sample(make_publication):
    table = cluster_table(make_publication(), Counter({"8": 6, "3": 2, "-": 1, "77": 1}), now_ms=1_004_000)
    assert [center.id for center in table.centers] == [8, 3, 5, 9]
    first, last = table.centers[0], table.centers[-1]
    assert (first.sample_share, first.mass_share, first.loss) == (0.6, 0.1, 8.0)
    assert first.loss_age_seconds == pytest.approx(104.0)  # 100 s when it was published, 4 s ago
    assert (last.loss, last.spread, last.loss_age_seconds) == (None, None, None)
    assert (table.unknown_losses, table.sample_examples, table.sample_elsewhere) == (1, 10, 2)


def test_without_a_sample_they_come_by_mass(make_publication):
    table = cluster_table(make_publication(), Counter(), now_ms=1_000_000)
    assert [center.id for center in table.centers] == [3, 5, 8, 9]
    assert {center.sample_share for center in table.centers} == {None}
    assert "of sample: unknown" in table.render()


def test_people_see_the_top_and_programs_all(make_publication):
    counts = Counter({"8": 6, "3": 4})
    table = cluster_table(make_publication(), counts, now_ms=1_004_000, top=2)
    lines = table.render().splitlines()
    assert lines[0] == "clusters version 7, published 4 s ago; losses of model version m2"
    assert "without a known loss: 1 of 4 centers" in lines
    assert lines[-4].split("  ")[0] == "id"
    assert lines[-4].endswith("of sample")
    assert lines[-3].split() == ["8", "10", "10", "%", "8", "9", "1.7", "min", "60", "%"]
    assert lines[-1] == "... and 2 more: --top 4 shows all"
    assert len({len(line) for line in lines[-4:-1]}) == 1
    assert len(table.json()["centers"]) == 4
    assert len(cluster_table(make_publication(), counts, now_ms=1_004_000, top=0).render().splitlines()) == 10


def test_losses_that_were_not_asked_are_marked(make_publication):
    table = cluster_table(make_publication(loss_ages=[float("nan")] * 4), Counter(), now_ms=1_000_000)
    assert table.unknown_losses == 4
    assert "~8" in table.render()
