"""The table of all differentiable operations: how to call each, on what, and what PyTorch calls the same thing."""

import numpy as np

import gpucnn as g
from gpucnn.ops import getitem, to_device
from tests.ops import table_activations, table_layers, table_losses
from tests.ops.case import Case, apart, between, binary, elementwise, positive, real


def batch_norm(training, relu=False):
    def call(x, weight, bias, residual=None):
        mean, var = (g.tensor(np.linspace(*ends, x.shape[1]), "float32", x.device) for ends in ((-1, 1), (0.5, 2)))
        return g.batch_norm(x, mean, var, weight, bias, training=training, residual=residual, relu=relu)

    def torch_call(t, x, weight, bias, residual=0):
        mean, var = t.linspace(-1, 1, x.shape[1]).to(x), t.linspace(0.5, 2, x.shape[1]).to(x)
        y = t.nn.functional.batch_norm(x, mean, var, weight, bias, training) + residual
        return t.relu(y) if relu else y

    return {"function": call, "torch": torch_call, "spread": True, "forward": 2, "gradient": 3}


def dropout(x):
    g.manual_seed(7)
    return g.dropout(x, 0.3)


LABELS = np.array([2, 0, 4])
PICKS = np.array([[1, 0, 1], [3, 3, 0]])  # names elements twice
MASK = np.arange(12).reshape(3, 4) % 5 < 2


