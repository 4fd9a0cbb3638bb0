"""Several processes: shares of batches in one process, and real runs of two that are compared, stopped, resumed and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset, TensorDataset

from tests.support.commands import write_package
from tests.support.forking import Forked, Forks
from tests.support.runs import rows_of
from tests.support.streams import Stream
from tinyclsf.batches.loaders import loader
from tinyclsf.batches.sharing import Share
from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import distributed, launch

# 650 images in batches of 64: ten full ones and one of 10.
RUN = (
    *("fit", "linear", "-d", "train_size=650", "--epochs", "25", "--batch-size", "64"),
    *("--lr", "0.1", "--momentum", "0.9", "--schedule", "none"),
)
TORCHRUN = "from torch.distributed.run import main; main()"
TINYCLSF = "import sys; from tinyclsf.cli.app import main; code = main(); code and sys.exit(code)"
POINTS = """
import os
import sys

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tinyclsf import Trainer
from tinyclsf.callbacks import Unfreeze
from tinyclsf.machine import distributed
from tinyclsf.cli.app import main
from tinyclsf.loop.evaluation import evaluate
from tinyclsf.batches.loaders import loader
from tinyclsf.batches.sharing import Share
from tinyclsf.modules import Lambda

rank, cpu = int(os.environ["RANK"]), torch.device("cpu")
code = main(["fit", "linear", "-d", f"seed={rank}", "-d", "train_size=100", "--run", "never", "--json"])
# The processes are still joined, as they are after an error.
torch.manual_seed(0)
x, y = torch.randn(37, 5), torch.randint(5, (37,))
share = Share(distributed.rank(), distributed.size(), torch.Generator())
found = evaluate(Lambda(lambda xb: xb), F.cross_entropy, loader(TensorDataset(x, y), 8, share=share), cpu)
assert found.samples == 37 and found.accuracy == (x.argmax(1) == y).sum().item() / 37, found
torch.testing.assert_close(found.loss, F.cross_entropy(x.double(), y).item(), rtol=1e-6, atol=0)
one = evaluate(Lambda(lambda xb: xb), F.cross_entropy, loader(TensorDataset(x[:1], y[:1]), 8, share=share), cpu)
assert one.samples == 1  # process 1 has none of it
assert distributed.gathered(rank) == [0, 1] and distributed.from_first(rank) == 0
assert distributed.any_of(rank == 1) and not distributed.any_of(False)

class Net(nn.Module):
    # Only the first three images of a batch, which are those of process 0, pass through `extra`.
    def __init__(self):
        super().__init__()
        self.backbone, self.extra, self.fc = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 5)
    def forward(self, x, whole=False):
        x = self.backbone(x).tanh()
        first = x[:3] if whole else x[: 3 * (rank == 0)]
        return self.fc(torch.cat([first + self.extra(first), x[len(first) :]]) if len(first) else x)

def begin(seed):
    torch.manual_seed(seed)
    net = Net()
    net.backbone.requires_grad_(False)
    return net, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)

net, opt = begin(rank)
batches = list(zip(x[:15].split(5), y[:15].split(5)))
mine = [(xb[3:], yb[3:]) if rank else (xb[:3], yb[:3]) for xb, yb in batches]
unfreeze = Unfreeze(net.backbone.parameters(), after=1)
Trainer(net, F.cross_entropy, opt, device="cpu", accumulate=2, clip_norm=0.5, callbacks=[unfreeze]).fit(2, mine, mine)
wanted, opt = begin(0)
for epoch in range(2):
    wanted.backbone.requires_grad_(epoch == 1)
    for step in (batches[:2], batches[2:]):
        opt.zero_grad()
        out = torch.cat([wanted(xb, whole=True) for xb, _ in step])
        F.cross_entropy(out, torch.cat([yb for _, yb in step])).backward()
        nn.utils.clip_grad_norm_(wanted.parameters(), 0.5)
        opt.step()
torch.testing.assert_close(net.state_dict(), wanted.state_dict())
if rank == 0:
    print("the points hold", file=sys.stderr, flush=True)
