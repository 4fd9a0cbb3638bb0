"""Reading the 60,000 training images of MNIST: our IDX reader against `list(bytes)` and torchvision's reader."""

import numpy as np
from pairs import DATA_DIR, compare
from torchvision.datasets.mnist import read_image_file

from tinyclsf_plugins.datasets.idx import read_images

PATH = DATA_DIR / "MNIST" / "raw" / "train-images-idx3-ubyte"

if __name__ == "__main__":
    ways = {
        "list(bytes)": lambda: np.array(list(PATH.read_bytes()[16:]), dtype=np.uint8).reshape(-1, 28, 28),
        "torchvision": lambda: read_image_file(str(PATH)),
        "read_images": lambda: read_images(PATH),
    }
    compare("60,000 images from an IDX file", ways)
