"""Each initialiser against its formula on matrices small enough to think about."""

import numpy as np
import pytest
import torch

from ivr.embedding.initialisers import rows as initialisers
from ivr.embedding.initialisers.focus import focus, sparsemax, static_vectors
from ivr.embedding.initialisers.rows import Problem

V, D = 60, 6


def problem(**changes: object) -> Problem:
    base_VD = torch.from_numpy(np.random.default_rng(0).normal(0.3, 0.1, (V, D))).float()
    parts: dict[str, object] = {
        "base_VD": base_VD,
        "new_ids": [5, 9],
        "kept_ids": [i for i in range(V) if i not in (5, 9)],
        "pieces": [[1, 2, 3], [4, 7]],
        "spread": 0.02,
        "seed": 3,
    }
    return Problem(**(parts | changes))  # type: ignore[arg-type]


def rows_of(one: Problem, ids: list[int]) -> np.ndarray:
    return one.base_VD[ids].double().numpy()


def test_keep_leaves_the_row_of_the_old_token() -> None:
    one = problem()
    assert np.array_equal(initialisers.keep(one), rows_of(one, [5, 9]))


@pytest.mark.parametrize(
    ("role", "weights"),
    [("input", [1 / 7, 2 / 7, 4 / 7]), ("output", [4 / 7, 2 / 7, 1 / 7]), ("both", [2.5 / 7, 2 / 7, 2.5 / 7])],
)
def test_weights_follow_the_role_of_the_matrix(role: str, weights: list[float]) -> None:
    one = problem(role=role)
    expected = np.array(weights) @ rows_of(one, [1, 2, 3])
    assert np.allclose(initialisers.weighted(one)[0], expected)


def test_gaussian_draws_have_the_mean_and_covariance_of_the_kept_rows() -> None:
    many = 40_000
    generator = np.random.default_rng(1)
    mixing = generator.normal(size=(D, D))
    base = torch.from_numpy(generator.normal(size=(V, D)) @ mixing + 2)
    kept = list(range(V))
    one = problem(base_VD=base, new_ids=range(many), pieces=[[0]] * many, kept_ids=kept)
    drawn = initialisers.gaussian(one)
    rows = base.numpy()
    assert np.allclose(drawn.mean(axis=0), rows.mean(axis=0), atol=0.1)
    assert np.allclose(np.cov(drawn.T), np.cov(rows.T, bias=True), atol=0.4)
    assert np.array_equal(drawn, initialisers.gaussian(one))
    assert not np.array_equal(drawn, initialisers.gaussian(problem(**{**vars(one), "seed": 4})))


def test_gaussian_of_fewer_rows_than_columns_or_of_equal_rows() -> None:
    few = problem(kept_ids=[1, 2, 3])
    assert np.isfinite(initialisers.gaussian(few)).all()
    same = problem(base_VD=torch.ones(V, D))
    assert np.array_equal(initialisers.gaussian(same), np.ones((2, D)))


def test_sparsemax_is_the_projection_onto_the_simplex() -> None:
    generator = np.random.default_rng(2)
    scores = generator.normal(size=(50, 7))
    weights = sparsemax(scores)
    assert np.allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all() and (weights == 0).any()
    # no other point of the simplex is nearer
    nearest = ((scores - weights) ** 2).sum(axis=1)
    for _ in range(200):
        other = generator.dirichlet(np.ones(7) * 0.5, size=50)
        assert (((scores - other) ** 2).sum(axis=1) >= nearest - 1e-12).all()


def two_fields() -> list[np.ndarray]:
    """Ids 0-9 stand among themselves, 10-19 among themselves; 20 among the former, 21 among the latter."""
    generator = np.random.default_rng(4)
    documents = []
    for _ in range(300):
        low, members = (0, 20) if generator.random() < 0.5 else (10, 21)
        ids = generator.integers(low, low + 10, 30)
        ids[generator.random(30) < 0.1] = members
        documents.append(ids)
    return documents


def test_static_vectors_put_a_token_beside_those_it_stands_among() -> None:
    vectors = static_vectors(two_fields(), 24, dimensions=4)
    assert np.allclose(np.linalg.norm(vectors[:22], axis=1), 1)
    assert not vectors[22:].any(), "never seen"
    cosines = vectors[20] @ vectors[:20].T
    assert cosines[:10].min() > cosines[10:].max() + 0.5
    assert np.array_equal(vectors, static_vectors(two_fields(), 24, dimensions=4))


def test_static_vectors_of_next_to_no_text_are_zero() -> None:
    assert not static_vectors([], 10).any()
    assert not static_vectors([np.array([1, 2])], 10).any()
    assert static_vectors([np.array([1, 2, 3, 4, 5, 6] * 5)], 10).shape == (10, 100)


def test_focus_mixes_the_kept_rows_that_stand_in_like_places() -> None:
    vectors = static_vectors(two_fields(), V, dimensions=4)
    base = torch.zeros(V, 2)
    base[:10, 0], base[10:20, 1] = 1, 1
    new = [20, 21, 30]
    one = problem(
        base_VD=base, new_ids=new, kept_ids=[i for i in range(V) if i not in new], pieces=[[50], [50], [0, 10]]
    )
    rows = focus(one, vectors, np.arange(V))
    assert np.allclose(rows[:2], [[1, 0], [0, 1]], atol=1e-6)
    assert np.allclose(rows[2], [0.5, 0.5]), "without a vector: the mean of its pieces"


def test_focus_reads_a_moved_token_from_its_row_in_the_base() -> None:
    vectors = np.zeros((V, 3))
    vectors[2] = vectors[8] = [1, 0, 0]
    sources = np.arange(V)
    sources[8] = 40
    one = problem(new_ids=[2], pieces=[[1]], kept_ids=[i for i in range(V) if i not in (2, 8)])
    assert np.allclose(focus(one, vectors, sources)[0], rows_of(one, [40])[0])
