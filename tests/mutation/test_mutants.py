"""The list of safeguards that `make mutants` switches off is true of the code as it is."""

import pytest

from tests.mutation.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.safeguard)
def test_every_safeguard_is_where_its_mutant_switches_it_off(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")

    assert text.count(mutant.was) == 1
