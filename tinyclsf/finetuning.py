"""Fine-tuning: which part of a network is its head, what of it is frozen, and how fast each part learns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import nn

from tinyclsf.errors import ConfigurationError

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)


def head_of(network: nn.Module) -> str:
    """The name of the part that gives the logits; all other parameters are the backbone.

    It is what the network's own attribute `head_name` says, of which None says that there is none, else the last linear layer,
    with what has no parameters beside it.
    Raises: ConfigurationError if there is no such part, or no parameter outside it.
    """
    linear = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    name = getattr(network, "head_name", linear[-1] if linear else None)
    if not isinstance(name, str) or name not in dict(network.named_modules()):
        raise ConfigurationError(
            f"network {type(network).__name__} has no linear layer that could be its head; "
            "give --freeze none and --backbone-lr 1, or have the network name its head in an attribute head_name"
        )
    own = _identities(network.get_submodule(name))
    while "." in name and _identities(network.get_submodule(name.rpartition(".")[0])) == own:
        name = name.rpartition(".")[0]
    if _identities(network) == own:
        raise ConfigurationError(
            f"network {type(network).__name__} has no backbone: its head is all that it has; "
            "give --freeze none and --backbone-lr 1"
        )
    return name


def freeze_backbone(network: nn.Module) -> list[nn.Parameter]:
    """Leave only the head to be trained; the parameters that were frozen by this are returned.

    Raises: ConfigurationError if the network has no head and backbone.
    """
    head = _identities(network.get_submodule(head_of(network)))
    return _freeze(each for each in network.parameters() if id(each) not in head)


def freeze_batch_norm(network: nn.Module) -> list[nn.Parameter]:
    """Leave batch norm as it is, and all else to be trained; the parameters that were frozen by this are returned.

    A pretrained network keeps the statistics of what it was trained with, which those of small batches would spoil.
    """
    return _freeze(each for module in network.modules() if isinstance(module, _BATCH_NORM) for each in module.parameters())


def freeze_backbone_and_batch_norm(network: nn.Module) -> list[nn.Parameter]:
    """Leave only the head to be trained; what this froze is returned without batch norm, which stays as it is for good.

    Raises: ConfigurationError if the network has no head and backbone.
    """
    freeze_batch_norm(network)
    return freeze_backbone(network)


# What each choice of what is frozen does to a network; it returns the parameters that may be unfrozen later.
FREEZES: dict[str, Callable[[nn.Module], list[nn.Parameter]]] = {
    "none": lambda network: [],
    "batch-norm": freeze_batch_norm,
    "backbone": freeze_backbone,
    "backbone,batch-norm": freeze_backbone_and_batch_norm,
}


def freezes_backbone(choice: str) -> bool:
    """Whether one of FREEZES leaves only the head to be trained."""
    return "backbone" in choice.split(",")


def parameter_groups(
    network: nn.Module, lr: float, *, backbone_lr: float = 1.0, decayed: Literal["all", "weights"] = "all"
) -> list[dict[str, Any]]:
    """The parameters as an optimizer takes them in groups: head and backbone, each with its learning rate.

    The network's own attribute `lr_shares` has the rates of single parameters, by their names and as a share of what they
    would be.

    lr: the learning rate of the head.
    backbone_lr: that of the backbone, as a share of the head's.
    decayed: what weight decay is for; "weights" leaves out biases and what norms have.
    Raises: ConfigurationError if the network has no head and backbone, and these shall learn at two rates, or if `lr_shares`
    names what is no parameter.
    """
    head = _identities(network.get_submodule(head_of(network))) if backbone_lr != 1 else _identities(network)
    named, shares = dict(network.named_parameters()), dict(getattr(network, "lr_shares", {}))
    if not shares.keys() <= named.keys():
        raise ConfigurationError(
            f"network {type(network).__name__} gives '{min(shares.keys() - named.keys())}' a rate in lr_shares, and has no "
            "such parameter; wanted names of its named_parameters()"
        )
    groups: dict[tuple[bool, float, bool], dict[str, Any]] = {}
    for name, parameter in named.items():
        in_head, decays, share = id(parameter) in head, decayed == "all" or parameter.ndim > 1, shares.get(name, 1)
        options = {"lr": lr * share * (1 if in_head else backbone_lr), **({} if decays else {"weight_decay": 0.0})}
        groups.setdefault((not in_head, share, not decays), {"params": [], **options})["params"].append(parameter)
    # The head first, and in it what has no rate of its own: that is the one that is shown.
    return [groups[key] for key in sorted(groups, key=lambda key: (key[0], key[1] != 1, *key))]


def put_in_training(module: nn.Module) -> None:
    """Put in training mode what is trained: in a frozen part batch norm stands still and nothing is dropped.

    A part without parameters, such as dropout, gets the mode of the last part before it that has parameters and is no batch
    norm; at the start, that of the first such part.
    """
    trained = {parameter.requires_grad for parameter in module.parameters()}
    module.train(True in trained)
    if len(trained) == 2:
        learning = [child for child in module.children() if any(True for _ in child.parameters())]
        for child in learning:
            put_in_training(child)
        before = next((child.training for child in learning if not isinstance(child, _BATCH_NORM)), False)
        for child in module.children():
            if child not in learning:
                child.train(before)
            elif not isinstance(child, _BATCH_NORM):
                before = child.training


def _freeze(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    frozen = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def _identities(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters()}
