"""The tables of the lectures on networks (cs231n 7 and 11, 2016), recomputed by ``gpucnn.summary``."""

import pytest

from gpucnn import nn
from gpucnn.models import INPUTS, MODELS
from gpucnn.summary import summarize


def summary(name):
    with nn.init.skip():
        return summarize(MODELS[name](), INPUTS[name])


def convolutions_and_poolings(name):
    kinds = ("Conv2d", "MaxPool2d", "Linear")
    return [(*layer.output[1:], layer.output[0]) for layer in summary(name).layers if layer.kind in kinds]


@pytest.mark.parametrize("name", ["alexnet", "alexnet-simple"])
def test_alexnet_sizes(name):
    assert convolutions_and_poolings(name) == [
        *[(55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256)],
        *[(13, 13, 384), (13, 13, 384), (13, 13, 256), (6, 6, 256)],
        *[(4096,), (4096,), (1000,)],
    ]


def test_alexnet_first_layer_has_35_thousand_weights_and_norms_follow_pooling():
    layers = summary("alexnet-simple").layers
    assert [layer.kind for layer in layers[1:7]] == ["Conv2d", "MaxPool2d", "LocalResponseNorm"] * 2
    assert layers[1].parameters == 11 * 11 * 3 * 96 + 96  # "(11*11*3)*96 = 35K", without the biases
    assert round(layers[1].parameters / 1e3) == 35


def test_response_normalisation_comes_before_pooling_in_the_papers():
    kinds = [layer.kind for layer in summary("alexnet").layers]
    assert kinds[1:7] == ["Conv2d", "LocalResponseNorm", "MaxPool2d"] * 2
    kinds = [layer.kind for layer in summary("vgg-a-lrn").layers]
    assert kinds[1:4] == ["Conv2d", "LocalResponseNorm", "MaxPool2d"]
    assert kinds.count("LocalResponseNorm") == 1


def test_alexnet_needs_about_3_gb_at_batch_256():
    forward = 256 * summary("alexnet").total("bytes")
    assert 2 * forward == pytest.approx(3e9, rel=0.05)  # activations and their gradients


def test_zfnet_differs_from_alexnet_where_the_lectures_say():
    layers = [layer for layer in summary("zfnet").layers if layer.kind == "Conv2d"]
    assert [layer.output[0] for layer in layers] == [96, 256, 512, 1024, 512]
    assert layers[0].field.size == (7, 7)
    assert layers[0].field.jump == (2, 2)


C = 8


