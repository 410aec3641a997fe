"""The tables of jcjohnson/cnn-benchmarks at batch 16, and today's figures of this device.

Total is forward and backward, as there. Its AlexNet is BVLC's, with images of 224 x 224 and pooling that rounds up;
gpucnn's, the same layers, takes 227 x 227. gpucnn's GoogLeNet (Inception-V1) trains its two auxiliary heads as well.
"""

from .history import network_table, networks, parsed, parser_of, records

BATCH = 16
# Their name and ours.
NETWORKS = {
    "AlexNet": "alexnet",
    "Inception-V1": "googlenet",
    "VGG-16": "vgg-d",
    "VGG-19": "vgg-e",
    **{f"ResNet-{depth}": f"resnet-{depth}" for depth in (18, 34, 50, 101, 152, 200)},
}
QUICK = {"AlexNet": 4, "Inception-V1": 1, "ResNet-18": 2}  # and the images of --quick


def main(argv):
    quick = f"{', '.join(QUICK)} on few images: under a minute"
    options = parsed(parser_of("cnn-benchmarks", __doc__.splitlines()[0], quick), argv)
    chosen = QUICK if options.quick else dict.fromkeys(NETWORKS, BATCH)
    session = networks("cnn-benchmarks", [(NETWORKS[name], batch) for name, batch in chosen.items()], options)
    past, lines = records("jcjohnson_cnn_benchmarks"), [""]
    for name in chosen:
        rows = [
            (
                r["device"] if r["device"].startswith("CPU") else f"{r['device']}, cuDNN {r['cudnn'].lower()}",
                *(float(r[f"{part}_ms"]) for part in ("total", "forward", "backward")),
            )
            for r in past
            if r["network"] == name
        ]
        lines += network_table(name, rows, BATCH, [r for r in session.rows if r["model"] == NETWORKS[name]])
    print("\n".join(lines))
    return session.code
