"""Statistics of a data set's pixels, scaled to 0..1: for normalisation and for PCA colour offsets."""

import numpy as np


def channel_statistics(data):
    """(mean, std) of each channel over all pixels of a data set, (C,) float64.

    >>> from gpucnn.data import digits
    >>> mean, std = channel_statistics(digits()[1])
    >>> f"{mean[0]:.2f} {std[0]:.2f}"
    '0.14 0.32'
    """
    mean, covariance = _moments(data)
    return mean, np.sqrt(np.diag(covariance))


def colour_components(data):
    """Principal components of the colours of a data set: eigenvalues (C,), largest first, and eigenvectors (C, C),
    one a column, of the covariance of its channels; for ``ColourOffset``."""
    values, vectors = np.linalg.eigh(_moments(data)[1])
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def mean_image(data):
    """The mean of every pixel over a data set of images of one size, (C, H, W) float64."""
    total = 0.0
    for i in range(len(data)):
        total = total + data[i][0]
    return total / (255.0 * len(data))


def _moments(data):
    """Mean (C,) and covariance (C, C) of the channels over all pixels; sums are of integers, exact below 2**53."""
    pixels, total, products = 0, 0.0, 0.0
    for i in range(len(data)):
        image = data[i][0]
        x = image.reshape(len(image), -1).astype(np.float64)
        pixels, total, products = pixels + x.shape[1], total + x.sum(1), products + x @ x.T
    mean = total / pixels
    covariance = products / pixels - np.outer(mean, mean)
    covariance[np.diag_indices_from(covariance)] = np.maximum(np.diag(covariance), 0)
    return mean / 255, covariance / 255**2
