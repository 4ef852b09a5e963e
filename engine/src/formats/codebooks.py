"""Makes codebooks.bin: the grids of ggml's IQ types as the words that stand in front of the scales, in the order of GRIDS. They are
data of those formats; here they come from the gguf Python package (0.19.0).

A point of 8 values is one word: byte b holds the level of value b in its low nibble and that of value b + 4 in its high one, levels
counted from the smallest. A point of 4 values is one word too: their bytes.

    pip install gguf==0.19.0 && python engine/src/formats/codebooks.py
"""

from pathlib import Path

import numpy as np
from gguf import quants

GRIDS = [quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S, quants.IQ1_S]


def words(kind: type) -> np.ndarray:
    kind.init_grid()
    points = kind.grid.reshape(kind.grid_shape).astype(np.int64)
    if kind.grid_shape[1] == 4:
        codes = points.astype(np.uint8)
    else:
        levels = np.searchsorted(np.array(kind.grid_map), points).astype(np.uint8)
        codes = levels[:, :4] | levels[:, 4:] << 4
    return np.ascontiguousarray(codes).view("<u4")


def main() -> None:
    # The eighth sign of a group of 8 makes the number of minus signs even, which kernels count instead of looking it up.
    assert all(byte >> 7 == bin(byte & 127).count("1") % 2 and byte & 127 == i for i, byte in enumerate(quants.IQ2_XXS.ksigns))
    Path(__file__).with_suffix(".bin").write_bytes(b"".join(words(kind).tobytes() for kind in GRIDS))


if __name__ == "__main__":
    main()
