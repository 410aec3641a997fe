"""The host models of Hopper's instructions (kernels/ptx_hopper.cuh): what a load brings, what a product is, misuse."""

import ctypes
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simt import build

ELEMENTS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def shim():
    return build.selftest()


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def aligned(array):
    """A copy at a multiple of 16 bytes."""
    room = np.empty(array.nbytes + 16, np.uint8)
    copy = room[-room.ctypes.data % 16 :][: array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


def unswizzled(box):
    """Row r of a box holds its 16-byte chunk c in the place of chunk c ^ (r % 8)."""
    row, chunk = np.ogrid[: len(box), :8]
    return box.reshape(len(box), 8, 8)[row, chunk ^ row % 8].reshape(len(box), 64)


EARLY = "an operand changed before the product was waited for|a wait without end|a block ends|divergent"
SLIPS = {  # each with the message of an exception, or "": only NaNs
    "none": None,
    "no_wait_for_load": EARLY,
    "wrong_parity": EARLY,
    "no_init_fence": "initialisation was not fenced",
    "no_fence": "the sums were touched after the last wgmma.fence",
    "no_wait_for_product": "",
    "operand_overwritten": "an operand changed before the product was waited for",
    "sums_written": "sums were written while at work",
    "too_few_bytes": "a wait without end",
    "other_swizzle": "knows operands with the 128-byte swizzle only",
    "not_aligned": "does not start a pattern of 1024 bytes",
}


def product(shim, name, slip=0, seed=0, columns=128):
    """(message, d from the device, d + a b^T) for small integers, whose product is exact."""
    rng = np.random.default_rng(seed)
    a, b = (aligned(rng.integers(-4, 5, (rows, 64)).astype(ELEMENTS[name])) for rows in (64, columns))
    d = rng.integers(-9, 10, (64, columns)).astype(np.float32)
    expected = d + a.astype(np.float32) @ b.astype(np.float32).T
    return getattr(shim, f"run_product_{name}")(columns, slip, address(a), address(b), address(d)), d, expected


@pytest.mark.parametrize("columns", [128, 256])
@pytest.mark.parametrize("name", ELEMENTS)
def test_a_product_through_the_tma(shim, name, columns):
    for seed in range(5):
        shim.simt_seed(ctypes.c_uint64(seed))
        message, d, expected = product(shim, name, seed=seed, columns=columns)
        assert message is None and np.array_equal(d, expected)


def test_a_transposed_product(shim):
    rng = np.random.default_rng(3)
    a, b = (aligned(rng.integers(-4, 5, (64, columns)).astype(np.float16)) for columns in (64, 128))
    d = rng.integers(-9, 10, (64, 128)).astype(np.float32)
    expected = d + a.astype(np.float32).T @ b.astype(np.float32)
    assert shim.run_transposed_product(address(a), address(b), address(d)) is None
    assert np.array_equal(d, expected)


@pytest.mark.parametrize("slip", [slip for slip in SLIPS if slip != "none"])
def test_misuse_shows(shim, slip):
    """In NaNs or an exception; what is not waited for may have come by chance."""
    shown = []
    for seed in range(8):
        shim.simt_seed(ctypes.c_uint64(seed))
        message, d, _ = product(shim, "float16", list(SLIPS).index(slip))
        assert message is None or (SLIPS[slip] and re.search(SLIPS[slip], message.decode()))
        shown.append(message is not None or np.isnan(d).any())
        assert shown[-1] or SLIPS[slip] == EARLY
    assert sum(shown) >= 4
    assert product(shim, "float16")[0] is None  # and the next launch works


def test_registers_of_a_warpgroup(shim):
    for threads in (128, 384):
        assert shim.run_registers(threads, 0) is None
    for which, text in enumerate([*["takes a multiple of 8 in 24 .. 256"] * 3, "different numbers", "a wait without"]):
        assert text.encode() in shim.run_registers(256, which + 1)
    assert b"a wait without end" in shim.run_registers(160, 0)  # a warpgroup of one warp


def test_a_part_of_a_block_meets(shim):
    for seed in range(5):
        shim.simt_seed(ctypes.c_uint64(seed))
        out = np.zeros(96, np.int32)
        assert shim.run_exchange(False, address(out)) is None
        thread = np.arange(96)
        assert np.array_equal(out, np.where(thread // 32 == 1, 0, 3 * (95 - thread)))
        assert b"a wait without end" in shim.run_exchange(True, address(out))


def test_phases_of_a_barrier(shim):
    for seed in range(9):
        shim.simt_seed(ctypes.c_uint64(seed))
        seen = np.zeros(2, np.int32)
        message = shim.run_phases(True, address(seen))
        if message is None:
            assert seen[0] == 6 and 2 <= seen[1] <= 6
        else:  # who looks late takes the third phase for the first
            assert b"a wait without end" in message
        assert b"a wait without end" in shim.run_phases(False, address(seen))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_tiled_box(shim, data):
    """Any start, also outside of the array, where all is 0."""
    size = [8 * data.draw(st.integers(1, 20)), *(data.draw(st.integers(1, 9)) for _ in range(2))]
    box = [64, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 30))]
    at = [data.draw(st.integers(-70, extent + 3)) for extent in size]
    array = aligned(np.arange(1, np.prod(size) + 1).astype(np.uint16).reshape(size[::-1]))
    out = np.zeros((box[2] * box[1], 64), np.uint16)
    swizzled = data.draw(st.booleans())
    arguments = np.array(size, np.uint64), np.array(box, np.uint32), np.array(at, np.int32)
    message = shim.run_load_tiled(address(array), *map(address, arguments), swizzled, address(out))
    assert message is None
    padded = np.pad(array, [(70 + 0, 40)] * 3)
    z, y, x = (start + 70 for start in at[::-1])
    expected = padded[z : z + box[2], y : y + box[1], x : x + 64]
    grown = np.zeros((box[2], box[1], 64), np.uint16)
    grown[tuple(slice(n) for n in expected.shape)] = expected
    assert np.array_equal(unswizzled(out) if swizzled else out, grown.reshape(-1, 64))


def swizzled_box(box):
    return unswizzled(box)  # its own inverse


STORE_SLIPS = {
    "lane_not_fenced": "not all lanes of the warp have fenced",
    "overwritten": "changed before its store was waited for",
    "overwritten_later": "changed before its store was waited for",
    "store_not_waited": "a block ends before|^$",
    "not_committed": "a block ends before|^$",
}


def store(shim, size, box, at, boxes, slip=0, swizzled=True):
    """(message, array) after stores of two boxes into an array of zeros."""
    array = aligned(np.zeros(size[::-1], np.uint16))
    lying = np.concatenate([swizzled_box(each) if swizzled else each for each in boxes])
    sizes = np.array(size, np.uint64), np.array(box, np.uint32), np.array(at, np.int32)
    message = shim.run_store_tiled(slip, address(array), *map(address, sizes), swizzled, address(lying))
    return message, array


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_stored_box(shim, data):
    """Two in the same memory, one after the other; what lies outside is left out."""
    size = [8 * data.draw(st.integers(1, 20)), *(data.draw(st.integers(1, 9)) for _ in range(2))]
    box = [64, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 30))]
    at = [[data.draw(st.integers(-70, extent + 3)) for extent in size] for _ in range(2)]
    boxes = np.arange(1, 2 * box[1] * box[2] * 64 + 1).astype(np.uint16).reshape(2, -1, 64)
    shim.simt_seed(ctypes.c_uint64(data.draw(st.integers(0, 99))))
    message, array = store(shim, size, box, at, boxes, swizzled=data.draw(st.booleans()))
    assert message is None
    wide = np.zeros([extent + 200 for extent in size[::-1]], np.uint16)
    for (x, y, z), each in zip(at, boxes, strict=True):
        wide[z + 80 : z + 80 + box[2], y + 80 : y + 80 + box[1], x + 80 : x + 144] = each.reshape(box[2], box[1], 64)
    assert np.array_equal(array, wide[tuple(slice(80, 80 + extent) for extent in size[::-1])])


