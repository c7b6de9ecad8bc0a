"""Files and frames to examples."""

from tl_keras.data.examples import Examples
from tl_keras.data.table import read_table

__all__ = ["Examples", "read_table"]