def conv(channels, filters, size):
    padding = (size[0] // 2, size[1] // 2)
    return nn.Conv2d(channels, filters, size, padding=padding, bias=False)


@pytest.mark.parametrize(
    ("layers", "times_channels_squared", "sees"),
    [
        ([(C, C, (7, 7))], 49, (7, 7)),
        ([(C, C, (3, 3))] * 3, 27, (7, 7)),
        ([(C, C, (3, 3))] * 2, 18, (5, 5)),
        ([(C, C, (3, 3))], 9, (3, 3)),
        ([(C, C // 2, (1, 1)), (C // 2, C // 2, (3, 3)), (C // 2, C, (1, 1))], 3.25, (3, 3)),
        ([(C, C, (1, 3)), (C, C, (3, 1))], 6, (3, 3)),
    ],
)
def test_cost_of_stacks_of_small_filters(layers, times_channels_squared, sees):
    """C channels in and out, H x W x C kept: so many C^2 weights and H W C^2 multiply-adds."""
    found = summarize(nn.Sequential(*(conv(*layer) for layer in layers)), (C, 13, 11))
    assert {layer.output[1:] for layer in found.layers} == {(13, 11)}
    assert found.total("parameters") == times_channels_squared * C**2
    assert found.total("multiply_adds") == times_channels_squared * 13 * 11 * C**2
    assert found.layers[-1].field.size == sees


@pytest.mark.parametrize(("K", "P"), [(3, 2), (5, 3)])
def test_a_unit_after_pooling_sees_P_plus_K_minus_1(K, P):
    found = summarize(nn.Sequential(nn.Conv2d(1, 1, K), nn.MaxPool2d(P)), (1, 20, 20))
    assert found.layers[-1].field.size == (P + K - 1, P + K - 1)


def test_convolution_against_fully_connected():
    """32x32x3 to 28x28x6: 450 weights and about 350K multiplications, against 14.5M weights."""
    small = summarize(nn.Conv2d(3, 6, 5, bias=False), (3, 32, 32)).layers[-1]
    assert (small.output, small.parameters, small.multiply_adds) == ((6, 28, 28), 450, 352_800)
    with nn.init.skip():
        dense = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6 * 28 * 28, bias=False))
    assert round(summarize(dense, (3, 32, 32)).total("parameters") / 1e6, 1) == 14.5


# [side of the image, channels, weights without biases] of every layer of the VGG-D table.
VGG_D = [
    *[(224, 3, 0), (224, 64, 1_728), (224, 64, 36_864), (112, 64, 0)],
    *[(112, 128, 73_728), (112, 128, 147_456), (56, 128, 0)],
    *[(56, 256, 294_912), (56, 256, 589_824), (56, 256, 589_824), (28, 256, 0)],
    *[(28, 512, 1_179_648), (28, 512, 2_359_296), (28, 512, 2_359_296), (14, 512, 0)],
    *[(14, 512, 2_359_296), (14, 512, 2_359_296), (14, 512, 2_359_296), (7, 512, 0)],
    *[(1, 4096, 102_760_448), (1, 4096, 16_777_216), (1, 1000, 4_096_000)],
]


def test_vgg_d_table():
    found = summary("vgg-d")
    assert len(found.layers) == len(VGG_D)
    for layer, (side, channels, weights) in zip(found.layers, VGG_D, strict=True):
        assert layer.activations == side * side * channels
        assert layer.parameters == weights + (channels if weights else 0)
    assert round(found.total("parameters") / 1e6) == 138
    parameters = sorted(found.layers, key=lambda layer: layer.parameters)
    assert parameters[-1].multiply_adds == 102_760_448
    early = sum(layer.activations for layer in found.layers[:8])
    assert early > found.total("activations") / 2  # "most memory is in early CONV"
    late = sum(layer.parameters for layer in found.layers[-3:])
    assert late > found.total("parameters") / 2  # "most params are in late FC"


def test_vgg_d_memory_is_the_sum_of_its_rows():
    """The table's total, "24M * 4 bytes ~= 93MB", is not the sum of its own rows, which print 150K, 3.2M, 3.2M, 800K,
    ...: they add up to 15.2M, 58 MiB (https://github.com/cs231n/cs231n.github.io/issues/88)."""
    found = summary("vgg-d")
    printed = [150e3, *[3.2e6] * 2, 800e3, *[1.6e6] * 2, 400e3, *[800e3] * 3, 200e3, *[400e3] * 3, 100e3]
    printed += [*[100e3] * 3, 25e3, 4096, 4096, 1000]
    for layer, number in zip(found.layers, printed, strict=True):
        assert layer.activations == pytest.approx(number, rel=0.01)
    assert found.total("activations") == 15_237_608
    assert found.total("bytes") == 4 * 15_237_608


def test_vgg_row_of_parameters():
    names = ("a", "a-lrn", "b", "c", "d", "e")
    millions = [round(summary(f"vgg-{name}").total("parameters") / 1e6) for name in names]
    assert millions == [133, 133, 133, 134, 138, 144]
    weight_layers = [
        sum(layer.kind in ("Conv2d", "Linear") for layer in summary(f"vgg-{name}").layers) for name in names
    ]
    assert weight_layers == [11, 11, 13, 16, 16, 19]


# The table of GoogLeNet: side and channels of the output, channels in, #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5,
# pool proj, and what it prints as params (K) and ops (M).
GOOGLENET = {
    "3a": (28, 256, 192, 64, 96, 128, 16, 32, 32, 159, 128),
    "3b": (28, 480, 256, 128, 128, 192, 32, 96, 64, 380, 304),
    "4a": (14, 512, 480, 192, 96, 208, 16, 48, 64, 364, 73),
    "4b": (14, 512, 512, 160, 112, 224, 24, 64, 64, 437, 88),
    "4c": (14, 512, 512, 128, 128, 256, 24, 64, 64, 463, 100),
    "4d": (14, 528, 512, 112, 144, 288, 32, 64, 64, 580, 119),
    "4e": (14, 832, 528, 256, 160, 320, 32, 128, 128, 840, 170),
    "5a": (7, 832, 832, 256, 160, 320, 32, 128, 128, 1072, 54),
    "5b": (7, 1024, 832, 384, 192, 384, 48, 128, 128, 1388, 71),
}
# Where the printed figure is not what the sizes in the same row give (K of 1024 weights without biases, M of 10^6
# multiply-adds, cut or rounded): (printed, from the sizes).
PARAMS_MISPRINTED = {
    "conv1": (2.7, 9.1875),
    "3b": (380, 379.0),
    "4a": (364, 366.75),
    "4b": (437, 438.0),
    "4c": (463, 497.5),
    "4d": (580, 590.5),
    "4e": (840, 847.0),
    "5a": (1072, 1018.0),
    "5b": (1388, 1409.0),
}
OPS_MISPRINTED = {"conv1": (34, 118.013952), "5a": (54, 51.079168)}


def rows_of_googlenet():
    """{row: (side, channels, weights without biases, multiply-adds)}, from the sizes in the table alone."""
    rows = {"conv1": (112, 64, 7 * 7 * 3 * 64), "conv2": (56, 192, 64 * 64 + 3 * 3 * 64 * 192)}
    for name, (side, out, channels, one, reduce3, three, reduce5, five, pool, _, _) in GOOGLENET.items():
        assert one + three + five + pool == out
        inner = 9 * reduce3 * three + 25 * reduce5 * five
        rows[name] = (side, out, channels * (one + reduce3 + reduce5 + pool) + inner)
    rows["linear"] = (1, 1000, 1024 * 1000)
    return {name: (*row, row[0] ** 2 * row[2]) for name, row in rows.items()}


def test_googlenet_table():
    found = summary("googlenet")
    prefixes = {"conv1": ("stem.0",), "conv2": ("stem.4", "stem.6"), "linear": ("head.3",)}
    for row, (side, channels, weights, multiply_adds) in rows_of_googlenet().items():
        start = prefixes.get(row, (f"inception{row}.",))
        layers = [layer for layer in found.layers if layer.name.startswith(start)]
        weighted = [layer for layer in layers if layer.kind in ("Conv2d", "Linear")]
        biases = sum(layer.output[0] for layer in weighted)
        assert sum(layer.parameters for layer in layers) == weights + biases
        assert sum(layer.multiply_adds for layer in layers) == multiply_adds
        assert weighted[-1].output[1:] == ((side, side) if side > 1 else ())
        if row.startswith(("3", "4", "5")):  # the last convolution of each of four branches
            ends = [layer for layer in weighted if layer.name.endswith(("one.0", "three.2", "five.2", "pool.1"))]
            assert sum(layer.output[0] for layer in ends) == channels
    pools = [layer.output for layer in found.layers if layer.name in ("stem.2", "stem.9", "pool", "head.0")]
    assert pools == [(64, 56, 56), (192, 28, 28), (480, 14, 14), (832, 7, 7), (1024, 1, 1)]


def agree(printed, computed):
    """Cut or rounded."""
    return printed in (int(computed), round(computed))


def test_googlenet_printed_figures():
    printed = {"conv1": (2.7, 34), "conv2": (112, 360), "linear": (1000, 1)}
    printed |= {name: row[-2:] for name, row in GOOGLENET.items()}
    params, ops = {}, {}
    for name, (_, _, weights, multiply_adds) in rows_of_googlenet().items():
        for column, number, computed in (
            (params, printed[name][0], weights / 1024),
            (ops, printed[name][1], multiply_adds / 1e6),
        ):
            if not agree(number, computed):
                column[name] = (number, computed)
    assert params == PARAMS_MISPRINTED
    assert ops == OPS_MISPRINTED


def test_googlenet_against_alexnet():
    """ "12x less params, 2x more compute". The 5M behind the 12 is not the sum of the table's params column, 6.8M as
    printed; it is 7.0M from the sizes, 6.0M of them before the classifier: 8.7x and 10x less."""
    google, alex = summary("googlenet"), summary("alexnet")
    assert google.total("parameters") == 6_998_552
    assert round(alex.total("parameters") / google.total("parameters"), 1) == 8.7
    assert google.unused == 13_378_280 - 6_998_552
    assert round(google.total("multiply_adds") / alex.total("multiply_adds")) == 2


def test_resnet_is_quickly_down_to_56x56():
    layers = summary("resnet-152").layers
    assert [layer.output for layer in layers if layer.kind in ("MaxPool2d", "AdaptiveAvgPool2d")] == [
        (64, 56, 56),
        (2048, 1, 1),
    ]
    assert layers[1].output == (64, 112, 112)
    assert layers[1].field.size == (7, 7)


def test_alphago_keeps_the_board():
    layers = [layer for layer in summary("alphago-policy").layers if layer.kind == "Conv2d"]
    assert [layer.output for layer in layers] == [(192, 19, 19)] * 12 + [(1, 19, 19)]
    assert [layer.field.size[0] for layer in layers] == [*range(5, 29, 2), 27]
