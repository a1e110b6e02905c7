"""Norms of the gradients of each row's loss with respect to each parameter tensor of a model, many rows at once.

A backward pass of a batch sums gradients over its rows; what is wanted is the norm of each row's own. Every layer has
what that takes at hand: its input, kept by a forward hook, and the gradient that arrives at its output. So the rows'
gradients of one layer are made, reduced to norms and thrown away, and the backward pass goes on to the next layer.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from diffmia.errors import DiffmiaError
from diffmia.gradients.layers import LAYERS, Arrival, covers, norms_and_sums, numbers, own

log = logging.getLogger(__name__)

Losses = Callable[[slice], Tensor]

# Gradients that are zero in theory, as of the bias of attention's keys, come out as up to 3e-9 of the norm of the whole
# gradient, differently in every batch; all others as 3e-6 of it or more. (Float32 U-Nets, untrained and trained.)
ROUNDING = 1e-7

CACHED = 2**20  # numbers that stay in a CPU's cache; a GPU is kept busy by 64 times as many
_one_by_one: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # models that were found to need it


def gradient_norms(model: nn.Module, losses: Losses, rows: int, rows_per_sample: int = 1) -> tuple[Tensor, Tensor]:
    """l2 norms of the gradients of each row's losses, and of the mean of each loss over a sample's rows.

    With a row for each timestep the latter are the features of GSA1 (arXiv 2308.06405). Convolutions, linear layers,
    group and layer normalisations and embeddings are covered, each used any number of times; a model that uses a
    parameter in any other way is asked one row at a time: the same numbers, slowly. So is a model that makes its
    activations again in the backward pass (diffusers' `enable_gradient_checkpointing`): it is large, and one row's
    gradients are then all that has to fit in memory beside its weights.

    Parameters
    ----------
    model : nn.Module
        In eval mode; left as it is found. The first axis of what its layers are given is the rows.
    losses : callable
        slice(i, j) -> Tensor (K, j - i): K losses of each of the rows i, ..., j - 1, each of that row alone.
    rows : int
        Number of rows.
    rows_per_sample : int
        How many consecutive rows belong to a sample.

    Returns
    -------
    per_row : float32 Tensor (K, rows, P)
        Norms with respect to the P tensors of `model.named_parameters()`, in that order.
    per_sample : float32 Tensor (K, rows // rows_per_sample, P)
        The same of a sample's mean losses.

    Raises
    ------
    DiffmiaError
        If the losses depend on no parameter, or if the rows are not whole samples.
    """
    if rows % rows_per_sample:
        raise DiffmiaError(f"{rows} rows are not whole samples of {rows_per_sample} rows each")
    shape = rows // rows_per_sample, rows_per_sample
    with _trainable(model), torch.enable_grad():
        norms = None if model in _one_by_one or _recomputes(model) else _all_at_once(model, losses, *shape)
        if norms is None:
            _one_by_one.add(model)
            norms = _row_by_row(model, losses, *shape)
    per_row, per_sample = norms
    whole = torch.linalg.vector_norm(per_row, dim=3, keepdim=True)
    per_row = per_row.masked_fill(per_row < ROUNDING * whole, 0)
    # in a mean the gradients of rows may cancel, but their rounding errors do not
    per_sample = per_sample.masked_fill(per_sample < ROUNDING * whole.mean(2), 0)
    return per_row.flatten(1, 2), per_sample


def _recomputes(model: nn.Module) -> bool:
    """Whether a part of the model makes its activations again in the backward pass: layers are then used unseen."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@contextmanager
def _trainable(model: nn.Module) -> Iterator[None]:
    """All parameters are trainable within, so that the graph shows their uses, and as they were afterwards."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.requires_grad_(True)
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)


class _Use(NamedTuple):
    """A call of a layer."""

    layer: nn.Module
    edge: GradientEdge  # where its output is in the graph
    first: bool  # nothing before it has a gradient


def _all_at_once(model: nn.Module, losses: Losses, samples: int, of_each: int) -> tuple[Tensor, Tensor] | None:
    """Norms (K, samples, of_each, P) and (K, samples, P), or None if a parameter is used as no rule covers."""
    uses = []

    def keep(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        if output.requires_grad and covers(layer, inputs, samples * of_each):
            given = inputs[0].detach()
            output.register_hook(lambda gradient: norms.arrived(layer, given, gradient))
            uses.append(_Use(layer, get_gradient_edge(output), not inputs[0].requires_grad))

    # before hooks of others, which may return something else than the layer did
    hooks = [layer.register_forward_hook(keep, prepend=True) for layer in model.modules() if type(layer) in LAYERS]
    try:
        values = losses(slice(0, samples * of_each))
    finally:
        for hook in hooks:
            hook.remove()
    nodes, leaves = _graph(values)
    names = {parameter: name for name, parameter in model.named_parameters()}
    in_graph = Counter(leaf for leaf in leaves if leaf in names)
    if not in_graph:
        raise DiffmiaError(f"the losses depend on no parameter of {type(model).__name__}: a target without gradients")
    uses = [use for use in uses if use.edge.node in nodes]
    in_layers = Counter(parameter for use in uses for parameter in own(use.layer).values())
    if others := [names[parameter] for parameter in in_graph if in_graph[parameter] != in_layers[parameter]]:
        log.warning("gradients are taken one row at a time: no rule covers how %s is used", others[0])
        return None
    norms = _Norms(len(values), samples, of_each, list(names), in_layers)
    # the backward pass has to reach every layer; parameters are no part of it, which saves their summed gradients
    down_to = [use.edge for use in uses if use.first] + [leaf for leaf in leaves if leaf not in names]
    for k, loss in enumerate(values):
        torch.autograd.grad(loss.sum(), down_to, retain_graph=k + 1 < len(values), allow_unused=True)
        norms.next_loss()
    return norms.per_row, norms.per_sample


def _graph(values: Tensor) -> tuple[set[Node], list[Tensor]]:
    """Nodes of the graph that computed `values`, and its leaves, each as often as it is used."""
    nodes, leaves, ahead = set(), [], [values.grad_fn]
    while ahead:
        node = ahead.pop()
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        elif node is not None and node not in nodes:
            nodes.add(node)
            ahead += [following for following, _ in node.next_functions]
    return nodes, leaves


class _Norms:
    """Norms of one loss after another, made as the backward pass comes to the layers.

    `uses` says how many gradients of a parameter are to be summed. Until the last one is there, what they are made of
    is kept: activations of a row are fewer than parameters.
    """

    def __init__(self, losses: int, samples: int, of_each: int, parameters: list[nn.Parameter], uses: Counter):
        self.loss, self.uses, self.arrivals = 0, uses, defaultdict(list)
        self.place = {parameter: i for i, parameter in enumerate(parameters)}
        self.per_row = torch.zeros(losses, samples, of_each, len(parameters), device=parameters[0].device)
        self.per_sample = torch.zeros(losses, samples, len(parameters), device=parameters[0].device)

    def arrived(self, layer: nn.Module, given: Tensor, gradient: Tensor | None) -> None:
        """`gradient` has come to the output of `layer` for what it was `given`; None where a function has none."""
        if gradient is None:
            return
        for name, parameter in own(layer).items():
            self.arrivals[parameter].append(Arrival(layer, name, given, gradient))
            if len(self.arrivals[parameter]) == self.uses[parameter]:
                self._reduce(parameter)

    def next_loss(self) -> None:
        """The backward pass is over; gradients that have not come by now are zero."""
        for parameter in list(self.arrivals):
            self._reduce(parameter)
        self.loss += 1

    def _reduce(self, parameter: nn.Parameter) -> None:
        """The parameter's gradients, as many rows at a time as fit."""
        arrivals, i = self.arrivals.pop(parameter), self.place[parameter]
        samples, of_each = shape = self.per_row.shape[1:3]
        fit = CACHED * (1 if parameter.device.type == "cpu" else 64) // numbers(arrivals, of_each)
        step, part = max(1, fit // of_each), max(1, min(fit, of_each))
        for start in range(0, samples, step):
            total = None
            for first in range(0, of_each, part):
                these = slice(start, start + step), slice(first, first + part)
                chosen = [
                    Arrival(layer, name, *(tensor.unflatten(0, shape)[these].flatten(0, 1) for tensor in tensors))
                    for layer, name, *tensors in arrivals
                ]
                norms = self.per_row[self.loss, *these, i]
                found, sums = norms_and_sums(chosen, *norms.shape)
                norms.copy_(found)
                total = sums if total is None else total + sums
            self.per_sample[self.loss, start : start + step, i] = torch.linalg.vector_norm(total, dim=1) / of_each


def _row_by_row(model: nn.Module, losses: Losses, samples: int, of_each: int) -> tuple[Tensor, Tensor]:
    """The same as `_all_at_once`, of any model."""
    parameters, per_row, per_sample, sums = list(model.parameters()), [], [], []
    of_all = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    for i in range(samples * of_each):
        values = losses(slice(i, i + 1))
        gradients = [list(torch.autograd.grad(loss.sum(), parameters, **of_all)) for loss in values]
        per_row.append(_norms(gradients))
        if i % of_each:
            for of_loss, total in zip(gradients, sums, strict=True):
                for j, gradient in enumerate(of_loss):  # one at a time: of a large model two sets are all that fit
                    total[j], of_loss[j] = total[j] + gradient, None
        else:
            sums = gradients
        if (i + 1) % of_each == 0:
            per_sample.append(_norms(sums) / of_each)
    return torch.stack(per_row, 1).unflatten(1, (samples, of_each)), torch.stack(per_sample, 1)


def _norms(gradients: list[list[Tensor]]) -> Tensor:
    return torch.stack(
        [torch.stack([torch.linalg.vector_norm(one) for one in of_loss]) for of_loss in gradients]
    ).float()
