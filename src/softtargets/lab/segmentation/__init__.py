"""Segmentation: images with a class for every pixel, a small U-Net, losses with soft targets."""
