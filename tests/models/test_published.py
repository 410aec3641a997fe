"""Every network has the parameters that its paper, or the reference code, counts; and draws them as the paper does."""

import numpy as np
import pytest

import gpucnn
from gpucnn import models, nn
from gpucnn.models import INPUTS, MODELS
from gpucnn.summary import summarize

RELATIVE = 1e-12  # of the largest logit, in float64: thousands of roundings below what one wrong layer would do

# Exact counts: torchvision's alexnet, vgg11/13/16/19, resnet18 to resnet152 and densenet121; Caffe's AlexNet and
# GoogLeNet with its heads; for resnet-200, WRN-28-10 and DenseNet-BC well-known PyTorch code (64.7M, 36.5M, 0.8M).
EXACT = {
    "lenet": 61_706,
    "alexnet": 60_965_224,
    "alexnet-simple": 62_378_344,
    "alexnet-owt": 61_100_840,
    "vgg-a": 132_863_336,
    "vgg-b": 133_047_848,
    "vgg-d": 138_357_544,
    "vgg-e": 143_667_240,
    "googlenet": 13_378_280,
    "resnet-18": 11_689_512,
    "resnet-34": 21_797_672,
    "resnet-50": 25_557_032,
    "resnet-101": 44_549_160,
    "resnet-152": 60_192_808,
    "resnet-200": 64_673_832,
    "densenet-121": 7_978_856,
    "wide-resnet-28-10": 36_479_194,
    "densenet-bc-100-12": 769_162,
}
# Millions, as the papers print them: OverFeat (145 is 145.9 without its fraction), VGG table 2, ResNet table 6,
# identity mappings, wide ResNets, DenseNet, and stochastic depth, which trains the network of ResNet table 6.
MILLIONS = {
    "overfeat": (145, 1),
    "vgg-a": (133, 0.5),
    "vgg-a-lrn": (133, 0.5),
    "vgg-b": (133, 0.5),
    "vgg-c": (134, 0.5),
    "vgg-d": (138, 0.5),
    "vgg-e": (144, 0.5),
    "cifar-resnet-20": (0.27, 0.005),
    "cifar-resnet-32": (0.46, 0.005),
    "cifar-resnet-44": (0.66, 0.005),
    "cifar-resnet-56": (0.85, 0.005),
    "cifar-resnet-110": (1.7, 0.05),
    "cifar-preresnet-110": (1.7, 0.05),
    "cifar-stochastic-resnet-110": (1.7, 0.05),
    "wide-resnet-28-10": (36.5, 0.05),
    "densenet-bc-100-12": (0.8, 0.05),
}
# Billions of multiply-adds on one image, as torchvision documents them; where the strides are shows only here.
MULTIPLY_ADDS = {
    "alexnet-owt": 0.714,
    "vgg-a": 7.609,
    "vgg-b": 11.308,
    "vgg-d": 15.47,
    "vgg-e": 19.632,
    "resnet-18": 1.814,
    "resnet-34": 3.664,
    "resnet-50": 4.089,
    "resnet-101": 7.801,
    "resnet-152": 11.514,
    "densenet-121": 2.834,
}
# Nobody prints these, so they are counted here by hand: (filters, weights a filter and its bias) of every layer.
BY_HAND = {
    "zfnet": [
        (96, 3 * 49 + 1),
        *[(256, 96 * 25 + 1), (512, 256 * 9 + 1), (1024, 512 * 9 + 1), (512, 1024 * 9 + 1)],
        *[(4096, 512 * 36 + 1), (4096, 4096 + 1), (1000, 4096 + 1)],
    ],
    "alphago-policy": [(192, 48 * 25 + 1), *[(192, 192 * 9 + 1)] * 11, (1, 192), (361, 1)],
}


@pytest.fixture(scope="module")
def counts():
    """{name: parameters} of every network; made without drawing weights, so none takes memory."""
    with nn.init.skip():
        return {name: sum(p.size for p in make().parameters()) for name, make in MODELS.items()}


def test_every_network_is_compared_with_something(counts):
    assert counts.keys() == EXACT.keys() | MILLIONS.keys() | BY_HAND.keys()
    assert counts.keys() == INPUTS.keys()


@pytest.mark.parametrize(("name", "published"), EXACT.items())
def test_exact_counts(counts, name, published):
    assert counts[name] == published


@pytest.mark.parametrize(("name", "published", "rounding"), [(name, *pair) for name, pair in MILLIONS.items()])
def test_rounded_counts(counts, name, published, rounding):
    assert abs(counts[name] / 1e6 - published) <= rounding


@pytest.mark.parametrize(("name", "layers"), BY_HAND.items())
def test_counts_by_hand(counts, name, layers):
    assert counts[name] == sum(filters * size for filters, size in layers)


@pytest.mark.parametrize(("name", "billions"), MULTIPLY_ADDS.items())
def test_multiply_adds(name, billions):
    with nn.init.skip():
        found = summarize(MODELS[name](), INPUTS[name])
    assert round(found.total("multiply_adds") / 1e9, 3) == billions


