"""``stream-coreset select`` as a user runs it: files in, files out, one sentence where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from consumers import cli
from consumers.one_shot import files

N, D = 600, 4
rng = np.random.default_rng(0)
X = (rng.normal(size=(N, D)) + 6 * rng.integers(0, 5, (N, 1))).astype(np.float32)
LOSSES = np.exp(X[:, 0].astype(np.float64) / 10)


def run(*words: object) -> int:
    return cli.main(["select", *map(str, words)])


def vectors(kind: str) -> pa.Array:
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), D)
    return pa.array(X.tolist(), pa.list_(pa.float32()))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "train.parquet"
    columns = {
        "id": np.arange(N),
        "embedding": vectors("fixed"),
        "loss": LOSSES,
        "text": [f"t{i}" for i in range(N)],
    }
    extra = {"a": X[:, 0], "b": rng.integers(0, 9, N)}
    parquet.write_table(pa.table({**columns, **extra}), path, row_group_size=100)
    return path


@pytest.fixture
def array(tmp_path: Path) -> Path:
    np.save(tmp_path / "train.npy", X)
    np.save(tmp_path / "losses.npy", LOSSES)
    return tmp_path / "train.npy"


def test_selected_rows_keep_their_columns(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table, "--size", 50, "--loss", "loss", "--seed", 1, "--clusters", 8) == 0
    chosen = parquet.read_table(table.with_name("train.coreset.parquet")).to_pydict()
    whole = parquet.read_table(table).to_pydict()
    rows = chosen["coreset_row"]
    assert len(set(rows)) == 50
    for name, values in whole.items():
        assert chosen[name] == [values[row] for row in rows]
    weights, probabilities = np.array(chosen["coreset_weight"]), np.array(chosen["coreset_probability"])
    np.testing.assert_allclose(weights * probabilities, 1)
    assert set(chosen["coreset_cluster"]) <= set(range(8))
    assert weights @ LOSSES[rows] == pytest.approx(LOSSES.sum(), rel=0.1)
    said = capsys.readouterr().out
    assert "50 (s = 50, design pivotal)" in said
    assert "train.coreset.parquet" in said
    assert "asked" in said


def test_rows_of_one_cluster_are_near_one_another(table: Path) -> None:
    assert run(table, "--size", 100, "--seed", 1, "--clusters", 5) == 0
    chosen = parquet.read_table(table.with_name("train.coreset.parquet"))
    labels = chosen.column("coreset_cluster").to_numpy()
    points = np.array(chosen.column("embedding").to_pylist())
    inside = [np.ptp(points[labels == label].mean(axis=1)) for label in np.unique(labels)]
    assert max(inside) < 6 < np.ptp(points.mean(axis=1))


def test_lists_of_any_length_type_are_the_same_vectors(table: Path, tmp_path: Path) -> None:
    other = tmp_path / "lists.parquet"
    parquet.write_table(pa.table({"v": vectors("variable")}), other)
    assert run(table, "--size", 40, "--seed", 3) == 0
    assert run(other, "--size", 40, "--seed", 3, "--embedding", "v") == 0
    both = [
        parquet.read_table(p.with_suffix(".coreset.parquet")).column("coreset_row") for p in (table, other)
    ]
    assert both[0] == both[1]


def test_columns_of_numbers(table: Path) -> None:
    assert run(table, "--rate", 0.1, "--columns", "a, b", "--seed", 1) == 0
    assert parquet.read_table(table.with_name("train.coreset.parquet")).num_rows == 60


def test_arrays_give_arrays(array: Path) -> None:
    losses, out = array.with_name("losses.npy"), array.with_name("chosen.npz")
    assert run(array, "--size", 50, "--loss", losses, "--output", out, "--seed", 1) == 0
    with np.load(out, allow_pickle=False) as chosen:
        assert sorted(chosen) == ["clusters", "indices", "probabilities", "weights"]
        assert {len(chosen[name]) for name in chosen} == {50}
        assert chosen["weights"] @ LOSSES[chosen["indices"]] == pytest.approx(LOSSES.sum(), rel=0.1)


def test_repeated_draws_are_repeated_rows(table: Path) -> None:
    assert run(table, "--size", 500, "--design", "iid", "--floor", 0, "--seed", 1) == 0
    chosen = parquet.read_table(table.with_name("train.coreset.parquet"))
    assert chosen.num_rows == 500
    rows = chosen.column("coreset_row").to_pylist()
    assert len(set(rows)) < 500
    assert chosen.column("id").to_pylist() == rows


def test_the_summary_as_json(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table, "--size", 60, "--loss", "loss", "--max-queries", 90, "--seed", 2, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    chosen = parquet.read_table(table.with_name("train.coreset.parquet"))
    weights = chosen.column("coreset_weight").to_numpy()
    assert said["n"] == N
    assert said["drawn"] == 60
    assert said["weight_sum"] == pytest.approx(weights.sum())
    assert said["effective_sample_size"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert said["largest_weight"] == weights.max() <= said["weight_bound"] == N / (60 * 0.2)
    assert 0 < said["losses_asked"] <= 90
    total = said["total_loss"]
    assert total["of_all"] == pytest.approx(LOSSES.sum())
    assert total["low"] < total["estimate"] < total["high"]
    assert total["estimate"] == pytest.approx(weights @ chosen.column("loss").to_numpy())


def test_intervals_cover(array: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 40 intervals at 95 % fewer than 33 cover with probability 2e-3 (binomial)."""
    covered = 0
    for seed in range(40):
        words = (
            "--size",
            60,
            "--loss",
            array.with_name("losses.npy"),
            "--clusters",
            8,
            "--surrogate",
            "none",
        )
        assert run(array, *words, "--seed", seed, "--overwrite", "--json") == 0
        total = json.loads(capsys.readouterr().out)["total_loss"]
        covered += total["low"] <= total["of_all"] <= total["high"]
    assert covered >= 33


