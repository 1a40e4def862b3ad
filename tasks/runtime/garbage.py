"""How often a process looks for garbage."""

import gc

YOUNG_OBJECTS = 20_000  # between two collections; Python's own number is 700


def collect_less_often() -> None:
    """Collect garbage less often: it took a tenth of a worker's CPU, and there are hardly any cycles.

    Call it when everything is loaded: what is there then stays, and is not scanned again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 100)