@pytest.mark.parametrize("name", [name for name, image in INPUTS.items() if image == (3, 32, 32)])
def test_cifar_networks_have_three_stages(name):
    """32, 16 and 8 pixels, the convolutions shared evenly among them (the stem and transitions apart)."""
    with nn.init.skip():
        layers = summarize(MODELS[name](), (3, 32, 32)).layers
    sides = [layer.output[1:] for layer in layers if layer.kind == "Conv2d"]
    counts = [sides.count((side, side)) for side in (32, 16, 8)]
    assert sum(counts) == len(sides)
    assert max(counts) - min(counts) <= 2
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("alexnet-owt", {"features.0.weight": (64, 3, 11, 11), "classifier.6.bias": (1000,)}),
        ("vgg-a", {"features.18.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)}),
        ("vgg-d", {"features.28.bias": (512,), "classifier.3.weight": (4096, 4096)}),
        ("resnet-18", {"layer4.1.bn2.running_var": (512,), "layer2.0.downsample.0.weight": (128, 64, 1, 1)}),
        (
            "resnet-50",
            {
                "conv1.weight": (64, 3, 7, 7),
                "layer1.0.downsample.1.running_mean": (256,),
                "layer3.5.conv2.weight": (256, 256, 3, 3),
                "layer4.2.bn3.weight": (2048,),
                "fc.weight": (1000, 2048),
            },
        ),
        (
            "densenet-121",
            {
                "features.conv0.weight": (64, 3, 7, 7),
                "features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3),
                "features.transition3.conv.weight": (512, 1024, 1, 1),
                "features.norm5.running_var": (1024,),
                "classifier.weight": (1000, 1024),
            },
        ),
    ],
)
def test_names_of_torchvision(name, shapes):
    """So that its weights load with ``load_state_dict(state, strict=False)``, which leaves num_batches_tracked out."""
    with nn.init.skip():
        state = MODELS[name]().state_dict()
    assert {key: state[key].shape for key in shapes} == shapes


def test_resnet_50_has_every_name_of_torchvision():
    names = {f"{norm}.{part}" for norm in ["bn1"] for part in ("weight", "bias", "running_mean", "running_var")}
    names |= {"conv1.weight", "fc.weight", "fc.bias"}
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for block in range(count):
            path = f"layer{stage}.{block}"
            names |= {f"{path}.conv{i}.weight" for i in (1, 2, 3)}
            norms = [f"{path}.bn{i}" for i in (1, 2, 3)]
            if not block:
                names.add(f"{path}.downsample.0.weight")
                norms.append(f"{path}.downsample.1")
            names |= {f"{norm}.{part}" for norm in norms for part in ("weight", "bias", "running_mean", "running_var")}
    with nn.init.skip():
        assert models.ResNet(50).state_dict().keys() == names


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("resnet-18", "resnet18"), ("densenet-121", "densenet121")],
)
def test_outputs_are_those_of_torchvision(name, theirs):
    """The same weights and statistics, under the same names, give the same logits."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    reference = getattr(torchvision.models, theirs)().double().eval()
    for key, value in reference.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    with nn.init.skip():
        network = MODELS[name]().to("float64").eval()
    network.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.endswith("num_batches_tracked")})
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with gpucnn.no_grad(), torch.no_grad():
        found, wanted = network(gpucnn.tensor(x.numpy())).numpy(), reference(x).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=RELATIVE * np.abs(wanted).max())


def weights(network):
    return [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


@pytest.mark.parametrize("make", [models.alexnet, models.alexnet_simple, models.zfnet])
def test_weights_of_alexnet_have_deviation_one_hundredth(make):
    for layer in weights(make(classes=10, hidden=8)):
        values = layer.weight.numpy()
        assert values.std() == pytest.approx(0.01, rel=5 / np.sqrt(values.size))


def test_biases_of_alexnet():
    biases = [layer.bias.numpy() for layer in weights(models.alexnet(classes=10, hidden=8))]
    assert all(len(np.unique(bias)) == 1 for bias in biases)
    assert [bias[0] for bias in biases] == [0, 1, 0, 1, 1, 1, 1, 0]


def test_weights_of_overfeat_have_deviation_one_hundredth():
    for layer in weights(models.overfeat(classes=10, hidden=(8, 8))):
        assert layer.weight.numpy().std() == pytest.approx(0.01, rel=5 / np.sqrt(layer.weight.size))


@pytest.mark.parametrize(
    ("network", "variance"),
    [
        (lambda: models.vgg("c", 10, image=32, hidden=8), lambda i, o: 2 / (i + o)),
        (lambda: models.cifar_resnet(20), lambda i, o: 2 / i),
        (lambda: models.densenet_bc(22), lambda i, o: 2 / i),
    ],
)
def test_variance_by_fans(network, variance):
    for layer in weights(network()):
        values = layer.weight.numpy()
        wanted = variance(*nn.init.fans(values.shape))
        assert values.var() == pytest.approx(wanted, rel=8 / np.sqrt(values.size))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: models.cifar_resnet(21), r"cifar_resnet: depth is 6 n \+ 2 with n from 1 on, but came 21"),
        (lambda: models.cifar_resnet(2), r"but came 2"),
        (lambda: models.cifar_preresnet(111), r"cifar_preresnet: depth is 6 n \+ 2 .* 111"),
        (lambda: models.wide_resnet(29), r"wide_resnet: depth is 6 n \+ 4 .* 29"),
        (lambda: models.densenet_bc(99), r"densenet_bc: depth is 4 \+ 6 n .* 99"),
        (lambda: models.ResNet(20), "ResNet: the depth is one of 18, 34, 50, 101, 152, 200, but came 20"),
        (lambda: models.vgg("f"), "vgg: the configuration is one of a, a-lrn, b, c, d, e, but came 'f'"),
        (lambda: models.vgg("a", image=31), "vgg: five poolings leave something of 32 pixels or more, but came 31"),
    ],
)
def test_impossible_arguments(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_seed_decides_the_weights():
    first = models.vgg("a", 10, image=32, hidden=8).state_dict()
    gpucnn.manual_seed(0)
    second = models.vgg("a", 10, image=32, hidden=8).state_dict()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
