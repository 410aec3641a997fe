"""Averaging predictions over crops, flips and scales at test time."""

import numpy as np

from ..autograd import no_grad
from ..device import array_module
from ..ops import softmax
from ..tensor import Tensor, as_tensor
from .resize import resize_short_side

SIDES = (224, 256, 384, 480, 640)


def ten_crops(images, size):
    """The four corners and the centre of each image, and their mirror images.

    images      (N, C, H, W)            NumPy or CuPy
    size        (h, w)                  pixels; h <= H, w <= W
    returns     (10, N, C, h, w)        top left, top right, bottom left, bottom right, centre; then mirrored
    """
    H, W = images.shape[2:]
    h, w = size
    if not (0 < h <= H and 0 < w <= W):
        raise ValueError(f"ten_crops: {h} x {w} pixels lie in the images, but they are {images.shape}")
    corners = [(0, 0), (0, W - w), (H - h, 0), (H - h, W - w), ((H - h) // 2, (W - w) // 2)]
    crops = [images[:, :, y : y + h, x : x + w] for y, x in corners]
    return array_module(images).stack([*crops, *(crop[..., ::-1] for crop in crops)])


def predict(model, images):
    """Probabilities of each class, (N, classes) float32, without a graph: the softmax of the model's logits."""
    with no_grad():
        return softmax(model(as_tensor(images)).astype("float32"), 1)


def predict_ten_crops(model, images, size):
    """The mean of the probabilities over ``ten_crops``.

    model       from (N, C, h, w) to logits (N, classes); in ``eval`` mode where that matters
    images      (N, C, H, W)    normalised Tensor or array on the model's device
    size        (h, w)          pixels
    returns     (N, classes)    float32 Tensor

    Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 4.1.
    """
    crops = ten_crops(as_tensor(images).data, size)
    return _mean([predict(model, array_module(crop).ascontiguousarray(crop)) for crop in crops])


def predict_scales(model, images, size, sides=SIDES, device="cpu"):
    """The mean of ``predict_ten_crops`` over images resized to several lengths of their shorter side.

    images      (N, C, H, W)    normalised float32 array or Tensor on the CPU, where it is resized
    size        (h, w)          pixels of the crops
    sides       pixels of the shorter side; He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.1
    device      that of the model
    returns     (N, classes)    float32 Tensor
    """
    images = as_tensor(images).numpy().astype(np.float32, copy=False)
    return _mean([predict_ten_crops(model, Tensor(resize_short_side(images, side)).to(device), size) for side in sides])


def _mean(predictions):
    total = predictions[0].data
    for other in predictions[1:]:
        total = total + other.data
    return Tensor(total / np.float32(len(predictions)))
