"""Ids and seeds in paths."""

import pytest

from diffmia.files.layout import by_id_and_seed, id_and_seed


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("results/splits/digits/seed0.json", ("digits", 0)),
        ("results/residuals/ddpm_digits/seed12.meta.json", ("ddpm_digits", 12)),
        ("results/scores/ddpm_digits/seed3/pia.parquet", ("ddpm_digits", 3)),
        ("results/scores/ddpm_digits/seed3/seed_averaged.parquet", ("ddpm_digits", 3)),
        ("results/targets/seedling/seed1/training_loss.csv", ("seedling", 1)),
    ],
)
def test_the_id_and_seed_of_a_path(path, place):
    assert id_and_seed(path) == place
    assert by_id_and_seed([path]).keys() == {place}