distributed.gathered(None)  # torchrun ends the others once the first has ended
os._exit(code)
"""


def shares(dataset: Dataset[Any], batch_size: int, size: int, *, shuffle: bool) -> list[list[Any]]:
    """The batches of each process."""
    generators = [torch.Generator().set_state(torch.get_rng_state()) for _ in range(size)]
    return [
        list(loader(dataset, batch_size, shuffle=shuffle, share=Share(rank, size, generator)))
        for rank, generator in enumerate(generators)
    ]


@pytest.mark.parametrize("count", [64, 65, 66, 67, 68, 100])
@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_batches_of_a_single_one(count: int, size: int) -> None:
    dataset = TensorDataset(torch.arange(count))
    torch.manual_seed(3)
    parts = [[xb.tolist() for (xb,) in batches] for batches in shares(dataset, 16, size, shuffle=True)]
    torch.manual_seed(3)
    single = [xb.tolist() for (xb,) in loader(dataset, 16, shuffle=True)]
    if 0 < count % 16 < 2 * size:  # too few for two each
        single[-2:] = [single[-2] + single[-1]]
    together = [sorted(chain(*batches)) for batches in zip(*parts, strict=True)]
    assert together == [sorted(batch) for batch in single]
    assert min(len(batch) for batches in parts for batch in batches) >= 2
    assert sorted(chain(*together)) == list(range(count))


def test_the_order_changes_with_the_epoch_alike_in_all() -> None:
    dataset = TensorDataset(torch.arange(32))
    loaders = [loader(dataset, 8, shuffle=True, share=Share(rank, 2, torch.Generator().manual_seed(1))) for rank in (0, 1)]
    epochs = [torch.cat([torch.cat([xb for (xb,) in dl]) for dl in loaders]).tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(32)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


class Drawing(Dataset[Any]):
    """Gives what it draws at random, read by a worker."""

    loader_workers = 1

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return torch.rand(())


def test_workers_of_processes_draw_other_numbers() -> None:
    drawn = [batch.tolist() for batches in shares(Drawing(), 4, 2, shuffle=True) for batch in batches]
    assert len(set(chain(*drawn))) == 8


def test_what_cannot_be_shared_is_refused() -> None:
    share = Share(0, 4, torch.Generator())
    with pytest.raises(ConfigurationError) as small:
        loader(TensorDataset(torch.arange(1000)), 3, shuffle=True, share=share)
    assert str(small.value) == (
        "batches of 3 from 1,000 images cannot be shared by 4 processes; give a larger batch size, or fewer processes"
    )
    with pytest.raises(ConfigurationError) as stream:
        loader(Stream(range(8)), 3, share=share)
    assert str(stream.value) == "a data set that is a stream cannot be shared by several processes; train with one"


def test_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": 4, "RANK": 3, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    assert (launch.processes(), launch.rank(), launch.processes_here(), launch.rank_here()) == (4, 3, 2, 1)
    assert launch.command() == "torchrun --nnodes 2 --nproc-per-node 2 -m -- tinyclsf"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [distributed.own_device(device) for device in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    with pytest.raises(ConfigurationError) as one_gpu:
        distributed.own_device("cuda:0")
    assert str(one_gpu.value) == "device cuda:0 was asked for by 2 processes; use --device cuda, and each takes its own"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.own_device("auto") == "cpu"
    with pytest.raises(ConfigurationError) as mps, distributed.joined(torch.device("mps")):
        pass
    assert str(mps.value) == "several processes train on the CPU or on CUDA, not on mps; use --device cpu"
    monkeypatch.delenv("WORLD_SIZE")
    assert (launch.processes(), launch.rank(), launch.processes_here(), launch.rank_here()) == (1, 0, 1, 0)
    assert launch.command() == "tinyclsf"
    assert distributed.own_device("cuda:0") == "cuda:0"


AGENT = """
import os, subprocess, sys
several = {**os.environ, "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
code = "from tinyclsf.machine import launch; print(launch.command())"
subprocess.run([sys.executable, "-c", code, *sys.argv[sys.argv.index("tinyclsf") + 1:]], env=several)
"""


@pytest.mark.parametrize("start", [["-m", "torch.distributed.run"], ["torchrun"]])
def test_a_tip_repeats_how_torchrun_was_started(tmp_path: Path, start: list[str]) -> None:
    folder = tmp_path / "torch" / "distributed"  # found before PyTorch itself
    folder.mkdir(parents=True)
    for path in (folder.parent / "__init__.py", folder / "__init__.py"):
        path.touch()
    for path in (folder / "run.py", tmp_path / "torchrun"):
        path.write_text(AGENT)
    options = ["--nnodes", "2", "--nproc-per-node=2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "10.0.0.1:29500"]
    command = [sys.executable, *start, *options, "-m", "--", "tinyclsf", "fit", "linear", "--run", "a b"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == f"torchrun {' '.join(options)} -m -- tinyclsf\n"


@contextmanager
def two(forks: Forks, folder: Path, *args: str, code: str = TINYCLSF) -> Iterator[Forked]:
    """Start two processes with torchrun, which forks them; none is left afterwards."""
    program = folder.parent / f"{folder.name}.py"
    program.write_text(code)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--nproc-per-node", "2", "--start-method", "fork", "--run-path", "--master-port", port, "--")
    started = forks.start(folder, *options, str(program), *args, code=TORCHRUN)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def finish(forks: Forks, folder: Path, *args: str, **more: Any) -> tuple[int, str, str]:
    with two(forks, folder, *args, **more) as started:
        return started.finish()


def workers(torchrun: int) -> list[int]:
    """The processes that torchrun started, by rank."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == torchrun:
                found.append(int(path.name))
    return sorted(found)


def until_epochs(started: Forked, run: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() or len(rows_of(run)) < count:
        assert time.monotonic() < deadline, started.err.read_text()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def together(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the finished run of two processes."""
    folder = tmp_path_factory.mktemp("together")
    code, out, err = finish(forks, folder, *RUN, "--run", "two", "--json", "--progress", "none")
    assert (code, err) == (0, "")
    assert json.loads(out)["run"] == "runs/two"
    return folder


def test_two_processes_train_as_one(together: Path, cli: Any) -> None:
    assert cli(*RUN, "--run", "one", "--progress", "none").code == 0
    one, two = Path("runs/one"), together / "runs/two"
    assert os.listdir(two.parent) == ["two"]
    assert sorted(os.listdir(one)) == sorted(os.listdir(two))
    for alone, shared in zip(rows_of(one), rows_of(two), strict=True):
        assert shared["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-4)
        assert shared["valid_loss"] == pytest.approx(alone["valid_loss"], abs=1e-4)
        assert shared["valid_accuracy"] == pytest.approx(alone["valid_accuracy"], abs=1.5 / 360)
    assert rows_of(two)[-1]["valid_accuracy"] > 0.8
    config = json.loads((two / "config.json").read_text())["settings"]
    assert (config["processes"], config["device"]) == ({"value": 2, "source": "torchrun"}, {"value": "cpu", "source": "auto"})
    state = torch.load(two / "checkpoint.pt", weights_only=True)
    for name, value in torch.load(one / "checkpoint.pt", weights_only=True)["model"].items():
        torch.testing.assert_close(state["model"][name], value, rtol=0, atol=1e-4)
    first, second = (random["torch"] for random in state["random"])
    assert not torch.equal(first, second)  # so each augments in its own way


@pytest.mark.stress
def test_a_run_that_is_stopped_goes_on_as_if_nothing_had_been(forks: Forks, together: Path, tmp_path: Path, cli: Any) -> None:
    run = tmp_path / "runs" / "two"
    with two(forks, tmp_path, *RUN, "--run", "two", "--progress", "none") as started:
        until_epochs(started, run, 2)
        os.kill(started.pid, signal.SIGTERM)
        code, out, err = started.finish()
    assert (code != 0, out) == (True, "")
    state = json.loads((run / "state.json").read_text())
    assert state["state"] == "stopped"
    assert re.fullmatch(r"terminated (in|after) epoch .*; the run is saved in runs/two", state["error"])
    for rank in (0, 1):
        assert f"error in process {rank}: {state['error']}\n" in err
    assert "tip: torchrun --nproc-per-node 2 -m -- tinyclsf fit --resume runs/two\n" in err
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    alone = cli("fit", "--resume", "two")
    message = "training was stopped with 2 processes and cannot go on with 1; resume with as many"
    assert (alone.code, alone.out, alone.err) == (2, "", f"error: {message}\n")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before

    code, out, err = finish(forks, tmp_path, "fit", "--resume", "two", "--progress", "none")
    assert (code, err, len(re.findall("^best", out, re.MULTILINE))) == (0, "", 1)
    assert [row["valid_loss"] for row in rows_of(run)] == [row["valid_loss"] for row in rows_of(together / "runs/two")]
    weights, wanted = (load_file(folder / "model.safetensors") for folder in (run, together / "runs/two"))
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


# The second process, and it alone, has a model that fails after some batches.
FAILING = """
import os, sys
from tinyclsf.cli.app import main
from tinyclsf_plugins.models.linear import LinearClassifier

forward, batches = LinearClassifier.forward, []

def failing(self, x):
    batches.append(len(x))
    if len(batches) > 30 and os.environ["RANK"] == "1":
        raise ValueError("no such head")
    return forward(self, x)

LinearClassifier.forward = failing
sys.exit(main())
"""


def test_the_process_that_fails_says_why(forks: Forks, tmp_path: Path) -> None:
    code, out, err = finish(forks, tmp_path, *RUN, "--run", "two", "--progress", "none", code=FAILING)
    sentence = (
        "model 'linear' of package tinyclsf (tinyclsf_plugins.models.linear:LinearClassifier) "
        "failed in its forward pass: ValueError: no such head"
    )
    assert (code != 0, out) == (True, "")
    assert f"error in process 1: {sentence}\n" in err
    state = json.loads((tmp_path / "runs" / "two" / "state.json").read_text())
    assert (state["state"], state["error"]) == ("failed", f"process 1: {sentence}")


def test_a_process_that_is_killed_ends_all(forks: Forks, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "two"
    endless = ("--epochs", "100000", "--run", "two", "--progress", "none")
    with two(forks, tmp_path, *RUN, *endless) as started:
        until_epochs(started, run, 1)
        pids = workers(started.pid)
        os.kill(pids[1], signal.SIGKILL)
        code, out, err = started.finish()
    assert (code != 0, out, len(pids)) == (True, "", 2)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    # The first process has time to say so unless torchrun ends it before.
    assert "this is a bug of tinyclsf" not in err


def test_other_data_is_refused_and_training_and_evaluation_are_those_of_one_process(forks: Forks, tmp_path: Path) -> None:
    code, out, err = finish(forks, tmp_path, code=POINTS)
    assert code != 0
    assert "the points hold\n" in err
    message = "the processes have different data; give them all the same files and options"
    assert f"error in process 1: {message}\n" in err
    assert json.loads(out)["error"] == {"kind": "data", "exit_code": 3, "message": message, "tip": None}
    assert not list((tmp_path / "runs").iterdir())


# Packages of the folder are installed, as a path that ends there has them.
INSTALLED_HERE = """
import os, sys
sys.path.insert(0, os.getcwd())
from tinyclsf.cli.app import main
code = main()
code and sys.exit(code)
"""
EVALUATING = """
import os
import torch
from tinyclsf.plugin import Callback

class Evaluating(Callback):
    def __init__(self, folder, model_name):
        self.folder, self.found = folder, []
        folder.joinpath(f"made by {os.environ['RANK']}").touch()
    def on_epoch_end(self, trainer, row):
        rank = int(os.environ["RANK"])
        batches = [(torch.full((2 + rank, 1, 28, 28), 16 * rank, dtype=torch.uint8), torch.zeros(2 + rank, dtype=torch.int64))]
        self.found.append(trainer.evaluate(batches).samples)
        if trainer.first_process:
            self.folder.joinpath("samples").write_text(f"{self.found} in process {rank}")
    def state_dict(self): return {"found": self.found}
    def load_state_dict(self, state): self.found = state["found"]

class Everywhere(Evaluating):
    every_process = True
"""


@pytest.mark.stress
def test_a_callback_is_in_the_first_process_or_in_every_one(forks: Forks, tmp_path: Path) -> None:
    targets = {"evaluating": "theirs:Evaluating", "everywhere": "theirs:Everywhere"}
    write_package(tmp_path, "theirs", EVALUATING, module="theirs", callbacks=targets)
    run = (*RUN, "--progress", "none", "--epochs")
    code, out, err = finish(forks, tmp_path, *run, "2", "--run", "a", "--callback", "evaluating", code=INSTALLED_HERE)
    assert (code != 0, out) == (True, "")
    sentence = (
        "callback 'evaluating' of package theirs (theirs:Evaluating) waits in on_epoch_end for all processes of a training, "
        "and only the first one has it; set every_process = True on its class or function, or leave the callback out"
    )
    assert f"error in process 0: {sentence}\n" in err
    assert json.loads((tmp_path / "runs/a/state.json").read_text())["error"] == sentence
    assert [path.name for path in (tmp_path / "runs/a").glob("made by *")] == ["made by 0"]

    code, _, err = finish(forks, tmp_path, *run, "1", "--run", "b", "--callback", "everywhere", code=INSTALLED_HERE)
    assert (code, err) == (0, "")
    code, _, err = finish(forks, tmp_path, "fit", "--resume", "b", "--epochs", "2", "--progress", "none", code=INSTALLED_HERE)
    assert (code, err) == (0, "")
    assert (tmp_path / "runs/b/samples").read_text() == "[5, 5] in process 0"  # two images of one process, three of the other
    assert sorted(path.name for path in (tmp_path / "runs/b").glob("made by *")) == ["made by 0", "made by 1"]


@pytest.mark.stress
def test_torchrun_starts_programs_of_its_own(tmp_path: Path) -> None:
    command = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "--", "tinyclsf")
    more = ("--epochs", "2", "--run", "two", "--json", "--progress", "none")
    done = subprocess.run([sys.executable, *command, *RUN, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "runs/two"
    assert len(rows_of(tmp_path / "runs" / "two")) == 2


@pytest.mark.stress
def test_of_two_machines_one_is_lost_and_both_go_on(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rendezvous = ("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", "torch.distributed.run", *rendezvous, "-m", "--", "tinyclsf", "fit"]

    def start(*args: str) -> list[subprocess.Popen[str]]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        return [subprocess.Popen([*command, *args, "--progress", "none"], cwd=tmp_path, **pipes) for _ in range(2)]

    run, machines = tmp_path / "runs" / "two", start(*RUN[1:], "--epochs", "100000", "--run", "two")
    try:
        deadline = time.monotonic() + 100
        while not (run / "metrics.jsonl").exists() or len(rows_of(run)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for pid in (*workers(machines[1].pid), machines[1].pid):
            os.kill(pid, signal.SIGKILL)
        (_, err), _ = (machine.communicate(timeout=60) for machine in machines)
        assert machines[0].returncode != 0
        assert "another process of this training has ended; its own error says why\n" in err
        assert json.loads((run / "state.json").read_text())["state"] == "failed"
        done = len(rows_of(run))
        machines = start("--resume", "two", "--epochs", str(done + 1))
        outputs = [machine.communicate(timeout=100) for machine in machines]
        assert [machine.returncode for machine in machines] == [0, 0], outputs
        assert [row["epoch"] for row in rows_of(run)] == list(range(1, done + 2))
    finally:
        for machine in machines:
            for pid in (*workers(machine.pid), machine.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
