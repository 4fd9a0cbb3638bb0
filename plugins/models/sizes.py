"""The check that images are large enough, which the models share, and an image shape as text."""

from __future__ import annotations

from tinyclsf.plugin import ConfigurationError, shape_as_text


def check_size(model: str, image_shape: tuple[int, int, int], smallest: int) -> None:
    """Refuse images that are too small for a model's layers.

    Raises: ConfigurationError that names both sizes.
    """
    if min(image_shape[1:]) < smallest:
        raise ConfigurationError(
            f"{model} needs images of at least {smallest}x{smallest}; these are {shown(image_shape)}: use larger images"
        )


def shown(image_shape: tuple[int, int, int]) -> str:
    """An image shape as a person reads it: 1x28x28 (channels x height x width)."""
    return f"{shape_as_text(image_shape)} (channels x height x width)"