@pytest.mark.parametrize("slip", STORE_SLIPS)
def test_misuse_of_stores_shows(shim, slip):
    """What is not waited for may be done by chance."""
    shown = []
    for seed in range(8):
        shim.simt_seed(ctypes.c_uint64(seed))
        boxes = np.arange(1, 2 * 8 * 64 + 1).astype(np.uint16).reshape(2, -1, 64)
        number = list(STORE_SLIPS).index(slip) + 1
        message, _ = store(shim, [64, 1, 16], [64, 1, 8], [[0, 0, 0], [0, 0, 8]], boxes, number)
        assert re.search(STORE_SLIPS[slip], message.decode() if message else "")
        shown.append(message is not None)
    assert sum(shown) >= 4


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_im2col_brings_what_a_tap_reads(shim, data):
    """The pixels that one tap of a convolution reads for consecutive outputs, from any of them on."""

    def pair(low, high):
        return [data.draw(st.integers(low, high)) for _ in range(2)]

    taps, pad, stride, dilation = pair(1, 4), pair(0, 5), pair(1, 4), pair(1, 3)
    image = [max(1, d * (t - 1) + 1 - 2 * p + data.draw(st.integers(0, 6)))
             for t, p, d in zip(taps, pad, dilation, strict=True)]  # fmt: skip
    N, C, first_c = data.draw(st.integers(1, 3)), 8 * data.draw(st.integers(1, 17)), 64 * data.draw(st.integers(0, 2))
    x = aligned(np.arange(1, N * image[0] * image[1] * C + 1).astype(np.uint16).reshape(N, *image, C))
    tap = [data.draw(st.integers(0, t - 1)) for t in taps]
    wide = np.pad(x, [(0, 0), *((p, p) for p in pad), (0, 192)])
    reach = [d * (t - 1) for t, d in zip(taps, dilation, strict=True)]
    rows, columns = (range(0, wide.shape[i + 1] - reach[i], stride[i]) for i in range(2))
    read = [
        wide[n, h + tap[0] * dilation[0], w + tap[1] * dilation[1], first_c : first_c + 64]
        for n in range(N)
        for h in rows
        for w in columns
    ]
    first, positions = data.draw(st.integers(0, len(read) - 1)), data.draw(st.integers(1, 128))
    p, q = first // len(columns) % len(rows), first % len(columns)
    at = [first_c, columns[q] - pad[1], rows[p] - pad[0], first // len(columns) // len(rows)]
    at += [tap[1] * dilation[1], tap[0] * dilation[0]]
    corners = [-pad[1], -pad[0]], [pad[1] - reach[1], pad[0] - reach[0]]
    arguments = [np.array([C, *image[::-1], N], np.uint64), *(np.array(corner, np.int32) for corner in corners)]
    arguments += [np.array(stride[::-1], np.uint32)]
    out = np.zeros((positions, 64), np.uint16)
    at = np.array(at, np.int32)
    message = shim.run_load_im2col(address(x), *map(address, arguments), positions, address(at), address(out))
    assert message is None
    expected = np.array([*read[first : first + positions], *[[0] * 64] * positions])[:positions]
    assert np.array_equal(unswizzled(out), expected)


def test_corners_and_strides_have_limits(shim):
    x, out, at = aligned(np.ones(8, np.uint16)), np.zeros((1, 64), np.uint16), np.zeros(6, np.int32)
    size = np.array([8, 1, 1, 1], np.uint64)

    def message(lower, upper, stride):
        arguments = np.array([lower, 0], np.int32), np.array([upper, 0], np.int32), np.array([stride, 1], np.uint32)
        return shim.run_load_im2col(address(x), address(size), *map(address, arguments), 1, address(at), address(out))

    assert message(-128, 127, 8) is None
    for refused in ((-129, 0, 1), (0, 128, 1), (0, 0, 9)):
        assert b"cuTensorMapEncodeIm2col refuses" in message(*refused)
