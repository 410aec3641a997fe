"""The change of layout: the kernels' tests."""

from tests.kernels.test_transpose import size, test_elements_and_sizes_are_checked, test_transpose_matrices  # noqa: F401