CASES = [
    *binary("add"),
    *binary("sub"),
    *binary("mul"),
    *binary("div", real, positive, gradient=5),
    *binary("pow", positive, real, gradient=6),
    *binary("maximum", apart, between),
    *binary("minimum", apart, between),
    Case("pow", lambda x: g.pow(x, 3), ((3, 4),), lambda t, x: x**3, gradient=4, empty=((0,),), variant="cube"),
    Case("pow", lambda x: g.pow(x, 0), ((3, 4),), lambda t, x: x**0, variant="zero"),
    Case("pow", lambda x: g.pow(2.0, x), ((3, 4),), lambda t, x: 2.0**x, gradient=5, variant="base"),
    Case("sub", lambda x: 1 - x, ((3, 4),), lambda t, x: 1 - x, variant="number"),
    Case("div", lambda x: 1 / x, (((3, 4), positive),), lambda t, x: 1 / x, gradient=5, variant="number"),
    Case(
        "where",
        lambda a, b: g.where(g.tensor(MASK, device=a.device), a, b),
        ((3, 4), (4,)),
        lambda t, a, b: t.where(t.tensor(MASK), a, b),
        spread=True,
    ),
    elementwise("neg", ((3, 4),)),
    elementwise("abs", (((3, 4), apart),)),
    elementwise("exp", ((3, 4),)),
    elementwise("log", (((3, 4), positive),)),
    elementwise("sqrt", (((3, 4), positive),), gradient=3),
    elementwise("relu", (((3, 4), apart),)),
    elementwise("sigmoid", ((3, 4),), gradient=5),
    elementwise("tanh", ((3, 4),), gradient=6),
    Case("clip", lambda x: g.clip(x, -0.3, 0.2), (((3, 4), apart),), lambda t, x: t.clip(x, -0.3, 0.2), empty=((0,),)),
    Case("clip", lambda x: g.clip(x, high=0.1), (((3, 4), apart),), lambda t, x: t.clip(x, max=0.1), variant="high"),
    Case("astype", lambda x: g.astype(g.astype(x, "float64"), x.dtype), ((3, 4),), empty=((0, 2),)),
    Case("to_device", lambda x: to_device(x, "cpu"), ((3, 4),)),
    Case("dropout", dropout, ((5, 6),), forward=2, empty=((0, 2),)),
    # reductions
    Case("sum", lambda x: g.sum(x), ((3, 4, 2),), lambda t, x: x.sum(), spread=True, empty=((0, 2),)),
    Case("sum", lambda x: g.sum(x, (0, -1)), ((3, 4, 2),), lambda t, x: x.sum((0, -1)), spread=True, variant="axes"),
    Case(
        "sum",
        lambda x: g.sum(x, 1, keepdims=True),
        ((3, 4, 2),),
        lambda t, x: x.sum(1, keepdim=True),
        spread=True,
        variant="keepdims",
    ),
    Case("mean", lambda x: g.mean(x), ((3, 4, 2),), lambda t, x: x.mean(), spread=True),
    Case(
        "mean",
        lambda x: g.mean(x, 1),
        ((3, 4, 2),),
        lambda t, x: x.mean(1),
        spread=True,
        empty=((0, 2),),
        variant="axis",
    ),
    Case("var", lambda x: g.var(x), ((3, 4, 2),), lambda t, x: x.var(), spread=True),
    Case(
        "var",
        lambda x: g.var(x, (0, 2), correction=0),
        ((3, 4, 2),),
        lambda t, x: x.var((0, 2), correction=0),
        spread=True,
        variant="biased",
    ),
    Case("max", lambda x: g.max(x), (((3, 4, 2), apart),), lambda t, x: x.max()),
    Case("max", lambda x: g.max(x, (0, 2)), (((3, 4, 2), apart),), lambda t, x: x.amax((0, 2)), variant="axes"),
    Case("min", lambda x: g.min(x), (((3, 4, 2), apart),), lambda t, x: x.min(), variant=""),
    Case(
        "min",
        lambda x: g.min(x, -1, keepdims=True),
        (((3, 4, 2), apart),),
        lambda t, x: x.amin(-1, keepdim=True),
        empty=((0, 3),),
        variant="keepdims",
    ),
    # shapes
    Case("reshape", lambda x: g.reshape(x, (4, -1)), ((2, 6, 3),), lambda t, x: x.reshape(4, -1), empty=((0, 4),)),
    Case(
        "permute", lambda x: g.permute(x, (2, 0, 1)), ((2, 4, 3),), lambda t, x: x.permute(2, 0, 1), empty=((0, 1, 2),)
    ),
    Case(
        "to_layout", lambda x: g.to_layout(x, "channels_last"), ((2, 3, 2, 4),), lambda t, x: x, empty=((0, 1, 2, 2),)
    ),
    Case("transpose", lambda x: g.transpose(x, 0, -1), ((2, 4, 3),), lambda t, x: x.transpose(0, -1), empty=((0, 1),)),
    Case("flatten", lambda x: g.flatten(x, 1), ((2, 4, 3),), lambda t, x: x.flatten(1), empty=((0, 1, 2),)),
    Case("squeeze", lambda x: g.squeeze(x), ((2, 1, 3, 1),), lambda t, x: x.squeeze(), empty=((0, 1),)),
    Case("squeeze", lambda x: g.squeeze(x, 1), ((2, 1, 3, 1),), lambda t, x: x.squeeze(1), variant="axis"),
    Case("unsqueeze", lambda x: g.unsqueeze(x, -1), ((2, 3),), lambda t, x: x.unsqueeze(-1), empty=((0, 1),)),
    Case(
        "broadcast_to",
        lambda x: g.broadcast_to(x, (4, 2, 3)),
        ((2, 1),),
        lambda t, x: x.broadcast_to(4, 2, 3),
        spread=True,
    ),
    Case(
        "cat",
        lambda *x: g.cat(x, axis=1),
        ((2, 1, 3), (2, 4, 3)),
        lambda t, *x: t.cat(x, 1),
        empty=((2, 0, 3), (2, 4, 3)),
    ),
    Case("stack", lambda *x: g.stack(x, axis=-1), ((2, 3), (2, 3)), lambda t, *x: t.stack(x, -1), empty=((0,), (0,))),
    Case("getitem", lambda x: x[1:, ..., None, 1], ((3, 2, 4),), lambda t, x: x[1:, ..., None, 1], variant="basic"),
    Case("getitem", lambda x: x[::-2, 1:3], ((5, 4),), lambda t, x: x.flip(0)[::2, 1:3], variant="negative_step"),
    Case("getitem", lambda x: x[2], ((4,),), lambda t, x: x[2], variant="one_element"),
    Case("getitem", lambda x: x[PICKS], ((4, 3),), lambda t, x: x[t.tensor(PICKS)], spread=True, variant="repeated"),
    Case(
        "getitem",
        lambda x: getitem(x, (g.tensor(PICKS, device=x.device), slice(None), g.tensor(PICKS, device=x.device))),
        ((4, 2, 4),),
        lambda t, x: x[t.tensor(PICKS), :, t.tensor(PICKS)],
        spread=True,
        variant="tensors",
    ),
    Case("getitem", lambda x: x[MASK], ((3, 4, 2),), lambda t, x: x[t.tensor(MASK)], variant="mask"),
    Case("getitem", lambda x: x[[]], ((3, 4),), variant="nothing"),
    # products
    Case("matmul", g.matmul, ((3, 4), (4, 2)), lambda t, a, b: a @ b, spread=True, empty=((3, 0), (0, 2))),
    Case("matmul", g.matmul, ((4,), (4,)), lambda t, a, b: a @ b, spread=True, variant="dot"),
    Case("matmul", g.matmul, ((4,), (3, 4, 2)), lambda t, a, b: a @ b, spread=True, variant="vector_batch"),
    Case("matmul", g.matmul, ((5, 3, 4), (4,)), lambda t, a, b: a @ b, spread=True, variant="batch_vector"),
    Case(
        "matmul",
        g.matmul,
        ((5, 1, 3, 4), (2, 4, 2)),
        lambda t, a, b: a @ b,
        spread=True,
        gradient=3,
        empty=((0, 3, 4), (4, 2)),
        variant="batches",
    ),
    Case(
        "matmul",
        g.matmul,
        ((2, 5, 3), (3, 4)),
        lambda t, a, b: a @ b,
        spread=True,
        empty=((2, 3, 0), (0, 2)),
        variant="rows",
    ),
    Case(
        "matmul", g.matmul, ((5, 3), (2, 3, 4)), lambda t, a, b: a @ b, spread=True, gradient=3, variant="left_shared"
    ),
    Case(
        "linear",
        g.linear,
        ((3, 4), (5, 4), (5,)),
        lambda t, *x: t.nn.functional.linear(*x),
        spread=True,
        forward=2,
        empty=((0, 4), (5, 4), (5,)),
    ),
    Case(
        "linear",
        g.linear,
        ((2, 3, 4), (5, 4)),
        lambda t, *x: t.nn.functional.linear(*x),
        spread=True,
        empty=((2, 0, 4), (5, 4)),
        variant="3d",
    ),
    Case("linear", g.linear, ((4,), (5, 4)), lambda t, *x: t.nn.functional.linear(*x), spread=True, variant="vector"),
    # networks
    Case(
        "conv2d",
        lambda *x: g.conv2d(*x, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        ((2, 3, 7, 9), (4, 3, 2, 3), (4,)),
        lambda t, *x: t.nn.functional.conv2d(*x, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        spread=True,
        forward=2,
        empty=((0, 3, 7, 9), (4, 3, 2, 3), (4,)),
    ),
    Case(
        "conv2d",
        lambda *x: g.conv2d(*x, padding=1, groups=2),
        ((2, 4, 5, 6), (6, 2, 3, 2)),
        lambda t, *x: t.nn.functional.conv2d(*x, padding=1, groups=2),
        spread=True,
        variant="groups",
    ),
    Case(
        "conv2d",
        lambda *x: g.conv2d(*x, groups=3, algorithm="direct"),
        ((2, 3, 5, 6), (3, 1, 3, 2), (3,)),
        lambda t, *x: t.nn.functional.conv2d(*x, groups=3),
        spread=True,
        forward=2,
        variant="depthwise_direct",
    ),
    Case(
        "max_pool2d",
        lambda x: g.max_pool2d(x, (3, 2), stride=(1, 2), padding=(1, 0)),
        (((2, 3, 5, 6), apart),),
        lambda t, x: t.nn.functional.max_pool2d(x, (3, 2), (1, 2), (1, 0)),
        spread=True,
        empty=((0, 3, 5, 6),),
    ),
    Case(
        "max_pool2d",
        lambda x: g.max_pool2d(x, 2, dilation=(2, 3), stride=1),
        (((1, 2, 6, 7), apart),),
        lambda t, x: t.nn.functional.max_pool2d(x, 2, 1, 0, (2, 3)),
        spread=True,
        variant="dilated",
    ),
    Case(
        "avg_pool2d",
        lambda x: g.avg_pool2d(x, (3, 2), stride=(1, 2), padding=(1, 1)),
        ((2, 3, 5, 6),),
        lambda t, x: t.nn.functional.avg_pool2d(x, (3, 2), (1, 2), (1, 1)),
        spread=True,
        empty=((0, 3, 5, 6),),
    ),
    Case(
        "avg_pool2d",
        lambda x: g.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False),
        ((2, 3, 5, 6),),
        lambda t, x: t.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        spread=True,
        variant="without_pad",
    ),
    Case("softmax", g.softmax, ((3, 5),), lambda t, x: x.softmax(-1), gradient=4, spread=True, empty=((0, 5),)),
    Case(
        "softmax",
        lambda x: g.softmax(x, axis=1),
        ((2, 4, 3),),
        lambda t, x: x.softmax(1),
        gradient=4,
        spread=True,
        variant="axis",
    ),
    Case(
        "log_softmax",
        g.log_softmax,
        ((3, 5),),
        lambda t, x: x.log_softmax(-1),
        gradient=4,
        spread=True,
        empty=((0, 5),),
    ),
    Case("batch_norm", inputs=((4, 3, 2, 3), (3,), (3,)), empty=((0, 3, 2, 3), (3,), (3,)), **batch_norm(False)),
    Case("batch_norm", inputs=((4, 3, 2, 3), (3,), (3,)), variant="training", **batch_norm(True)),
    Case("batch_norm", inputs=((6, 3), (3,), (3,)), variant="training_2d", **batch_norm(True)),
    Case("batch_norm", inputs=((4, 3, 2, 3), (3,), (3,)), variant="relu", **batch_norm(True, True)),
    Case("batch_norm", inputs=((4, 3, 2, 3), (3,), (3,), (4, 3, 2, 3)), variant="residual", **batch_norm(True)),
    Case("batch_norm", inputs=((4, 3, 2, 3), (3,), (3,), (4, 3, 2, 3)), variant="block", **batch_norm(True, True)),
    Case(
        "cross_entropy",
        lambda x: g.cross_entropy(x, g.tensor(LABELS, device=x.device)),
        ((3, 5),),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor(LABELS)),
        forward=2,
        spread=True,
    ),
    Case(
        "cross_entropy",
        lambda x: g.cross_entropy(x, g.tensor(LABELS, device=x.device), reduction="none"),
        ((3, 5),),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor(LABELS), reduction="none"),
        spread=True,
        variant="none",
    ),
    Case(
        "mse_loss",
        g.mse_loss,
        ((3, 4), (3, 4)),
        lambda t, *x: t.nn.functional.mse_loss(*x),
        forward=4,
        gradient=4,
        spread=True,
    ),
    Case(
        "mse_loss",
        lambda *x: g.mse_loss(*x, reduction="sum"),
        ((3, 4), (3, 4)),
        lambda t, *x: t.nn.functional.mse_loss(*x, reduction="sum"),
        forward=4,
        gradient=4,
        spread=True,
        empty=((0, 4), (0, 4)),
        variant="sum",
    ),
    *table_activations.CASES,
    *table_layers.CASES,
    *table_losses.CASES,
]
