"""The tests of the CUDA kernels, run on _cpu in float64, too: both extensions offer the same functions.

Rows of convolution differ; those of _cpu are tested in tests/conv.
"""

from tests.kernels.test_cross_entropy import (  # noqa: F401
    test_a_label_out_of_range_reads_nothing,
    test_loss_and_gradient,
    test_without_a_gradient,
)
from tests.kernels.test_cross_entropy import test_large_values as test_large_values_of_cross_entropy  # noqa: F401
from tests.kernels.test_cross_entropy import test_nan_stays_in_its_row as test_nan_of_cross_entropy  # noqa: F401
from tests.kernels.test_cross_entropy import test_nothing_to_do as test_no_cross_entropy  # noqa: F401
from tests.kernels.test_cross_entropy import test_same_bits_in_any_thread_order as test_same_bits_of_cross_entropy  # noqa: F401
from tests.kernels.test_elu import test_counts_without_a_slope as test_counts_of_elu  # noqa: F401
from tests.kernels.test_elu import test_infinity_and_nan as test_infinity_and_nan_of_elu  # noqa: F401
from tests.kernels.test_elu import test_values_and_slopes as test_values_and_slopes_of_elu  # noqa: F401
from tests.kernels.test_gelu import (  # noqa: F401
    test_counts_without_a_slope,
    test_largest_numbers_and_nan,
    test_values_and_slopes,
)
from tests.kernels.test_gemm import (  # noqa: F401
    test_no_products,
    test_sizes,
    test_sums_of_16_bit_products_are_float32,
)
from tests.kernels.test_gemm import test_tolerance_law as test_tolerance_law_of_gemm  # noqa: F401
from tests.kernels.test_leaky_relu import (  # noqa: F401
    test_counts_without_a_mark,
    test_forward_and_backward,
    test_infinity_and_nan,
)
from tests.kernels.test_optim import (  # noqa: F401
    test_adam_step,
    test_empty_tensors,
    test_lists_and_dtypes_are_checked,
    test_sgd_step,
)
from tests.kernels.test_pool import test_a_window_is_one_channel_s, test_average, test_channels_last, test_max  # noqa: F401
from tests.kernels.test_softmax import (  # noqa: F401
    test_backward,
    test_forward,
    test_large_values,
    test_nan_stays_in_its_row,
    test_nothing_to_do,
)
