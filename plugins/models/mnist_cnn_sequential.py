"""The tutorial's convolutional network as `nn.Sequential`, with functions as layers."""

from __future__ import annotations

from torch import nn

from tinyclsf.plugin import Lambda, recipe


@recipe(epochs=2, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9, schedule="one-cycle")
def mnist_cnn_sequential(image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> nn.Sequential:
    """The network of mnist-cnn as `nn.Sequential`, with `Lambda` layers where a function reshapes.

    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial.
    """
    height, width = (-(-size // 8) for size in image_shape[1:])  # three strides of 2 halve three times, rounding up
    return nn.Sequential(
        Lambda(lambda xb: xb.view(-1, *image_shape)),
        nn.Conv2d(image_shape[0], 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, num_classes, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d((height, width)),
        Lambda(lambda xb: xb.flatten(1)),
    )


mnist_cnn_sequential.ends_in_relu = True  # type: ignore[attr-defined]  # as in the tutorial
