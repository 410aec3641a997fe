"""Slips in the convolution by FFT, for test_mutants.py."""

from tests.kernels import test_fft


def fft(shape, direction):
    return lambda kernels: test_fft.test_borders_of_tiles(kernels, direction, test_fft.SHAPES[shape])


def spectra(kernels):
    for seed in range(5):
        kernels.seed(seed)
        test_fft.test_products_of_spectra(kernels, 35, 20, 10, False)  # a last stage in the place of the first


def chunks_of_tiles(kernels):
    test_fft.test_any_workspace(kernels, "wgrad", "tiles", "float32")


# name: file, text, its replacement, the test that must fail
MUTANTS = {
    "a tile right of the image": ("kernels/fft_tiles.cu", "w < g.w.image;", "w <= g.w.image;", fft("tiles", "fwd")),
    "a spectrum not conjugated": ("kernels/fft_tiles.cu", "axis.reversed && e", "false", fft("groups", "fwd")),
    "flipped filters not shifted": ("kernels/fft_tiles.cu", " + axis.shift;", ";", fft("groups", "dgrad")),
    "tiles down and across swapped": (
        *("kernels/fft_tiles.cu", "tile / across % down * g.h.apart", "tile % across * g.h.apart"),
        fft("across", "wgrad"),
    ),
    "an imaginary part of the wrong sign": (
        *("kernels/fft_pointwise.cu", "sums[i][j].x -=", "sums[i][j].x +="),
        spectra,
    ),
    "spectra not waited for": (
        *("kernels/fft_pointwise.cu", "wait<Tile::kStages - 2>", "wait<Tile::kStages - 1>"),
        spectra,
    ),
    "spectra read before all threads have brought them": (
        *("kernels/fft_pointwise.cu", "            __syncthreads();  // this", "            // this"),
        spectra,
    ),
    "spectra overwritten before all threads have read them": (
        *("kernels/fft_pointwise.cu", "        __syncthreads();  // before", "        // before"),
        spectra,
    ),
    "frequencies beyond the spectrum": (
        *("kernels/fft_pointwise.cu", "if (frequency >= p.frequencies) continue;", ""),
        spectra,
    ),
    "a sum over chunks of tiles lost": ("csrc/cuda/conv_fft.cpp", "first > 0}", "false}", chunks_of_tiles),
    "a border of the filter's size forgotten": (
        *("csrc/cuda/fft_tiling.cpp", "n - a.taps + 1", "n - a.taps + 2"),
        fft("tiles", "fwd"),
    ),
    "padding of the other axis": ("csrc/cuda/fft_tiling.cpp", "s.S, s.pad_w}", "s.S, s.pad_h}", fft("tiles", "fwd")),
    "no stream set": (
        *("csrc/handles.cpp", 'check_cufft(cufftSetStream(plan_->handle, stream), "cufftSetStream", key);', ""),
        fft("groups", "fwd"),
    ),
}
