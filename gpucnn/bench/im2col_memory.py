"""The memory of im2col: the columns of each layer beside its input, and what gpucnn's row of that name asks for.

Columns repeat an input element for each filter tap that reads it, up to R S / (stride h * stride w) times. gpucnn's row
holds few of them at a time: the workspace it can use, and the least with which it works. Counted, not timed.
"""

from gpucnn.conv import ALGOS
from gpucnn.dtype import FLOATS

from .layers import layers_of
from .session import DTYPES, Session, arguments
from .tables import markdown

NETWORKS, QUICK = ("alexnet", "vgg-d", "googlenet", "resnet-50"), ("alexnet",)


def columns(shape, itemsize):
    """Bytes of the whole matrix of columns, (C R S, N P Q)."""
    return shape.C * shape.R * shape.S * shape.N * shape.P * shape.Q * itemsize


def main(argv):
    parser = arguments("im2col-memory", __doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NAME", help=f"(default: {', '.join(NETWORKS)})")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="whose row (default: cpu)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--batch", type=int, default=1, help="images (default: 1)")
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)} only")
    options = parser.parse_args(argv)
    if options.batch < 1:
        raise ValueError(f"im2col-memory: a batch has at least one image, but came {options.batch}")
    itemsize = FLOATS[options.dtype].itemsize
    names = options.networks or (QUICK if options.quick else NETWORKS)
    layers = [(network, *layer) for network in names for layer in layers_of(network, options.batch)]
    with Session("im2col-memory", len(layers), options.out, options.device) as session:
        for network, name, shape in layers:
            least, best = ALGOS[options.device, "fwd"]["im2col"].workspace(shape, options.dtype)
            session.result(
                name,
                model=network,
                layer=name,
                shape=shape.ints,
                direction="fwd",
                dtype=options.dtype,
                input_bytes=shape.N * shape.C * shape.H * shape.W * itemsize,
                column_bytes=columns(shape, itemsize),
                workspace_least=least,
                workspace_best=best,
            )
    print("\n".join(["", *table(session.rows)]))
    return session.code


def table(rows):
    """The lines: MiB of input, columns and workspace by layer."""
    headings = ["layer", "input MiB", "columns MiB", "columns / input", "workspace MiB, least", "best"]
    lines = [
        [
            r["layer"],
            *(f"{r[what] / 2**20:.2f}" for what in ("input_bytes", "column_bytes")),
            f"{r['column_bytes'] / r['input_bytes']:.2f}",
            *(f"{r[f'workspace_{what}'] / 2**20:.2f}" for what in ("least", "best")),
        ]
        for r in rows
    ]
    return markdown(headings, lines)
