"""What a one-shot selection is asked to do, and the command's options that say so."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumers.errors import ServiceError

__all__ = ["Wanted", "add_options", "read_options"]

_KINDS = (".npy", ".parquet")
_EXAMPLE = """
FILE is .npy, an array of shape (n, d), or .parquet, whose column `embedding` holds a list of d numbers a row
(--embedding names another one, --columns takes several columns of numbers instead, as they are: scale them so
that distances mean something). The answer holds the selected rows in the order of the draw, each with its
weight: the weighted sum of anything over them is an unbiased estimate of the sum over all rows.

.parquet gives .parquet: the rows with all their columns, and coreset_row (place in FILE, from 0),
coreset_weight, coreset_probability and coreset_cluster. .npy gives .npz: the arrays indices, weights,
probabilities and clusters.

examples:
  stream-coreset select train.parquet --rate 0.02 --loss loss
  stream-coreset select embeddings.npy --size 500 --loss losses.npy --output chosen.npz
  stream-coreset select flights.parquet --columns distance,wind,visib --epsilon 0.1 --delta 0.05
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A selection as it was asked for; see `stream_coreset.select` for what it leaves to that.

    Attributes
    ----------
    file, output : Path
    loss : str or None
        A column of `file`, or a .npy file of one loss a row.
    embedding : str
        Column with the vectors.
    columns : tuple of str
        Columns of numbers to take instead; none by default.
    overwrite : bool
        Whether `output` may exist.
    n_clusters : int or None
        By default as many as suit the number of rows.
    how : dict
        Arguments of `select`.
    """

    file: Path
    output: Path
    loss: str | None
    embedding: str
    columns: tuple[str, ...]
    overwrite: bool
    n_clusters: int | None
    how: dict[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a selection to the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"{parser.description}\n{_EXAMPLE}"
    parser.add_argument("file", type=Path, metavar="FILE", help="what to select from: .npy or .parquet")
    _add_files(parser.add_argument_group("files and columns"))
    budget = parser.add_argument_group("how many rows (exactly one of the first three)")
    one = budget.add_mutually_exclusive_group(required=True)
    one.add_argument("--rate", type=float, metavar="X", help="share of the rows, above 0 and at most 1")
    one.add_argument("--size", type=float, metavar="X", help="expected number of rows")
    one.add_argument("--epsilon", type=float, metavar="X", help="the paper's error bound ...")
    budget.add_argument(
        "--delta",
        type=float,
        default=0.1,
        metavar="X",
        help="... and the probability that it fails (default .1)",
    )
    _add_method(parser.add_argument_group("method"))


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--loss",
        metavar="COLUMN|FILE",
        help="losses: a column of FILE, or a .npy file of one loss a row; only those that are asked are used",
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--embedding",
        default="embedding",
        metavar="COLUMN",
        help="column with the vectors (default embedding)",
    )
    which.add_argument(
        "--columns", metavar="A,B,...", help="columns of numbers to take as the vector instead"
    )
    add("--output", type=Path, metavar="OUT", help="where to write (default FILE with .coreset in its name)")
    add("--overwrite", action="store_true", help="replace OUT where it exists")
    add(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the summary as JSON to FILE, or to the terminal",
    )


def _add_method(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--clusters", type=int, metavar="K", help="centers (default 64 below 6,000 rows, else 128)")
    add("--design", choices=("pivotal", "systematic", "iid"), default="pivotal", help="default pivotal")
    add("--floor", type=float, default=0.2, metavar="X", help="share of uniform sampling (default .2)")
    add("--probes", type=int, default=9, metavar="N", help="losses asked a cluster (default 9)")
    add("--max-queries", type=int, metavar="N", help="most losses to ask (default: probes of all clusters)")
    add(
        "--surrogate",
        choices=("auto", "trees", "none"),
        default="auto",
        help="learn the losses of all rows from those asked (default auto: where the extra is installed)",
    )
    add(
        "--z", type=float, default=2.0, metavar="X", help="exponent of the distance; 1: k-medians (default 2)"
    )
    add("--seed", type=int, metavar="N", help="of everything random; made up when missing")
    add("--device", choices=("cpu", "cuda", "auto"), default="cpu", help="default cpu")


def read_options(arguments: argparse.Namespace) -> Wanted:
    """Read what `add_options` has added.

    Raises
    ------
    ServiceError
        For a kind of file that is not read, columns without a name, or a file that would be overwritten.
    """
    file: Path = arguments.file
    if file.suffix not in _KINDS:
        raise ServiceError(f"{file} is neither .npy nor .parquet: write it as one of these.")
    output = arguments.output or file.with_suffix(
        ".coreset.npz" if file.suffix == ".npy" else ".coreset.parquet"
    )
    _check_output(file, output, overwrite=arguments.overwrite)
    names = (
        "rate",
        "size",
        "epsilon",
        "delta",
        "design",
        "floor",
        "probes",
        "max_queries",
        "z",
        "seed",
        "device",
    )
    how = {name: getattr(arguments, name) for name in names}
    how["surrogate"] = None if arguments.surrogate == "none" else arguments.surrogate
    columns = tuple(one.strip() for one in (arguments.columns or "").split(",")) if arguments.columns else ()
    if "" in columns or (columns and file.suffix == ".npy"):
        raise ServiceError("--columns takes names of columns of a .parquet file, separated by commas.")
    return Wanted(
        file=file,
        output=output,
        loss=arguments.loss,
        embedding=arguments.embedding,
        columns=columns,
        overwrite=arguments.overwrite,
        n_clusters=arguments.clusters,
        how=how,
    )


def _check_output(file: Path, output: Path, *, overwrite: bool) -> None:
    wanted = ".npz" if file.suffix == ".npy" else ".parquet"
    if output.suffix != wanted:
        raise ServiceError(f"--output {output}: what is selected from {file.name} is written as {wanted}.")
    if not output.parent.is_dir():
        raise ServiceError(f"--output {output}: there is no directory {output.parent}.")
    if output.resolve() == file.resolve():
        raise ServiceError(f"--output {output} is the file that is read: name another one.")
    if output.exists() and not overwrite:
        raise ServiceError(f"{output} exists already: name another --output, or add --overwrite.")