def test_only_losses_that_are_asked_are_needed(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table, "--size", 60, "--loss", "loss", "--max-queries", 0, "--seed", 2, "--json") == 0
    assert json.loads(capsys.readouterr().out)["losses_asked"] == 0
    known = parquet.read_table(table)
    place = known.column_names.index("loss")
    nothing = known.set_column(place, "loss", pa.nulls(N, pa.float64()))
    parquet.write_table(nothing, table)
    again = ("--size", 60, "--loss", "loss", "--seed", 2, "--overwrite")
    assert run(table, *again, "--max-queries", 0) == 0
    assert "losses unknown" in capsys.readouterr().out
    assert run(table, *again) == 1
    assert "loss is nan for row" in capsys.readouterr().err


def test_more_clusters_than_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", X[:3])
    assert run(tmp_path / "few.npy", "--size", 2) == 0
    assert len(np.load(tmp_path / "few.coreset.npz")["indices"]) == 2


def test_a_selection_may_be_empty(table: Path) -> None:
    assert run(table, "--size", 0.001, "--seed", 1) == 0
    assert parquet.read_table(table.with_name("train.coreset.parquet")).num_rows == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.npy", "--size", 5], "missing.npy cannot be read: No such file"),
        (["missing.parquet", "--size", 5], "missing.parquet cannot be read as .parquet"),
        (["train.csv", "--size", 5], "neither .npy nor .parquet"),
        (["train.parquet", "--size", 5, "--embedding", "emb"], "no columns of the name emb; there are: id, "),
        (["train.parquet", "--size", 5, "--embedding", "text"], "not a list of float16"),
        (["train.parquet", "--size", 5, "--columns", "a,text"], "the column text is of type string"),
        (["train.parquet", "--size", 5, "--loss", "text"], "the column text is of type string"),
        (["train.parquet", "--size", 5, "--columns", "a,,b"], "separated by commas"),
        (["train.npy", "--size", 5, "--columns", "a"], "of a .parquet file"),
        (["train.npy", "--size", 5, "--loss", "loss"], "in a .npy file, too"),
        (["train.npy", "--size", 5, "--loss", "short.npy"], "not one loss for each of 600 rows"),
        (["short.npy", "--size", 5], "holds an array of shape (7,)"),
        (["cut.npy", "--size", 5], "is no whole .npy file"),
        (["objects.npy", "--size", 5], "is no whole .npy file"),
        (["empty.npy", "--size", 5], "holds no rows"),
        (["nan.npy", "--size", 5], "not usable in row 1"),
        (["nulls.parquet", "--size", 5], "row 1: the embedding is null"),
        (["train.npy", "--rate", 2], "rate: expected a share"),
        (["train.npy", "--size", 5, "--clusters", 0], "n_clusters"),
        (["train.npy", "--size", 5, "--output", "train.npy"], "is written as .npz"),
        (["train.parquet", "--size", 5, "--output", "train.parquet"], "is the file that is read"),
        (["train.npy", "--size", 5, "--output", "there.npz"], "there.npz exists already"),
        (["train.npy", "--size", 5, "--output", "no/where.npz"], "there is no directory no"),
        (["there.npz", "--size", 5], "neither .npy nor .parquet"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[object],
    says: str,
    table: Path,
    array: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(array.parent)
    np.save("short.npy", np.arange(7.0))
    np.save("empty.npy", np.zeros((0, 3)))
    np.save("nan.npy", np.array([[1.0], [np.nan]]))
    np.save("objects.npy", np.array([[{}]]))
    Path("cut.npy").write_bytes(array.read_bytes()[:-9])
    Path("there.npz").touch()
    parquet.write_table(pa.table({"embedding": pa.array([[1.0], None])}), "nulls.parquet")
    assert run(*words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith("stream-coreset: ")
    assert len(err.splitlines()) == 1
    assert not list(array.parent.glob(".*"))
    assert not Path("train.coreset.parquet").exists()


def test_too_much_to_read_is_refused_before_it_is_read(
    array: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "MAX_NUMBERS", N * D - 1)
    for path in (array, table):
        assert run(path, "--size", 5) == 1
        assert "split it, select from each part" in capsys.readouterr().err


def test_a_selection_is_not_selected_from_again(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table, "--size", 50) == 0
    assert run(table.with_name("train.coreset.parquet"), "--size", 5) == 1
    assert "is a selection already" in capsys.readouterr().err


def test_one_budget(array: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--size", "5", "--rate", "0.1"]):
        with pytest.raises(SystemExit) as ended:
            run(array, *words)
        assert ended.value.code == 2
