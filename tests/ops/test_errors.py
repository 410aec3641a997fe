"""One table of bad calls: each is refused with the right class and one clear line `<op>: <rule>, but <what came>`."""

import re

import numpy as np
import pytest

import gpucnn as g
from gpucnn.ops import to_device

X, W = g.zeros(4, 8, 9, 7), g.zeros(6, 8, 3, 2)
HALF, INTS, BIG = g.zeros(4, dtype="float16"), g.arange(4), g.zeros(3, 5)
STATS = g.zeros(8), g.ones(8)

BAD_VALUES = [
    (lambda: g.conv2d(X, g.zeros(6, 3, 3, 2), groups=2), "conv2d: weight takes 3 channels x 2 groups = 6, but x has 8"),
    (lambda: g.conv2d(X, W, g.zeros(5)), "conv2d: bias .* (5,) (weight (6, 8, 3, 2))"),
    (lambda: g.conv2d(X[0], W), "conv2d: x and weight have 4 dimensions, but came 3 and 4"),
    (lambda: g.conv2d(X, W, stride=0), "strides .* are positive"),
    (lambda: g.conv2d(X, W, dilation=(1, 0)), "dilations are positive"),
    (lambda: g.conv2d(X, W, padding=-1), "padding is not negative"),
    (lambda: g.conv2d(X, W, stride=(1, 2, 3)), "conv2d stride: takes an int or a pair .* (1, 2, 3)"),
    (lambda: g.conv2d(X, W, padding=0.5), "conv2d padding: .* 0.5"),
    (lambda: g.conv2d(X, W, padding="valid"), "conv2d padding: takes an int, .* \"same\", but came 'valid'"),
    (lambda: g.conv2d(X, W, padding="same", stride=2), 'conv2d: padding="same" goes with stride 1, but came stride 2'),
    (lambda: g.conv2d(X, W[0], padding="same"), "conv2d weight: takes 4 dimensions"),
    (lambda: g.conv2d(X, W, groups=1.0), "conv2d groups: takes an int, but came 1.0"),
    (lambda: g.conv2d(X, W, groups=0), "conv2d: .* 0 groups"),
    (lambda: g.conv2d(X, g.zeros(6, 8, 12, 2)), "filter fits .* 12x2 .* larger than 9x7"),
    (lambda: g.conv2d(X, g.zeros(7, 4, 3, 2), groups=2), "groups divides C and K"),
    (lambda: g.conv2d(X, W, algorithm="winograd9"), "winograd2, winograd4, but came 'winograd9'"),
    (lambda: g.max_pool2d(X, 2, padding=2), "max_pool2d: padding is at most half of the window, but came (2, 2)"),
    (lambda: g.max_pool2d(X[0], 2), "max_pool2d: takes 4 dimensions (N, C, H, W), but came 3 ((8, 9, 7))"),
    (lambda: g.max_pool2d(X, 10), "larger than 9x7"),
    (lambda: g.max_pool2d(X, 10, 1, ceil_mode=True), "larger than 9x7"),
    (lambda: g.max_pool2d(X, 2, 0, ceil_mode=True), "strides .* are positive"),
    (lambda: g.avg_pool2d(X, (2, 2, 2)), "avg_pool2d kernel_size: "),
    (lambda: g.adaptive_avg_pool2d(X, 0), "adaptive_avg_pool2d: image and output have at least one pixel"),
    (lambda: g.adaptive_avg_pool2d(X[0], 1), "adaptive_avg_pool2d: takes 4 dimensions"),
    (lambda: g.adaptive_max_pool2d(X[:, :, :0], 1), "adaptive_max_pool2d: .* but came (1, 1) ((4, 8, 0, 7))"),
    (lambda: g.adaptive_max_pool2d(X, (1, None)), "adaptive_max_pool2d output_size: takes an int or a pair"),
    (lambda: g.linear(BIG, g.zeros(2, 4)), "linear: weight takes 4 features, .* (x (3, 5), weight (2, 4))"),
    (lambda: g.linear(BIG, g.zeros(2, 5), g.zeros(3)), "linear: bias .* (3,) (weight (2, 5))"),
    (lambda: g.linear(BIG, g.zeros(5)), "linear weight: takes 2 dimensions"),
    (lambda: g.matmul(BIG, BIG), "matmul: inner lengths are equal, but came (3, 5) @ (3, 5)"),
    (lambda: g.matmul(g.zeros(2, 3, 4), g.zeros(3, 4, 5)), "matmul: leading lengths broadcast"),
    (lambda: g.matmul(g.tensor(1.0), BIG), "matmul: inner lengths"),
    (lambda: BIG + g.zeros(4), "add: shapes broadcast together, but came (3, 5) and (4,)"),
    (lambda: g.zeros(4) == BIG, "compare: shapes broadcast"),
    (lambda: g.where(g.tensor([True, False]), BIG, 0.0), "where: shapes broadcast together"),
    (lambda: g.clip(BIG), "clip: needs a lower or an upper limit"),
    (lambda: g.reshape(BIG, (4, 4)), "reshape: keeps the number of elements, but came (4, 4) for 15 ((3, 5))"),
    (lambda: g.reshape(BIG, (-1, -1)), "reshape: "),
    (lambda: g.reshape(BIG, (4, -1)), "reshape: .* (4, -1)"),
    (lambda: g.permute(BIG, (0, 0)), "permute: names every axis once"),
    (lambda: g.transpose(BIG, 0, 2), "transpose: the axis lies in [-2, 2), but came 2"),
    (lambda: g.flatten(BIG, 3), "flatten: the axis"),
    (lambda: g.squeeze(BIG, 1), "squeeze: the axis has length 1"),
    (lambda: g.unsqueeze(BIG, 4), "unsqueeze: the axis"),
    (lambda: g.broadcast_to(BIG, (3, 4)), "broadcast_to: lengths are equal or 1"),
    (lambda: g.cat([]), "cat: needs at least one tensor"),
    (lambda: g.cat([BIG, g.zeros(3, 4)]), "cat: all lengths but that of axis 0 are equal"),
    (lambda: g.stack([BIG, g.zeros(3, 4)]), "stack: tensors have one shape, but came (3, 5), (3, 4)"),
    (lambda: g.stack([]), "needs at least one tensor"),
    (lambda: g.sum(BIG, (0, -2)), "sum: axis names dimensions of the tensor, each once"),
    (lambda: g.mean(g.zeros(0)), "mean: needs at least one element"),
    (lambda: g.var(g.zeros(1)), "var: needs more than 1 elements, but came 1"),
    (lambda: g.max(g.zeros(0, 3)), "max: needs at least one element"),
    (lambda: g.argmax(g.zeros(0)), "argmax: needs at least one element"),
    (lambda: g.softmax(g.zeros(3, 0)), "softmax: needs at least one class"),
    (lambda: g.log_softmax(BIG, axis=2), "log_softmax: the axis lies in [-2, 2), but came 2"),
    (lambda: g.cross_entropy(BIG, [0, 1, 5]), "cross_entropy: labels lie in [0, 5), but came 5"),
    (lambda: g.cross_entropy(BIG, [0, -1, 5]), "cross_entropy: labels lie in [0, 5), but came -1"),
    (lambda: g.cross_entropy(BIG, [0, 1]), "cross_entropy: one label a row, but came (2,) .* (3, 5)"),
    (lambda: g.cross_entropy(BIG[0], [0]), "cross_entropy logits: takes 2 dimensions"),
    (lambda: g.cross_entropy(BIG[:0], INTS[:0]), "cross_entropy: needs at least one row"),
    (lambda: g.cross_entropy(BIG, [0, 1, 2], reduction="avg"), "cross_entropy: reduction is mean, sum, none"),
    (lambda: g.mse_loss(BIG, g.zeros(5)), "mse_loss: x and target have one shape"),
    (lambda: g.dropout(BIG, 1.5), "dropout: the probability lies in [0, 1), but came 1.5"),
    (lambda: g.dropout(BIG, float("nan")), "dropout: the probability"),
    (lambda: g.batch_norm(X, *STATS, g.ones(7)), "batch_norm: weight has one value a channel, but came (7,)"),
    (lambda: g.batch_norm(X, g.zeros(1), g.ones(8)), "batch_norm: running_mean has one value a channel"),
    (lambda: g.batch_norm(X[:1, :, 0, 0], *STATS, training=True), "batch_norm: needs more than one value a channel"),
    (lambda: g.batch_norm(g.zeros(8), *STATS), "batch_norm: takes (N, C, ...)"),
    (lambda: g.local_response_norm(X, 0), "local_response_norm: the window has at least one channel, but came 0"),
    (lambda: g.local_response_norm(X, 2.5), "local_response_norm size: takes an int"),
    (lambda: g.local_response_norm(X[0, 0, 0]), "local_response_norm: takes (N, C, ...), none but N zero"),
    (lambda: g.local_response_norm(X[:, :0]), "local_response_norm: .* but came (4, 0, 9, 7)"),
    (lambda: to_device(BIG, "cuda:first"), 'device: takes "cpu", "cuda" or "cuda:1", but came'),
    (lambda: g.zeros(3, device="gpu"), "device: takes"),
    (lambda: BIG.item(), "item: needs exactly one element, but came 15"),
    (lambda: bool(BIG > 0), "item: needs exactly one element"),
    (lambda: BIG.__setitem__(0, g.zeros(4)), "setitem: index and value fit the tensor, but .* ((3, 5))"),
    (lambda: BIG.__iadd__(g.zeros(2, 3, 5)), r"+=: the result fits the tensor, but came (2, 3, 5) ((3, 5))"),
    (lambda: g.broadcast_to(BIG, (2, 3, 5)).__iadd__(1), "+=: .* broadcast view"),
]
BAD_KINDS = [
    (
        lambda: g.conv2d(X, g.zeros(6, 8, 3, 2, dtype="float16")),
        "conv2d: takes floats of one dtype, but came float32, ",
    ),
    (lambda: g.conv2d(g.zeros(1, 1, 3, 3, dtype="int64"), g.zeros(1, 1, 3, 3, dtype="int64")), "conv2d: takes floats"),
    (lambda: g.max_pool2d(g.zeros(1, 1, 4, 4, dtype="uint8"), 2), "max_pool2d: takes floats .* uint8"),
    (lambda: g.matmul(HALF, g.zeros(4)), "matmul: takes floats of one dtype, but came float16, float32"),
    (lambda: g.linear(g.zeros(2, 4, dtype="int32"), g.zeros(3, 4)), "linear: takes floats"),
    (lambda: g.softmax(INTS), "softmax: takes floats .* int64"),
    (lambda: g.dropout(INTS), "dropout: takes floats"),
    (lambda: g.batch_norm(g.zeros(2, 8, dtype="int64"), *STATS), "batch_norm: takes floats"),
    (lambda: g.local_response_norm(INTS), "local_response_norm: takes floats"),
    (lambda: g.adaptive_avg_pool2d(g.zeros(1, 1, 4, 4, dtype="uint8"), 2), "adaptive_avg_pool2d: takes floats"),
    (lambda: g.mse_loss(HALF, g.zeros(4)), "mse_loss: takes floats of one dtype"),
    (lambda: g.cat([HALF, g.zeros(4)]), "cat: tensors have one dtype, but came float16 (4,), float32 (4,)"),
    (lambda: g.cross_entropy(BIG, g.zeros(3)), "cross_entropy: labels are integers, but came float32 (3,)"),
    (lambda: g.cross_entropy(BIG, [True, False, True]), "cross_entropy: labels are integers, but came bool"),
    (lambda: g.where(BIG, 1.0, 0.0), "where: the condition is a bool tensor, but came float32 (3, 5)"),
    (lambda: g.tensor([1, 2], requires_grad=True), "tensor: only floats have gradients, but came int64 (2,)"),
    (lambda: g.tensor([1, 2]).requires_grad_(), "tensor: only floats have gradients, but came int64 (2,)"),
    (lambda: g.zeros(2, dtype="complex64"), "dtype: takes one of float32, .*, but came complex64"),
    (lambda: g.tensor("text"), "dtype: takes one of"),
    (lambda: g.tensor([None]), "dtype: takes one of .* object"),
    (lambda: g.tensor(np.zeros(2, np.complex128)), "dtype: takes one of .* complex128"),
    (lambda: BIG.astype("floaty"), "dtype: takes one of .* floaty"),
    (lambda: INTS.__iadd__(0.5), "+=: integers stay integers, but came float32 for int64 (4,)"),
    (lambda: INTS.__itruediv__(2), "/=: integers stay integers"),
    (lambda: len(g.tensor(1.0)), "len: needs at least one dimension"),
    (lambda: [1, 2][g.tensor(1.0)], "index: takes an integer tensor, but came float32"),
]
BAD_INDICES = [
    (lambda: BIG[7], "getitem: the index fits the tensor, but .* out of bounds .* ((3, 5))"),
    (lambda: BIG[0, 0, 0], "getitem: the index fits the tensor, but too many indices"),
    (lambda: BIG[0.5], "getitem: the index fits the tensor, but "),
    (lambda: BIG[g.tensor([True, False])], "getitem: the index fits the tensor, but boolean index"),
    (lambda: BIG.__setitem__(7, 0), "setitem: index and value fit the tensor, but .* out of bounds"),
]
TABLE = [
    *((call, ValueError, text) for call, text in BAD_VALUES),
    *((call, TypeError, text) for call, text in BAD_KINDS),
    *((call, IndexError, text) for call, text in BAD_INDICES),
]
FORM = re.compile(r"[\w+/ ]+=?: .+, but .+")


@pytest.mark.parametrize(("call", "error", "text"), TABLE, ids=[f"{i}-{t[2][:40]}" for i, t in enumerate(TABLE)])
def test_bad_call(call, error, text):
    with pytest.raises(error) as info:
        call()
    message = str(info.value)
    assert type(info.value) is error
    assert FORM.fullmatch(message), message  # of one line, for a dot is no newline
    pattern = ".*".join(map(re.escape, text.split(".*")))  # only .* is special
    assert re.search(pattern, message), message
