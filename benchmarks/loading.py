"""One epoch of training batches, 50,000 x 784 float32 in 64s: `get_data` against a plain DataLoader."""

from pairs import compare, mnist_as_floats
from torch.utils.data import DataLoader, TensorDataset

from tinyclsf import get_data


def run_through(dl: DataLoader) -> None:
    for _ in dl:
        pass


if __name__ == "__main__":
    x_train, y_train, x_valid, y_valid = mnist_as_floats()
    train_ds = TensorDataset(x_train, y_train)
    plain = DataLoader(train_ds, 64, shuffle=True)
    ours, _ = get_data(train_ds, TensorDataset(x_valid, y_valid), 64)
    ways = {"DataLoader(TensorDataset)": lambda: run_through(plain), "get_data": lambda: run_through(ours)}
    compare("an epoch of batches", ways, rounds=9)
